"""Draw the learning curves of what was tuned."""

from pathlib import Path

from attribench.common.tables_io import read_table
from attribench.formats.ranking import Method, labels_of
from attribench.plots.learning import learning_curves
from attribench.plots.save import save_figure
from attribench.provenance.job import job

with job(snakemake):
    params = snakemake.params
    methods = [Method(*method) for method in params.methods]
    types = {"step": "int64", "chosen": "bool"}
    curves = {
        method: read_table(path, "learning curve", types) for method, path in zip(methods, snakemake.input, strict=True)
    }
    save_figure(*learning_curves(curves, labels_of(params.labels)), Path(snakemake.output[0]).with_suffix(""))
