"""Figures of a split."""

from pathlib import Path

from attribench.plots import MethodRanks, metric_bars, rank_distribution, recall_curves, save_figure
from attribench.rank_file import read_rank_file
from attribench.stage import stage
from attribench.tables import read_summary

with stage(snakemake):
    split = snakemake.wildcards.split
    methods = [MethodRanks.from_rank_file(read_rank_file(path)) for path in snakemake.input.ranks]
    figures = {
        "metrics": metric_bars(read_summary(snakemake.input.summary), split),
        "recall": recall_curves(methods, snakemake.params.recall_ks, split),
        "ranks": rank_distribution(methods, split),
    }
    for name, (figure, data) in figures.items():
        save_figure(figure, data, Path(snakemake.output[0]).parent / f"{split}_{name}")
