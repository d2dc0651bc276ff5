"""Rank a split's exemplars by a method that gives scores."""

from attribench.provenance.fingerprints import write_fingerprints
from attribench.provenance.job import job
from attribench.rank.rank import Options
from attribench.rank_scores import rank_scores

with job(snakemake):
    inputs, params, output = snakemake.input, snakemake.params, snakemake.output
    write_fingerprints(output.fingerprint, snakemake.config["root"], [params.path], params.token)
    rank_scores(
        output.ranks,
        inputs.given[0],
        manifest=inputs.manifest,
        database_manifest=inputs.database_manifest,
        database=params.database,
        split=snakemake.wildcards.split,
        method=snakemake.wildcards.extractor,
        options=Options(**params.options),
        threads=snakemake.threads,
        key=params.key,
    )
