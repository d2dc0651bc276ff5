"""Bars of every metric, prompt type and method, with intervals, chance and ceiling."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attribench.formats.ranking import Method
from attribench.plots.captions import caption, interval_name, intervals, listing
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import MARGIN, add_legend, add_title, legend_height, row_positions, title_height
from attribench.plots.plot import Plot
from attribench.plots.rows import methods_of, metric_rows
from attribench.plots.style import (
    BEYOND,
    CEILING_LINE,
    CHANCE_LINE,
    DPI,
    HALO,
    MUTED,
    NOTHING,
    SMALL,
    TEXT,
    MethodStyle,
    beside,
    ceiling_handles,
    message_figure,
    plot_style,
    text_width,
    wrapped,
)
from attribench.tables.statistics import NO_INTERVAL

# Inches.
_PROMPT, _METRIC, _TICKS, _GAP = 0.19, 0.16, 0.24, 0.04
_BAR = 0.135
_PANEL, _NUMBERS = 0.45, 0.48  # the least width of a panel; that of the column of numbers beside it, and of a gap
_LABELS = 0.3  # of the width, at most
_LIMIT = 1.02  # of every panel: metrics and prompt types can be compared


def metric_bars(
    summary: pd.DataFrame,
    split: str | None = None,
    confidence: float = 0.95,
    settings: FigureSettings = SHIPPED,
    protocol: str = "",
) -> Plot:
    """Draw bars of the rows of `summary` (of tables/summary.csv) that belong to `split`; None: it holds one split only.

    A panel a metric, a bar a method, below each other for the prompt types; all panels go from 0 to 1. The data are the rows
    drawn, in the order drawn, with the method's label as `method`. `confidence` is that of the intervals; `protocol` is the
    caption's sentence on what is ranked. Missing intervals, chances and ceilings are not drawn. Raises ValueError for
    missing columns, several splits or benchmarks, or a method with two values of a metric.
    """
    with plot_style():
        data = metric_rows(summary, split, settings=settings)
        if data.empty:
            return Plot(message_figure("no metrics to show", settings.width), data, "No metrics to show.")
        prompts, metrics = list(dict.fromkeys(data["prompt_type"])), list(dict.fromkeys(data["metric"]))
        styles = settings.styles(methods_of(data))
        names = {method: wrapped(style.label, _LABELS * settings.width, SMALL) for method, style in styles.items()}
        left = MARGIN + 0.05 + max(text_width(line, SMALL) for name in names.values() for line in name.split("\n"))
        columns = min(len(metrics), max(1, int((settings.width - left + 1e-9) / (_PANEL + _NUMBERS))))
        lines = -(-len(metrics) // columns)
        panel = (settings.width - left) / columns - _NUMBERS
        rows_at = dict(zip(names, row_positions(list(names.values()), _BAR), strict=True))
        bars = max(rows_at.values()) + 0.75 * _BAR
        title = f"{data['split'].iloc[0]}: metrics by prompt type and method"
        step, head = _METRIC + bars + _TICKS, title_height(title, settings.width) if settings.has_title else 0
        handles = _handles(data, confidence)
        below = legend_height(settings, handles) + MARGIN
        height = head + len(prompts) * (_PROMPT + lines * step) + _GAP + below
        figure = Figure(figsize=(settings.width, height), dpi=DPI)
        if settings.has_title:
            add_title(figure, title)
        for i, prompt in enumerate(prompts):
            rows = data[data["prompt_type"] == prompt]
            top = height - head - i * (_PROMPT + lines * step)
            _row_title(figure, top, prompt, rows)
            for j, metric in enumerate(metrics):
                x, y = left + j % columns * (panel + _NUMBERS), top - _PROMPT - j // columns * step - _METRIC - bars
                axes = figure.add_axes((x / settings.width, y / height, panel / settings.width, bars / height))
                _panel(axes, rows[rows["metric"] == metric], styles, rows_at)
                axes.set_ylim(bars, 0)
                axes.set_yticks([*rows_at.values()], [*names.values()])
                axes.set_title(metric, color=MUTED, loc="left", pad=2.5)
                axes.tick_params(axis="y", length=0, labelleft=j % columns == 0, pad=2)
        add_legend(figure, settings, handles, below)
        return Plot(figure, data, _caption(data, metrics, confidence, protocol))


def _caption(data: pd.DataFrame, metrics: list[str], confidence: float, protocol: str) -> str:
    has_chance, has_ceiling = (data[name].notna().any() for name in ("chance", "ceiling"))
    return caption(
        f"How well each method attributes on {data['split'].iloc[0]}: {listing(metrics)}, means over the queries of each "
        f"prompt type ({listing(list(dict.fromkeys(data['prompt_type'])))}).",
        protocol,
        intervals(data, confidence),
        "Grey line: chance, what a random ranking is expected to reach." if has_chance else "",
        "Thin black line: the ceiling, what a perfect ranking reaches, as recall@k cannot exceed k of an entry's exemplars."
        if has_ceiling
        else "",
        "All axes go from 0 to 1.",
    )


def _handles(data: pd.DataFrame, confidence: float) -> list:
    handles: list = []
    if data["ci_low"].notna().any():
        style = {"color": TEXT, "linewidth": 0.9, "marker": "|", "markersize": 4}
        handles.append(Line2D([], [], **style, label=interval_name(confidence)))
    if data["chance"].notna().any():
        handles.append(Line2D([], [], **CHANCE_LINE, label="chance: random ranking"))
    if data["ceiling"].notna().any():
        handles += ceiling_handles(data["ceiling"])
    return handles


def _row_title(figure: Figure, top: float, prompt: str, rows: pd.DataFrame) -> None:
    """Write the prompt type, and in muted letters its numbers of queries and entries, `top` inches above the lower edge."""
    width, height = figure.get_size_inches()
    counts = [
        f"{int(rows[column].max()):,} {several if rows[column].max() != 1 else one}"
        for column, one, several in (("n_queries", "query", "queries"), ("n_entries", "entry", "entries"))
        if rows[column].notna().any()
    ]
    reason = NO_INTERVAL if (rows["ci_low"].isna() & rows["value"].notna()).any() else ""
    name, rest = prompt or "queries", "  ·  ".join(filter(None, [" of ".join(counts), reason]))
    y = (top - _PROMPT / 2) / height
    figure.text(MARGIN / width, y, name, weight="bold", va="center")
    x = MARGIN + text_width(name, weight="bold") + 0.12
    figure.text(x / width, y, rest, color=MUTED, va="center")


def _panel(
    axes: Axes, rows: pd.DataFrame, styles: Mapping[Method, MethodStyle], rows_at: Mapping[Method, float]
) -> None:
    """Draw one metric of one prompt type: a bar a method, `rows_at` inches from the top, its number at the right."""
    names = [(method.extractor, method.variant) for method in rows_at]
    table = rows.set_index(["extractor", "variant"]).reindex(names)
    value, y = table["value"].to_numpy(), np.array([*rows_at.values()])
    # Ceiling and chance are drawn from one row to the next: a line, where all methods have the same.
    edges = np.concatenate([[y[0] - _BAR / 2], (y[1:] + y[:-1]) / 2, [y[-1] + _BAR / 2]])
    for number, at in zip(value, y, strict=True):
        beside(axes, at, NOTHING if math.isnan(number) else f"{number:.3f}")
    ceiling, chance = table["ceiling"].to_numpy(), table["chance"].to_numpy()
    known = ~np.isnan(ceiling)
    area = {"height": np.diff(edges)[known], "align": "edge", "color": BEYOND, "zorder": 0.5}
    axes.barh(edges[:-1][known], 1 - ceiling[known], left=ceiling[known], **area)
    axes.vlines(ceiling, edges[:-1], edges[1:], **CEILING_LINE, zorder=3)
    axes.vlines(chance, edges[:-1], edges[1:], **CHANCE_LINE, zorder=3)
    drawn = ~np.isnan(value)
    shown = [style for style, is_drawn in zip((styles[m] for m in rows_at), drawn, strict=True) if is_drawn]
    how = {"color": [style.colour for style in shown], "hatch": [style.hatch for style in shown]}
    axes.barh(y[drawn], value[drawn], height=0.76 * _BAR, linewidth=0, zorder=2, **how)
    low, high = table["ci_low"].to_numpy(), table["ci_high"].to_numpy()
    known = drawn & ~np.isnan(low) & ~np.isnan(high)
    low, high, y, half = low[known], high[known], y[known], 0.22 * _BAR
    # An interval need not contain the value. The halo keeps it visible on a dark bar.
    line = {"color": TEXT, "linewidth": 0.9, "path_effects": HALO}
    axes.vlines(np.concatenate([low, high]), np.tile(y - half, 2), np.tile(y + half, 2), **line, zorder=4)
    axes.hlines(y, low, high, **line, zorder=4.5)
    axes.set_xlim(0, _LIMIT)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.grid(axis="x")
