"""Rank a split's exemplars among the database."""

from pathlib import Path

from attribench.manifest import all_shards
from attribench.rank_split import Options, Variant, rank_split
from attribench.stage import stage

with stage(snakemake):
    name, mapper = snakemake.wildcards.variant, snakemake.params.mapper
    rank_split(
        [Variant(name, Path(snakemake.config["root"]) / mapper if mapper else None, snakemake.output.ranks)],
        snakemake.input.manifest,
        split_shards=all_shards(snakemake.input.split),
        database_shards=all_shards(snakemake.input.database),
        database=snakemake.params.database,
        split=snakemake.wildcards.split,
        extractor=snakemake.wildcards.extractor,
        options=Options(**snakemake.params.options),
        threads=snakemake.threads,
    )
