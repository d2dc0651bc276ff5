"""Compute the influence of a split's candidates by one method."""

from attribench.formats.calibrator import read_calibrator
from attribench.formats.histogram import read_histogram
from attribench.formats.influence import write_influence
from attribench.formats.rank_file import read_rank_file
from attribench.influence import influence_of
from attribench.provenance.job import job

with job(snakemake):
    inputs = snakemake.input
    ranking = read_rank_file(inputs.ranks)
    histogram = read_histogram(inputs.histogram, len(ranking.query_valid))
    calibrator = read_calibrator(next(iter([*inputs.given, *inputs.calibrator])))
    influence = influence_of(ranking, histogram, calibrator)
    write_influence(snakemake.output.influence, influence, calibrator, snakemake.params.key)
