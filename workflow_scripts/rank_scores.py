"""Rank a split's exemplars by a method that gives scores."""

from pathlib import Path

from attribench.rank_scores import rank_scores
from attribench.rank_split import Options
from attribench.sources import record
from attribench.stage import stage

with stage(snakemake):
    root, params = snakemake.config["root"], snakemake.params
    record(params.record, root, [params.given], params.token)
    rank_scores(
        snakemake.output.ranks,
        Path(root) / params.given,
        manifest=snakemake.input.manifest,
        database_manifest=snakemake.input.database_manifest,
        database=params.database,
        split=snakemake.wildcards.split,
        method=snakemake.wildcards.extractor,
        options=Options(**params.options),
        threads=snakemake.threads,
    )
