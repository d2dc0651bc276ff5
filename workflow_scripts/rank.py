"""Rank a split's exemplars among the database by an extractor with a variant."""

from attribench.provenance.job import job
from attribench.rank.device import ranking_device
from attribench.rank.rank import Options, rank_split

with job(snakemake):
    inputs, wildcards, params = snakemake.input, snakemake.wildcards, snakemake.params
    rank_split(
        snakemake.output.ranks,
        manifest=inputs.manifest,
        database_manifest=inputs.database_manifest,
        split_shards=inputs.split,
        database_shards=inputs.database,
        mapper=next(iter([*inputs.given, *inputs.tuned]), None),
        mapper_of=params.mapper_of,
        histogram=snakemake.output.get("histogram"),
        database=params.database,
        split=wildcards.split,
        extractor=wildcards.extractor,
        variant=wildcards.variant,
        options=Options(**params.options),
        threads=snakemake.threads,
        device=ranking_device(snakemake.config["device"]),
        key=params.key,
    )
