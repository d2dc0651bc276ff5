"""Fit the calibrator of a method's influence."""

from attribench.calibrate.fit import calibrate
from attribench.provenance.job import job

with job(snakemake):
    inputs, output = snakemake.input, snakemake.output
    calibrate(
        output.calibrator,
        output.record,
        ranks=inputs.ranks,
        histograms=inputs.histograms,
        benchmark=snakemake.params.benchmark,
    )
