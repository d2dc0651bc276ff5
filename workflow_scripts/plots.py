"""Figures of a split."""

from pathlib import Path

from attribench.plots import MethodRanks, metric_bars, rank_distribution, recall_curves, save_figure, size_curves
from attribench.rank_file import read_rank_file
from attribench.stage import stage
from attribench.tables import read_summary

with stage(snakemake):
    split, params, tables = snakemake.wildcards.split, snakemake.params, snakemake.input
    methods = [MethodRanks.from_rank_file(read_rank_file(path)) for path in params.ranks]
    figures = {
        "metrics": lambda: metric_bars(read_summary(tables.summary), split, params.confidence),
        "recall": lambda: recall_curves(methods, params.recall_ks, split),
        "ranks": lambda: rank_distribution(methods, split),
        "sizes": lambda: size_curves(read_summary(tables.database_sizes), split, params.confidence),
    }
    for name in params.figures:
        save_figure(*figures[name](), Path(snakemake.output[0]).parent / f"{split}_{name}")
