"""Draw the figures of a split."""

from pathlib import Path

from attribench.formats.rank_file import read_rank_file
from attribench.plots.bars import metric_bars
from attribench.plots.captions import protocol
from attribench.plots.curves import recall_curves
from attribench.plots.differences import difference_forest
from attribench.plots.distribution import rank_distribution
from attribench.plots.figure_settings import FigureSettings
from attribench.plots.save import save_plot
from attribench.plots.sizes import size_curves
from attribench.plots.variants import variant_scatter
from attribench.provenance.job import job
from attribench.tables.statistics import Resampling
from attribench.tables.tables import read_comparisons, read_summary

with job(snakemake):
    split, params, tables = snakemake.wildcards.split, snakemake.params, snakemake.input
    rankings = [read_rank_file(path) for path in snakemake.input.ranks]
    resampling = Resampling(**params.bootstrap)
    confidence, ranked = resampling.confidence, protocol(rankings)
    settings = FigureSettings.of(params.plots, params.labels, rankings)
    summary = read_summary(tables.summary)
    figures = {
        "metrics": lambda: metric_bars(summary, split, confidence, settings, ranked),
        "differences": lambda: difference_forest(
            read_comparisons(tables.comparisons), split, resampling, settings, ranked
        ),
        "recall": lambda: recall_curves(rankings, params.recall_ks, split, confidence, settings, summary),
        "ranks": lambda: rank_distribution(rankings, split, settings),
        "sizes": lambda: size_curves(read_summary(tables.database_sizes), split, confidence, settings, ranked),
        "variants": lambda: variant_scatter(rankings, split, settings),
    }
    for name in params.figures:
        save_plot(figures[name](), Path(snakemake.output[0]).parent / f"{split}_{name}")
