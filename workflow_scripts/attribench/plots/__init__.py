"""Figures of one split: metric bars, recall over k, ranks, metrics over the size of the database; how each is saved."""

from attribench.plots.bars import metric_bars
from attribench.plots.curves import recall_curves
from attribench.plots.distribution import rank_distribution
from attribench.plots.ranks import MethodRanks
from attribench.plots.save import save_figure
from attribench.plots.sizes import size_curves

__all__ = ["MethodRanks", "metric_bars", "rank_distribution", "recall_curves", "save_figure", "size_curves"]
