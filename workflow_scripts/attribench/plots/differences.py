"""Draw which method is better, and by how much: paired differences with intervals, as a forest plot."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from attribench.formats.ranking import PRETRAINED, Method
from attribench.plots.captions import caption, count, intervals
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import MARGIN, Spacing, columns_that_fit, panel_grid, row_positions
from attribench.plots.plot import Plot
from attribench.plots.style import (
    MARK,
    MUTED,
    NOTHING,
    SMALL,
    TEXT,
    MethodStyle,
    beside,
    interval_name,
    message_figure,
    plot_style,
    text_width,
    wrapped,
)
from attribench.tables.statistics import NO_INTERVAL, Resampling

METRIC = "mAP"
# So many pairs are all drawn; of more, those with the best method, and those of a variant with its pretrained.
_ALL_PAIRS = 15
_NAMES = ["extractor_a", "variant_a", "extractor_b", "variant_b"]
_NUMBERS = ["difference", "ci_low", "ci_high", "p_value", "p_holm", "n_queries", "n_entries"]
_COLUMNS = ["split", "prompt_type", "metric", *_NAMES, *_NUMBERS, "significant"]
# Inches: a row, the column of numbers, a panel's width at least.
_ROW, _NUMBER, _MIN_PANEL_WIDTH = 0.15, 0.52, 0.8
_LABELS = 0.34  # of the width, at most
_MINUS = "\N{MINUS SIGN}\N{NO-BREAK SPACE}"  # which never stands on a line of its own


def difference_forest(
    comparisons: pd.DataFrame,
    split: str,
    resampling: Resampling,
    settings: FigureSettings = SHIPPED,
    protocol: str = "",
) -> Plot:
    """Draw the paired differences in mAP of `split`, from tables/comparisons.csv: a row per pair, a panel per prompt type.

    A pair is the better method minus the worse, by mAP over all prompt types. With many methods, only pairs with the best
    are drawn, and those of a variant with the same extractor pretrained. Filled, and with a star: significant after Holm's
    adjustment over all pairs, at 1 - confidence. `protocol` is the caption's sentence on what is ranked. The data are the
    rows drawn, in the table's columns, with `significant`.
    """
    with plot_style():
        table = comparisons[(comparisons["split"] == split) & (comparisons["metric"] == METRIC)]
        if table["difference"].isna().all():
            text = "no two methods to compare"
            return Plot(message_figure(text, settings.width), pd.DataFrame(columns=_COLUMNS), f"There are {text}.")
        best_first = _best_first(table)
        groups = _groups(best_first)
        data = _rows(table, groups, resampling)
        prompts = list(dict.fromkeys(data["prompt_type"]))
        styles = settings.styles(best_first)
        labels = _labels(groups, styles, settings)
        rows = row_positions([text for text, _ in labels], _ROW)
        left = (
            MARGIN + 0.06 + max(text_width(line, SMALL, weight) for text, weight in labels for line in text.split("\n"))
        )
        spacing = Spacing(left=left, between=_NUMBER + 0.08, right=_NUMBER)
        columns = columns_that_fit(settings, spacing, _MIN_PANEL_WIDTH, len(prompts))
        title = f"{split}: differences in {METRIC}, the better method minus the worse"
        height = rows[-1] + _ROW
        handles = _handles(data, resampling.confidence)
        figure, panels = panel_grid(settings, title, handles, len(prompts), columns, height, spacing)
        limits = _limits(data)
        for i, (axes, prompt) in enumerate(zip(panels, prompts, strict=True)):
            _panel(axes, data[data["prompt_type"] == prompt], groups, styles, rows)
            axes.set_xlim(*limits)
            axes.set_ylim(height, 0)
            axes.set_title(prompt, loc="left", weight="bold")
            axes.set_xlabel(f"difference in {METRIC}" if i + columns >= len(prompts) else "")
            _name_rows(axes, rows, labels, named=i % columns == 0)
        return Plot(figure, data, _caption(data, table, split, resampling, protocol))


def _best_first(table: pd.DataFrame) -> list[Method]:
    """Return the methods by their mean difference from all others, over all prompt types; ties as the table has them."""
    pairs = table[_NAMES].itertuples(index=False, name=None)
    a, b = zip(*((Method(*names[:2]), Method(*names[2:])) for names in pairs), strict=True)
    totals = dict.fromkeys([*a, *b], 0.0)
    for one, other, difference in zip(a, b, table["difference"].fillna(0.0), strict=True):
        totals[one] += difference
        totals[other] -= difference
    return sorted(totals, key=lambda method: -totals[method])


def _groups(best_first: list[Method]) -> dict[Method, list[Method]]:
    """Return the pairs that are drawn: by their better method, the other ones."""
    pairs = list(combinations(best_first, 2))
    if len(pairs) > _ALL_PAIRS:
        pairs = [
            (a, b)
            for a, b in pairs
            if a == best_first[0] or (a.extractor == b.extractor and PRETRAINED in (a.variant, b.variant))
        ]
    groups: dict[Method, list[Method]] = {}
    for a, b in pairs:
        groups.setdefault(a, []).append(b)
    return groups


def _rows(table: pd.DataFrame, groups: dict[Method, list[Method]], resampling: Resampling) -> pd.DataFrame:
    """Return the table's rows of the pairs in `groups`, turned where the table has the better method second."""
    turned = table.rename(columns=dict(zip(_NAMES, [*_NAMES[2:], *_NAMES[:2]], strict=True)))
    turned = turned.assign(difference=-table["difference"], ci_low=-table["ci_high"], ci_high=-table["ci_low"])
    both = pd.concat([table, turned], ignore_index=True)
    order = {(*a, *b): i for i, (a, b) in enumerate((a, b) for a, others in groups.items() for b in others)}
    number = [order.get(names, -1) for names in both[_NAMES].itertuples(index=False, name=None)]
    prompts = {name: i for i, name in enumerate(dict.fromkeys(table["prompt_type"]))}
    both = both.assign(number=number, prompt=both["prompt_type"].map(prompts))
    both = both[both["number"] >= 0].sort_values(["prompt", "number"], kind="stable", ignore_index=True)
    both["significant"] = both["p_holm"] <= 1 - resampling.confidence + 1e-12
    return both[_COLUMNS]


