"""Record the content of a given feature file, and of the list of paths beside it."""

from attribench.provenance.fingerprints import write_fingerprints
from attribench.provenance.job import job

with job(snakemake):
    write_fingerprints(snakemake.output[0], snakemake.config["root"], snakemake.params.paths, snakemake.params.token)
