"""Draw the learning curves of what was tuned."""

from pathlib import Path

from attribench.common.tables_io import read_table
from attribench.formats.ranking import Method
from attribench.plots.figure_settings import FigureSettings
from attribench.plots.learning import learning_curves
from attribench.plots.save import save_plot
from attribench.provenance.job import job

with job(snakemake):
    params = snakemake.params
    methods = [Method(*method) for method in params.methods]
    types = {"step": "int64", "chosen": "bool"}
    curves = {
        method: read_table(path, "learning curve", types) for method, path in zip(methods, snakemake.input, strict=True)
    }
    save_plot(
        learning_curves(curves, FigureSettings.of(params.plots, params.labels)),
        Path(snakemake.output[0]).with_suffix(""),
    )
