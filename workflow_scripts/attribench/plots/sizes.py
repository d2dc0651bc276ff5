"""Metrics over the size of the database, with intervals, chance and ceiling."""

import math

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from attribench.formats.ranking import Method
from attribench.plots.captions import BESIDE, caption, intervals, listing
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import PAGE, Spacing, columns_that_fit, legend_height, panel_grid
from attribench.plots.plot import Plot
from attribench.plots.points import draw_intervals, interval_handles
from attribench.plots.rows import methods_of, metric_rows
from attribench.plots.style import (
    BEYOND,
    CEILING_LINE,
    CHANCE_LINE,
    LINE,
    SMALL,
    MethodStyle,
    ceiling_handles,
    message_figure,
    method_handles,
    plot_style,
    short_count,
    text_width,
)

_HEIGHT, _LOW, _MIN_PANEL_WIDTH = (
    1.2,
    0.6,
    1.0,
)  # inches of a panel: its height, that with many rows, its width at least
_MAX_COLUMNS = 4  # panels in a row
_TOP = 1.04  # of every panel: methods, metrics and prompt types can be compared
_AXIS_MARGIN = 1.25  # the axis begins and ends by this factor beyond the sizes


def size_curves(
    table: pd.DataFrame,
    split: str | None = None,
    confidence: float = 0.95,
    settings: FigureSettings = SHIPPED,
    protocol: str = "",
) -> Plot:
    """Draw lines of every metric over the number of database images, from rows of `split` in tables/database_sizes.csv.

    A row of panels per metric, a panel per prompt type, a line per method with its intervals (of `confidence`). `protocol`
    is the caption's sentence on what is ranked. The data are the rows drawn: by prompt type, metric, method and size, with
    the column `method`. None for `split`: the table holds one only. Raises ValueError for missing columns, several splits or
    benchmarks, or a row that is there twice.
    """
    with plot_style():
        data = metric_rows(table, split, within=["database_size"], settings=settings)
        if data.empty:
            return Plot(message_figure("no database sizes to show", settings.width), data, "No database sizes to show.")
        prompts, metrics = list(dict.fromkeys(data["prompt_type"])), list(dict.fromkeys(data["metric"]))
        sizes = sorted(int(size) for size in data["database_size"].unique())
        styles = settings.styles(methods_of(data))
        spacing = Spacing(above=0.2, rows=None if len(prompts) > _MAX_COLUMNS else 0.1)
        columns = columns_that_fit(settings, spacing, _MIN_PANEL_WIDTH, min(_MAX_COLUMNS, len(prompts)))
        # More prompt types than columns: a metric has several rows of panels.
        cells = [(m, p) for m in metrics for p in [*prompts, *[None] * (-len(prompts) % columns)]]
        title = f"{data['split'].iloc[0]}: metrics over the size of the database"
        handles = _handles(data, styles, confidence)
        rows = len(cells) // columns
        height = (PAGE - legend_height(settings, handles)) / rows - spacing.between_rows
        height = min(_HEIGHT, max(_LOW, height))
        figure, panels = panel_grid(settings, title, handles, len(cells), columns, height, spacing)
        for i, (axes, (metric, prompt)) in enumerate(zip(panels, cells, strict=True)):
            if prompt is None:
                axes.remove()
                continue
            is_first, is_last = i < columns, i >= len(cells) - columns
            axes.set_title(prompt if is_first or spacing.rows is None else "", loc="left", weight="bold")
            axes.set_ylabel(metric if i % columns == 0 else "")
            axes.set_xlabel("database images" if is_last else "")
            axes.tick_params(labelleft=i % columns == 0, labelbottom=is_last or spacing.rows is None)
            _size_axis(axes, sizes)
            _panel(axes, data[(data["prompt_type"] == prompt) & (data["metric"] == metric)], styles)
        text = caption(
            f"Metrics on {data['split'].iloc[0]} over the number of database images that are ranked: {listing(metrics)} "
            f"among the first {listing([f'{size:,}' for size in sizes])} images, a column per prompt type.",
            protocol,
            intervals(data, confidence, where=BESIDE),
            "Grey line: chance, a random ranking. Thin black line: the ceiling, a perfect one. All panels go from 0 to 1.",
        )
        return Plot(figure, data, text)


def _panel(axes, rows: pd.DataFrame, styles: dict[Method, MethodStyle]) -> None:
    axes.set_ylim(-0.02, _TOP)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(which="major")
    if rows.empty:
        return
    # Methods differ in chance and ceiling only where they lack different images; the first then stands for all. The
    # ceiling is that of the number of exemplars: the same at every size.
    first = rows[rows["method"] == rows["method"].iloc[0]]
    ceiling = first["ceiling"].iloc[0]
    if not math.isnan(ceiling):
        axes.axhline(ceiling, **CEILING_LINE, zorder=2)
        axes.axhspan(ceiling, 1, color=BEYOND, linewidth=0, zorder=0.5)
    x, chance = first["database_size"], first["chance"]
    if len(first) == 1:  # a line through a single size would not be seen
        axes.hlines(chance, x / _AXIS_MARGIN**0.5, x * _AXIS_MARGIN**0.5, **CHANCE_LINE, zorder=2)
    axes.plot(x, chance, **CHANCE_LINE, zorder=2)
    lines = {Method(*names): line for names, line in rows.groupby(["extractor", "variant"], sort=False)}
    for method, line in lines.items():
        style = styles[method]
        how = {"color": style.colour, "linestyle": style.line, "linewidth": LINE, **style.mark}
        axes.plot(line["database_size"], line["value"], zorder=3, **how)
    ends = {method: (line["database_size"], line["ci_low"], line["ci_high"]) for method, line in lines.items()}
    draw_intervals(axes, ends, styles)


def _size_axis(axes, sizes: list[int]) -> None:
    """Make a log axis with a tick at each size; as many have names as fit, the ends and powers of ten first."""
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / _AXIS_MARGIN, sizes[-1] * _AXIS_MARGIN)
    width = axes.get_position().width * axes.figure.get_figwidth()
    inches = width / math.log(sizes[-1] / sizes[0] * _AXIS_MARGIN**2)
    centres = [math.log(size / sizes[0]) * inches for size in sizes]
    widths = [text_width(short_count(size), SMALL) + 0.1 for size in sizes]
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


def _handles(data: pd.DataFrame, styles: dict[Method, MethodStyle], confidence: float) -> list:
    handles: list = [*method_handles(styles, marked=True), *interval_handles(data, confidence)]
    if data["ceiling"].notna().any():
        handles += ceiling_handles(data["ceiling"])
    if data["chance"].notna().any():
        handles.append(Line2D([], [], **CHANCE_LINE, label="chance: random ranking"))
    return handles
