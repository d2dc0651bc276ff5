"""Metrics over the size of the database, with intervals, chance and ceiling."""

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from attribench.formats.ranking import Method
from attribench.plots.rows import methods_of, metric_rows
from attribench.plots.style import (
    BEYOND,
    CEILING_LINE,
    CHANCE_LINE,
    DPI,
    MARK,
    interval_name,
    message_figure,
    method_handles,
    method_styles,
    plot_style,
    short_count,
    text_width,
)
from attribench.tables.statistics import NO_INTERVAL

_WIDTH, _HEIGHT = 2.7, 1.75  # inches of a panel with its labels
_TOP = 1.04  # of every panel: methods, metrics and prompt types can be compared
_MARGIN = 1.25  # the axis begins and ends by this factor beyond the sizes


def size_curves(
    table: pd.DataFrame,
    split: str | None = None,
    confidence: float = 0.95,
    labels: Mapping[Method, str] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Draw lines of every metric over the number of database images, from rows of `split` in tables/database_sizes.csv.

    A row of panels per metric, a panel per prompt type, a line per method with its interval (of `confidence`) as a band.
    `labels` are what the methods are called.
    Returns the figure and the rows drawn: by prompt type, metric, method and size, with the column `method`. None for
    `split`: the table holds one only. Raises ValueError for missing columns, several splits or benchmarks, or a row that
    is there twice.
    """
    with plot_style():
        data = metric_rows(table, split, within=["database_size"], labels=labels)
        if data.empty:
            return message_figure("no database sizes to show"), data
        prompts, metrics = list(dict.fromkeys(data["prompt_type"])), list(dict.fromkeys(data["metric"]))
        styles = method_styles(methods_of(data), labels)
        legend = 0.9 + 0.068 * max(21, *map(len, data["method"]))
        height = max(_HEIGHT * len(metrics) + 0.6, 0.19 * len(styles) + 1.8)
        figure = Figure(figsize=(_WIDTH * len(prompts) + legend, height), dpi=DPI)
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        panels = figure.subplots(len(metrics), len(prompts), squeeze=False, sharex=True, sharey=True)
        for j, prompt in enumerate(prompts):
            panels[0, j].set_title(prompt, loc="left", weight="bold")
            panels[-1, j].set_xlabel("images in the database")
            for i, metric in enumerate(metrics):
                _panel(panels[i, j], data[(data["prompt_type"] == prompt) & (data["metric"] == metric)], styles)
        for axes, metric in zip(panels[:, 0], metrics, strict=True):
            axes.set_ylabel(metric)
        _size_axis(panels[0, 0], sorted(data["database_size"].unique()))
        title = f"{data['split'].iloc[0]}: metrics over the size of the database"
        figure.suptitle(title, x=0.01, ha="left")
        figure.legend(handles=_handles(data, styles, confidence), loc="outside right center", handlelength=3)
        return figure, data


def _panel(axes, rows: pd.DataFrame, styles: dict) -> None:
    axes.set_ylim(-0.02, _TOP)
    axes.grid(which="major")
    if rows.empty:
        return
    # Methods differ in chance and ceiling only where they lack different images; the first then stands for all. The
    # ceiling is that of the number of exemplars: the same at every size.
    first = rows[rows["method"] == rows["method"].iloc[0]]
    alone = len(first) == 1  # a line or a band through a single size would not be seen
    ceiling, end = first["ceiling"].iloc[0], first["ceiling_high"].iloc[0]
    if not math.isnan(ceiling):
        axes.axhline(ceiling, **CEILING_LINE, zorder=2)
        axes.axhspan(ceiling if math.isnan(end) else end, _TOP, color=BEYOND, linewidth=0, zorder=0.5)
    x, chance = first["database_size"], first["chance"]
    if alone:
        axes.hlines(chance, x / _MARGIN**0.5, x * _MARGIN**0.5, **CHANCE_LINE, zorder=2)
    axes.plot(x, chance, **CHANCE_LINE, zorder=2)
    for method, line in rows.groupby(["extractor", "variant"], sort=False):
        style, x, ends = styles[method], line["database_size"], (line["ci_low"], line["ci_high"])
        if alone:
            axes.vlines(x, *ends, color=style.colour, linewidth=1.1, zorder=2.5)
        axes.fill_between(x, *ends, color=style.colour, alpha=0.13, linewidth=0, zorder=1)
        marks = {"marker": style.marker, **MARK}
        axes.plot(x, line["value"], color=style.colour, linestyle=style.line, linewidth=1.5, zorder=3, **marks)


def _size_axis(axes, sizes: list[int]) -> None:
    """Make a log axis with a tick at each size; as many have names as fit, the ends and powers of ten first."""
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / _MARGIN, sizes[-1] * _MARGIN)
    inches = (_WIDTH - 0.5) / math.log(sizes[-1] / sizes[0] * _MARGIN**2)
    centres = [math.log(size / sizes[0]) * inches for size in sizes]
    widths = [text_width(short_count(size), "xtick.labelsize") + 0.08 for size in sizes]
    is_end = [i in (0, len(sizes) - 1) for i in range(len(sizes))]
    named: list[int] = []
    for i in sorted(range(len(sizes)), key=lambda i: (not is_end[i], not _is_round(sizes[i]), i)):
        if all(abs(centres[i] - centres[j]) >= (widths[i] + widths[j]) / 2 for j in named):
            named.append(i)
    names = {sizes[i]: short_count(sizes[i]) for i in sorted(named)}
    axes.xaxis.set_major_locator(FixedLocator(list(names)))
    axes.xaxis.set_major_formatter(FixedFormatter(list(names.values())))
    axes.xaxis.set_minor_locator(FixedLocator([size for size in sizes if size not in names]))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _is_round(size: int) -> bool:
    return 10 ** round(math.log10(size)) == size


def _handles(data: pd.DataFrame, styles: dict, confidence: float) -> list:
    handles: list = method_handles(styles, marked=True)
    if data["ci_low"].notna().any():
        handles.append(Patch(color="#333333", alpha=0.2, linewidth=0, label=interval_name(confidence)))
    if (data["ci_low"].isna() & data["value"].notna()).any():
        handles.append(Line2D([], [], linestyle="", label=NO_INTERVAL))
    if data["ceiling"].notna().any():
        handles.append(Line2D([], [], **CEILING_LINE, label="ceiling"))
    if data["chance"].notna().any():
        handles.append(Line2D([], [], **CHANCE_LINE, label="chance: random ranking"))
    return handles
