"""Draw the figures of a split."""

from pathlib import Path

from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import labels_of
from attribench.plots.bars import metric_bars
from attribench.plots.curves import recall_curves
from attribench.plots.distribution import rank_distribution
from attribench.plots.save import save_figure
from attribench.plots.sizes import size_curves
from attribench.plots.variants import variant_scatter
from attribench.provenance.job import job
from attribench.tables.tables import read_summary

with job(snakemake):
    split, params, tables = snakemake.wildcards.split, snakemake.params, snakemake.input
    rankings = [read_rank_file(path) for path in snakemake.input.ranks]
    labels = labels_of(params.labels)
    figures = {
        "metrics": lambda: metric_bars(read_summary(tables.summary), split, params.confidence, labels),
        "recall": lambda: recall_curves(rankings, params.recall_ks, split, labels),
        "ranks": lambda: rank_distribution(rankings, split, labels),
        "sizes": lambda: size_curves(read_summary(tables.database_sizes), split, params.confidence, labels),
        "variants": lambda: variant_scatter(rankings, split, labels),
    }
    for name in params.figures:
        save_figure(*figures[name](), Path(snakemake.output[0]).parent / f"{split}_{name}")
