"""Figures of one split: metric bars, recall over k, distribution of ranks; and how every figure is saved."""

from attribench.plots.bars import metric_bars
from attribench.plots.curves import recall_curves
from attribench.plots.distribution import rank_distribution
from attribench.plots.ranks import MethodRanks
from attribench.plots.save import save_figure

__all__ = ["MethodRanks", "metric_bars", "rank_distribution", "recall_curves", "save_figure"]
