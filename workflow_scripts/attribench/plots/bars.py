"""Bars of every metric, prompt type and method, with intervals, chance and ceiling."""

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from attribench.formats.ranking import Method
from attribench.plots.rows import methods_of, metric_rows
from attribench.plots.style import (
    CEILING,
    CHANCE_LINE,
    DPI,
    MUTED,
    NOTHING,
    interval_name,
    message_figure,
    method_styles,
    plot_style,
    text_width,
)
from attribench.tables.statistics import NO_INTERVAL

_BEYOND = "#F0F0F0"
# Inches. The layout is worked out here, as all sizes are known; a solver's would differ in its last bits between
# processes, and with them the bytes of the SVG.
_HEAD, _TITLES, _BAR, _TICKS, _MARGIN = 0.62, 0.46, 0.2, 0.4, 0.1
_PANEL, _NUMBERS = 1.25, 0.56
_LEAST_WIDTH = 6.4  # of the legend


def metric_bars(
    summary: pd.DataFrame,
    split: str | None = None,
    confidence: float = 0.95,
    labels: Mapping[Method, str] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Draw bars of the rows of `summary` (of tables/summary.csv) that belong to `split`; None: it holds one split only.

    A row of panels a prompt type, a panel a metric, a bar a method. Returns the figure and the rows drawn, in the order
    drawn, with the method's label as `method`. `confidence` is that of the intervals; `labels` are those of
    `method_styles`. Missing intervals, chances and ceilings are not drawn. Raises ValueError for missing columns, several
    splits or benchmarks, or a method with two values of a metric.
    """
    with plot_style():
        data = metric_rows(summary, split, labels=labels)
        if data.empty:
            return message_figure("no metrics to show"), data
        prompts, metrics = list(dict.fromkeys(data["prompt_type"])), list(dict.fromkeys(data["metric"]))
        styles = method_styles(methods_of(data), labels)
        limits = {m: _limit(data[data["metric"] == m]) for m in metrics}
        left = 2 * _MARGIN + max(text_width(name, "ytick.labelsize") for name in data["method"].unique())
        panel = max(_PANEL, (_LEAST_WIDTH - left) / len(metrics) - _NUMBERS)
        bars = _BAR * (len(styles) + 0.2)
        width, height = left + len(metrics) * (panel + _NUMBERS), _HEAD + len(prompts) * (_TITLES + bars + _TICKS)
        figure = Figure(figsize=(width, height), dpi=DPI)
        _head(figure, data, confidence)
        for i, prompt in enumerate(prompts):
            rows = data[data["prompt_type"] == prompt]
            top = height - _HEAD - i * (_TITLES + bars + _TICKS)
            figure.text(_MARGIN / width, (top - 0.12) / height, _row_title(prompt, rows), weight="bold", va="center")
            for j, metric in enumerate(metrics):
                x, y = left + j * (panel + _NUMBERS), top - _TITLES - bars
                axes = figure.add_axes((x / width, y / height, panel / width, bars / height))
                _panel(axes, rows[rows["metric"] == metric], styles, limits[metric])
                axes.set_title(metric, fontsize=8.5, color=MUTED, loc="left")
                axes.tick_params(labelleft=j == 0)
        return figure, data


def _limit(rows: pd.DataFrame) -> float:
    top = rows[["value", "ci_high", "ceiling", "ceiling_high", "chance"]].max(axis=None)
    return 1.0 if not top > 0 else min(top * 1.04, 1.02)


def _head(figure: Figure, data: pd.DataFrame, confidence: float) -> None:
    width, height = figure.get_size_inches()
    title = f"{data['split'].iloc[0]}: metrics by prompt type and method"
    figure.text(_MARGIN / width, 1 - 0.18 / height, title, weight="bold", size=10.5, va="center")
    handles = []
    if data["ci_low"].notna().any():
        handles.append(
            Line2D([], [], color="#333333", linewidth=1.1, marker="|", markersize=5, label=interval_name(confidence))
        )
    if data["chance"].notna().any():
        handles.append(Line2D([], [], **CHANCE_LINE, label="chance: random ranking"))
    if data["ceiling"].notna().any():
        handles.append(Line2D([], [], color=CEILING, linestyle=(0, (4, 2)), linewidth=1.1, label="ceiling"))
        if (data["ceiling_high"].fillna(data["ceiling"]) < 1).any():
            handles.append(Patch(color=_BEYOND, label="out of reach"))
    if handles:
        corner = (0.02 / width, 1 - 0.32 / height)
        figure.legend(handles=handles, loc="upper left", ncols=len(handles), bbox_to_anchor=corner, borderpad=0.2)


def _row_title(prompt: str, rows: pd.DataFrame) -> str:
    counts = [
        f"{int(rows[column].max()):,} {several if rows[column].max() != 1 else one}"
        for column, one, several in (("n_queries", "query", "queries"), ("n_entries", "entry", "entries"))
        if rows[column].notna().any()
    ]
    reason = NO_INTERVAL if (rows["ci_low"].isna() & rows["value"].notna()).any() else ""
    return "  ·  ".join(filter(None, [f"prompt type {prompt}", " of ".join(counts), reason]))


def _panel(axes, rows: pd.DataFrame, styles: dict, limit: float) -> None:
    """Draw one metric of one prompt type: a bar a method, its number in a column at the right."""
    rows = {(row.extractor, row.variant): row for row in rows.itertuples(index=False)}
    for y, method in enumerate(styles):
        row = rows.get(method)
        value = math.nan if row is None else row.value
        missing = math.isnan(value)
        axes.text(
            1.04, y, NOTHING if missing else f"{value:.3f}", transform=axes.get_yaxis_transform(), va="center", size=8
        )
        if row is None:
            continue
        if not math.isnan(row.ceiling):
            # From the end of the ceiling's interval on: with other entries the ceiling, and so the mean, could be higher.
            end = row.ceiling if math.isnan(row.ceiling_high) else row.ceiling_high
            axes.barh(y, limit - end, left=end, height=1, color=_BEYOND, zorder=0.5)
            axes.vlines(row.ceiling, y - 0.5, y + 0.5, color=CEILING, linestyle=(0, (4, 2)), linewidth=1.1, zorder=3)
        if not missing:
            axes.barh(y, value, height=0.74, color=styles[method].colour, zorder=2)
        if not math.isnan(row.chance):
            axes.vlines(row.chance, y - 0.5, y + 0.5, **CHANCE_LINE, zorder=3)
        if not (missing or math.isnan(row.ci_low) or math.isnan(row.ci_high)):
            # hlines, not errorbar: an interval need not contain the value.
            axes.hlines(y, row.ci_low, row.ci_high, color="#333333", linewidth=1.1, zorder=4)
            axes.vlines([row.ci_low, row.ci_high], y - 0.2, y + 0.2, color="#333333", linewidth=1.1, zorder=4)
    axes.set_xlim(0, limit)
    axes.set_ylim(len(styles) - 0.4, -0.6)
    axes.set_yticks(range(len(styles)), [style.label for style in styles.values()])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
    axes.grid(axis="x")
