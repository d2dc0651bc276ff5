"""Draw the sample benchmark."""

from attribench.sample.benchmark import SampleSettings, render_sample
from attribench.stage import stage

if __name__ == "__main__":  # worker processes import this file
    with stage(snakemake):
        settings = SampleSettings(**snakemake.params.settings)
        render_sample(snakemake.config["root"], settings, workers=snakemake.threads)
