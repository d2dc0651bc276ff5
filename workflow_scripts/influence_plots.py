"""Draw how well the influence on a split is calibrated."""

from pathlib import Path

from attribench.formats.influence import read_influence
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import labels_of
from attribench.plots.influence import calibration_figure
from attribench.plots.save import save_figure
from attribench.provenance.job import job
from attribench.tables.statistics import Resampling

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    rankings = [read_rank_file(path) for path in inputs.ranks]
    of_methods = [(r, read_influence(path, r)) for path, r in zip(inputs.influence, rankings, strict=True)]
    labels = labels_of(params.labels)
    split = snakemake.wildcards.split
    figure = calibration_figure(of_methods, Resampling(**params.bootstrap), split, labels, note=params.note)
    save_figure(*figure, Path(snakemake.output[0]).with_suffix(""))
