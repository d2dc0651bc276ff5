"""Draw the sample benchmark."""

from attribench.provenance.job import job
from attribench.sample.benchmark import SampleSettings, render_sample

if __name__ == "__main__":  # worker processes import this file
    with job(snakemake):
        settings = SampleSettings(**snakemake.params.settings)
        render_sample(snakemake.config["root"], settings, workers=snakemake.threads)
