"""Intervals of points that several methods have at the same x: beside each other, so that none hides another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D

from attribench.formats.ranking import Method
from attribench.plots.captions import interval_name
from attribench.plots.style import TEXT, MethodStyle
from attribench.tables.statistics import NO_INTERVAL

_STEP, _SPREAD = 1.4, 13.0  # points between two intervals that would touch; all of a group, at most


def draw_intervals(
    axes, of_methods: Mapping[Method, tuple[Sequence[float], ...]], styles: Mapping[Method, MethodStyle]
) -> None:
    """Draw each method's intervals as vertical lines at their x; those that would touch stand side by side around it,
    inside the panel.

    of_methods: (x, low, high), each [n]; NaN where there is no interval. The axis' limits are set.
    """
    width = axes.get_position().width * axes.figure.get_figwidth() * 72
    to_points = axes.transScale + axes.transLimits + Affine2D().scale(width, 1)
    bars = []
    for method, ends in of_methods.items():
        x, low, high = np.asarray(ends, np.float64)[:, ~np.isnan(np.asarray(ends[1], np.float64))]
        at = to_points.transform(np.stack([x, low], axis=1))
        bars += [_Bar(*bar, styles[method].colour) for bar in zip(at[:, 0], low, high, strict=True)]
    drawn = []
    for group in _that_touch(bars):
        step = min(_STEP, _SPREAD / len(group))
        half = (len(group) - 1) / 2 * step
        left = min(max(sum(bar.x for bar in group) / len(group) - half, 0), width - 2 * half)
        drawn += [bar._replace(x=left + i * step) for i, bar in enumerate(sorted(group, key=lambda bar: bar.x))]
    if drawn:
        x, low, high, colours = zip(*drawn, strict=True)
        x = to_points.inverted().transform(np.stack([x, np.zeros(len(x))], axis=1))[:, 0]
        axes.vlines(x, low, high, color=colours, linewidth=0.8, zorder=2.6, clip_on=False)


class _Bar(NamedTuple):
    x: float  # points from the left
    low: float
    high: float
    colour: str


def _that_touch(bars: Sequence[_Bar]) -> list[list[_Bar]]:
    """Return `bars` in groups: each would touch another one of its group, and none of another group."""
    groups: list[list[_Bar]] = []
    for bar in bars:
        touched = [
            group
            for group in groups
            if any(abs(bar.x - o.x) < _STEP and bar.low <= o.high and o.low <= bar.high for o in group)
        ]
        groups = [group for group in groups if group not in touched]
        groups.append([*(other for group in touched for other in group), bar])
    return groups


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