def _labels(
    groups: dict[Method, list[Method]], styles: Mapping[Method, MethodStyle], settings: FigureSettings
) -> list[tuple[str, str]]:
    """Return the label of each row and its weight: a group's better method, then the ones that it is compared with."""
    width = _LABELS * settings.width
    rows = []
    for better, others in groups.items():
        rows.append((wrapped(styles[better].label, width, SMALL, "bold"), "bold"))
        rows += [(wrapped(f"{_MINUS}{styles[other].label}", width, SMALL), "normal") for other in others]
    return rows


def _name_rows(axes: Axes, rows: list[float], labels: list[tuple[str, str]], *, named: bool) -> None:
    axes.set_yticks(rows, [text for text, _ in labels])
    axes.tick_params(axis="y", length=0, labelleft=named, pad=2)
    for text, (_, weight) in zip(axes.get_yticklabels() if named else (), labels if named else (), strict=True):
        text.set_fontweight(weight)


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    """Return the range of all panels: it holds 0 and every interval."""
    numbers = data[["difference", "ci_low", "ci_high"]].to_numpy(np.float64)
    low, high = min(0.0, np.nanmin(numbers)), max(0.0, np.nanmax(numbers))
    margin = 0.05 * max(high - low, 0.02)
    return low - margin, high + margin


def _panel(
    axes: Axes,
    data: pd.DataFrame,
    groups: dict[Method, list[Method]],
    styles: Mapping[Method, MethodStyle],
    rows: list[float],
) -> None:
    """Draw the differences of one prompt type at the heights `rows`, with their numbers in a column at the right."""
    by_pair = {tuple(row[i] for i in range(3, 7)): row for row in data[_COLUMNS].itertuples(index=False)}
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1.5)
    heights = iter(rows)
    for better, others in groups.items():
        style = styles[better]
        next(heights)
        for other in others:
            y = next(heights)
            row = by_pair.get((*better, *other))
            if row is None or np.isnan(row.difference):
                beside(axes, y, NOTHING)
                continue
            weight = "bold" if row.significant else "normal"
            beside(axes, y, f"{row.difference:+.3f}{'*' if row.significant else ''}", weight=weight)
            if not np.isnan(row.ci_low):
                axes.hlines(y, row.ci_low, row.ci_high, color=style.colour, linewidth=1.1, zorder=2)
            mark = style.mark | {"markerfacecolor": style.colour if row.significant else "white"}
            axes.plot(row.difference, y, linestyle="", zorder=3, **mark)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _handles(data: pd.DataFrame, confidence: float) -> list[Line2D]:
    mark = {"linestyle": "", "marker": "o", "markeredgecolor": TEXT, **MARK}
    level = f"{1 - confidence:.4g}"
    handles = [
        Line2D([], [], markerfacecolor=TEXT, label=f"* significant at {level} (Holm)", **mark),
        Line2D([], [], markerfacecolor="white", label="not significant", **mark),
    ]
    if data["ci_low"].notna().any():
        handles.append(Line2D([], [], color=TEXT, linewidth=1.1, label=interval_name(confidence)))
    if (data["ci_low"].isna() & data["difference"].notna()).any():
        handles.append(Line2D([], [], linestyle="", label=NO_INTERVAL))
    return handles


def _caption(data: pd.DataFrame, table: pd.DataFrame, split: str, resampling: Resampling, protocol: str) -> str:
    n_pairs = len(table.drop_duplicates(_NAMES))
    return caption(
        f"Which method is better on {split}, and by how much: differences in {METRIC}, paired on the queries that are valid "
        "for both methods, a panel per prompt type. Of each pair, it is the method with the higher mean over prompt types "
        "minus the other.",
        "Of all pairs, those with the best method are shown, and those of a variant with the same extractor pretrained."
        if len(data.drop_duplicates(_NAMES)) < n_pairs
        else "",
        protocol,
        intervals(
            data.assign(value=data["difference"]),
            resampling.confidence,
            "of the difference: what the test does not reject",
        ),
        f"Filled, with a star: p at most {1 - resampling.confidence:.4g} in a sign-flip test over entries "
        f"({resampling.samples:,} random sign vectors at most, seed {resampling.seed}), by Holm's adjustment over the "
        f"{count(n_pairs, 'pair')} of a prompt type; intervals are not adjusted.",
    )
