"""Draw which method is better, and by how much: paired differences with intervals, as a forest plot."""

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from attribench.formats.ranking import PRETRAINED, Method
from attribench.plots.captions import caption, count, interval_name, intervals
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import MARGIN, Spacing, columns_that_fit, panel_grid, row_positions
from attribench.plots.plot import Plot
from attribench.plots.style import (
    LINE,
    MUTED,
    NOTHING,
    SMALL,
    TEXT,
    MethodStyle,
    beside,
    message_figure,
    plot_style,
    text_width,
    wrapped,
)
from attribench.tables.standings import Outcome, Pair
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
# How sure a difference is, in signs that no method has: a row's name says whose it is. And the sign beside its number.
_MARKS = {
    Outcome.AHEAD: {"marker": "o", "markersize": 3.6},
    Outcome.UNADJUSTED: {"marker": "o", "markersize": 3.6, "fillstyle": "bottom", "markerfacecoloralt": "white"},
    Outcome.TIED: {"marker": "x", "markersize": 4},
    Outcome.UNKNOWN: {"marker": "+", "markersize": 4.4},
}
_SIGNS = {Outcome.AHEAD: "*", Outcome.UNADJUSTED: "~"}
_END = 7  # points, the height of an interval's ends: higher than a mark, which then never hides them


def difference_forest(
    comparisons: pd.DataFrame,
    split: str,
    resampling: Resampling,
    settings: FigureSettings = SHIPPED,
    protocol: str = "",
) -> Plot:
    """Draw the paired differences in mAP of `split`, from tables/comparisons.csv: a row per pair, a panel per prompt type.

    A pair is the better method minus the worse, by mAP over all prompt types. With many methods, only pairs with the best
    are drawn, and those of a variant with the same extractor pretrained. Marks tell the `Outcome` of each pair. `protocol`:
    the caption's sentence on what is ranked. The data are the rows drawn, in the table's columns, with `significant`: after
    Holm's adjustment over all pairs, at 1 - confidence.
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
            _panel(axes, data[data["prompt_type"] == prompt], groups, styles, rows, resampling.confidence)
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
    confidence: float,
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
            outcome = _outcome(row, confidence)
            weight = "bold" if outcome is Outcome.AHEAD else "normal"
            beside(axes, y, f"{row.difference:+.3f}{_SIGNS.get(outcome, '')}", weight=weight)
            if not np.isnan(row.ci_low):
                ends = {"marker": "|", "markersize": _END, "markeredgewidth": LINE}
                axes.plot([row.ci_low, row.ci_high], [y, y], color=style.colour, linewidth=LINE, zorder=2, **ends)
            mark = _mark(outcome, style.colour)
            axes.plot(row.difference, y, linestyle="", zorder=3, **mark)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _outcome(row: NamedTuple, confidence: float) -> Outcome:
    """Return how sure a row's difference is, as the report has it too."""
    methods = Method(row.extractor_a, row.variant_a), Method(row.extractor_b, row.variant_b)
    return Pair(*methods, row.difference, row.ci_low, row.ci_high, row.p_value, row.p_holm).outcome(confidence)


def _mark(outcome: Outcome, colour: str) -> dict[str, object]:
    """Return how the difference of a pair is marked, as arguments of matplotlib's `plot`."""
    return {"color": colour, "markeredgewidth": 0.9} | _MARKS[outcome]


def _outcomes(data: pd.DataFrame, confidence: float) -> set[Outcome]:
    known = data[data["difference"].notna()]
    return {_outcome(row, confidence) for row in known.itertuples(index=False)}


def _handles(data: pd.DataFrame, confidence: float) -> list[Line2D]:
    labels = {
        Outcome.AHEAD: f"* ahead: p at most {1 - confidence:.4g} (Holm)",
        Outcome.UNADJUSTED: "~ likely ahead: interval leaves out 0",
        Outcome.TIED: "not told apart: interval holds 0",
        Outcome.UNKNOWN: NO_INTERVAL,
    }
    found = _outcomes(data, confidence)
    handles = [
        Line2D([], [], linestyle="", label=label, **_mark(outcome, TEXT))
        for outcome, label in labels.items()
        if outcome in found
    ]
    if data["ci_low"].notna().any():
        handles.append(Line2D([], [], color=TEXT, linewidth=LINE, label=interval_name(confidence)))
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
        _marks(_outcomes(data, resampling.confidence), f"{1 - resampling.confidence:.4g}"),
        f"p is that of a sign-flip test over entries ({resampling.samples:,} random sign vectors at most, seed "
        f"{resampling.seed}), by Holm's adjustment over the {count(n_pairs, 'pair')} of a prompt type; intervals are not "
        "adjusted.",
    )


def _marks(found: set[Outcome], level: str) -> str:
    """Return what the marks mean, of those outcomes that were `found`."""
    sentences = {
        Outcome.AHEAD: f"Dot and star: one is ahead of the other, as p is at most {level}.",
        Outcome.UNADJUSTED: f"Half a dot and ~: one is likely ahead, as the interval leaves out 0, but p is above {level}.",
        Outcome.TIED: "Cross: the two are not told apart, the interval holds 0.",
    }
    return " ".join(sentence for outcome, sentence in sentences.items() if outcome in found)
