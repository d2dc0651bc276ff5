"""Intervals of points that several methods have at the same x: beside each other, so that none hides another."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from attribench.formats.ranking import Method
from attribench.plots.style import TEXT, MethodStyle, interval_name
from attribench.tables.statistics import NO_INTERVAL

_STEP, _SPREAD = 1.7, 13.0  # points between two methods' intervals; all of them, at most


def draw_intervals(
    axes, of_methods: Mapping[Method, tuple[Sequence[float], ...]], styles: Mapping[Method, MethodStyle]
) -> None:
    """Draw each method's intervals as vertical lines, those at one x moved apart by a little; the axis' limits are set.

    of_methods: (x, low, high), each [n]; NaN where there is no interval.
    """
    width = axes.get_position().width * axes.figure.get_figwidth() * 72
    step = min(_STEP, _SPREAD / max(1, len(of_methods))) / width
    to_axes = axes.transScale + axes.transLimits
    for i, (method, (x, low, high)) in enumerate(of_methods.items()):
        x, low, high = (np.asarray(part, np.float64) for part in (x, low, high))
        known = ~np.isnan(low)
        offset = (i - (len(of_methods) - 1) / 2) * step
        at = to_axes.transform(np.stack([x[known], low[known]], axis=1))
        moved = to_axes.inverted().transform(at + np.array([offset, 0]))[:, 0]
        axes.vlines(moved, low[known], high[known], color=styles[method].colour, linewidth=0.8, zorder=2.6)


def interval_handles(data: pd.DataFrame, confidence: float) -> list[Line2D]:
    """Return the legend's lines for the intervals of `data` (columns value, ci_low), or for why there are none."""
    handles = []
    if data["ci_low"].notna().any():
        handles.append(
            Line2D([], [], color=TEXT, linestyle="", marker="|", markersize=7, label=interval_name(confidence))
        )
    if (data["ci_low"].isna() & data["value"].notna()).any():
        handles.append(Line2D([], [], linestyle="", label=NO_INTERVAL))
    return handles
