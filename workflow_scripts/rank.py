"""Rank a split's exemplars among the database."""

from attribench.manifest import all_shards
from attribench.rank_split import rank_split
from attribench.stage import stage

with stage(snakemake):
    rank_split(
        snakemake.output.ranks,
        snakemake.input.manifest,
        split_shards=all_shards(snakemake.input.split),
        database_shards=all_shards(snakemake.input.database),
        database=snakemake.params.database,
        split=snakemake.wildcards.split,
        extractor=snakemake.wildcards.extractor,
        variant=snakemake.wildcards.variant,
        top_k=snakemake.params.top_k,
        threads=snakemake.threads,
    )
