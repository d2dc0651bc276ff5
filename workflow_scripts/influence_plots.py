"""Draw how well the influence on a split is calibrated."""

from pathlib import Path

from attribench.formats.influence import read_influence
from attribench.formats.rank_file import read_rank_file
from attribench.plots.figure_settings import FigureSettings
from attribench.plots.influence import calibration_figure
from attribench.plots.save import save_plot
from attribench.provenance.job import job
from attribench.tables.statistics import Resampling

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    rankings = [read_rank_file(path) for path in inputs.ranks]
    of_methods = [(r, read_influence(path, r)) for path, r in zip(inputs.influence, rankings, strict=True)]
    settings = FigureSettings.of(params.plots, params.labels, rankings)
    plot = calibration_figure(
        of_methods, Resampling(**params.bootstrap), snakemake.wildcards.split, settings, params.note
    )
    save_plot(plot, Path(snakemake.output[0]).with_suffix(""))
