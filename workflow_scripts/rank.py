"""Rank a split's exemplars among the database."""

from pathlib import Path

from attribench.manifest import all_shards
from attribench.rank_split import Options, rank_split
from attribench.stage import stage

with stage(snakemake):
    mapper = snakemake.params.mapper
    rank_split(
        snakemake.output.ranks,
        snakemake.input.manifest,
        split_shards=all_shards(snakemake.input.split),
        database_shards=all_shards(snakemake.input.database),
        database=snakemake.params.database,
        split=snakemake.wildcards.split,
        extractor=snakemake.wildcards.extractor,
        variant=snakemake.wildcards.variant,
        mapper=Path(snakemake.config["root"]) / mapper if mapper else None,
        options=Options(**snakemake.params.options),
        threads=snakemake.threads,
    )
