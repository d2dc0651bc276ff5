"""Record the content of a given feature file."""

from attribench.sources import record
from attribench.stage import stage

with stage(snakemake):
    record(snakemake.output[0], snakemake.config["root"], [snakemake.params.given], snakemake.params.token)
