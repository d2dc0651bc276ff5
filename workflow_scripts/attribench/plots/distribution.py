"""Histograms of the exemplars' ranks by each method, against what a random ranking gives."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attribench.formats.ranking import Method, Ranking
from attribench.plots.ranks import PromptRanks, by_method, prompt_types
from attribench.plots.style import (
    DPI,
    MUTED,
    NOTHING,
    RANDOM,
    RANDOM_FILL,
    TEXT,
    message_figure,
    method_styles,
    plot_style,
    rank_axis,
)

_BINS_PER_DECADE = 5
_QUARTILES = {"lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75}
_COLUMNS = [
    "prompt_type", "extractor", "variant", "rank_low", "rank_high", "share", "chance",
    *_QUARTILES, *(f"chance_{name}" for name in _QUARTILES), "n_ranks", "n_queries",
]  # fmt: skip


def rank_distribution(
    rankings: Sequence[Ranking], title: str = "", labels: Mapping[Method, str] | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Draw histograms of exemplar ranks over a log axis, one per method, a panel per prompt type, with medians, quartiles.

    The last row of a panel is what a random ranking gives. Each row is scaled to its own peak: one scale for all would
    be set by the random ranking, nearly all of which lies in the last decade, and flatten the rest. `labels` are what the
    methods are called.

    Returns the figure and a row for each prompt type, method and bin: `share` of the ranks from rank_low to rank_high
    (both included) and `chance`, the share a random ranking expects there; the other columns repeat for all bins of a
    method. Queries weigh the same, whatever their number of exemplars, so the median is the k at which recall@k reaches
    a half. Raises ValueError for a method with two rankings.
    """
    with plot_style():
        methods = by_method(rankings)
        prompts, styles = prompt_types(methods.values()), method_styles(methods, labels)
        histograms = {(prompt, m): PromptRanks.of(methods[m], prompt) for prompt in prompts for m in styles}
        histograms = {names: ranks for names, ranks in histograms.items() if ranks.n_queries}
        if not histograms:
            return message_figure("no valid queries"), pd.DataFrame(columns=_COLUMNS)
        edges = _edges(max(ranks.last for ranks in histograms.values()))
        data = pd.concat([_histogram(*names, ranks, edges) for names, ranks in histograms.items()], ignore_index=True)
        figure = _draw(data, prompts, styles, edges, title)
        return figure, data


def _edges(last: int) -> np.ndarray:
    """Return whole numbers, log-spaced from 1 to last + 1: bin i holds edges[i] <= rank < edges[i + 1]."""
    n = max(2, int(np.ceil(np.log10(last + 1) * _BINS_PER_DECADE)) + 1)
    return np.unique(np.rint(np.geomspace(1, last + 1, n)).astype(np.int64))


def _histogram(prompt: str, method: Method, ranks: PromptRanks, edges: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"rank_low": edges[:-1], "rank_high": edges[1:] - 1})
    table["share"] = np.diff(ranks.recall(edges - 1))
    table["chance"] = np.diff(ranks.chance(edges - 1))
    table["prompt_type"], table["extractor"], table["variant"] = prompt, *method
    for column, share in _QUARTILES.items():
        table[column], table[f"chance_{column}"] = ranks.quantile(share), ranks.chance_quantile(share)
    table["n_ranks"], table["n_queries"] = len(ranks.ranks), ranks.n_queries
    return table[_COLUMNS]


def _draw(data: pd.DataFrame, prompts: list[str], styles: dict, edges: np.ndarray, title: str) -> Figure:
    columns = len(prompts) if len(prompts) <= 3 else 2
    lines = -(-len(prompts) // columns)
    names = [*(style.label for style in styles.values()), "random ranking"]
    width = 0.55 + 0.075 * max(map(len, names)) + (3.9 if columns < 3 else 3.3) * columns
    figure = Figure(figsize=(width, lines * (0.36 * len(names) + 0.85) + (0.75 if columns > 1 else 1.15)), dpi=DPI)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    for i, axes in enumerate(figure.subplots(lines, columns, squeeze=False, sharey=True).flat):
        if i >= len(prompts):
            axes.set_visible(False)
            continue
        axes.set_title(prompts[i], loc="left", weight="bold")
        axes.set_xscale("log")
        axes.set_xlim(1, edges[-1])
        rank_axis(axes.xaxis, int(edges[-1]))
        axes.set_xlabel("rank of an exemplar" if i + columns >= len(prompts) else "")
        axes.set_ylim(len(names) - 0.85, -1.0)
        axes.set_yticks(np.arange(len(names)) - 0.3, names)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        _panel(axes, data[data["prompt_type"] == prompts[i]], styles, edges)
    figure.suptitle(f"{title}: ranks of the exemplars" if title else "Ranks of the exemplars", x=0.01, ha="left")
    figure.legend(handles=_handles(), loc="outside lower center", ncols=3 if columns > 1 else 1)
    return figure


def _panel(axes, rows: pd.DataFrame, styles: dict, edges: np.ndarray) -> None:
    """Draw the methods of one prompt type, a row each, and the random ranking."""
    axes.text(1.02, 1.0, "median", transform=axes.transAxes, va="bottom", size=8, color=MUTED)
    for y, (method, style) in enumerate(styles.items()):
        of_method = rows[(rows["extractor"] == method.extractor) & (rows["variant"] == method.variant)]
        _row(axes, y, of_method, "", style.colour, edges)
    # Methods differ in the random ranking only where they lack different images; the first then stands for all.
    chance = rows.head(len(edges) - 1)
    _row(axes, len(styles), chance, "chance_", RANDOM_FILL, edges)
    if len(chance):
        axes.axvline(chance["chance_median"].iloc[0], color=RANDOM, linestyle=(0, (1, 1)), linewidth=1.2, zorder=3)


def _row(axes, y: int, rows: pd.DataFrame, prefix: str, colour: str, edges: np.ndarray) -> None:
    """Draw one histogram, with the median and quartiles in the columns that begin with `prefix`."""
    axes.axhline(y, color="#C8C8C8", linewidth=0.7, zorder=1)
    label = NOTHING
    if len(rows):
        density = rows["chance" if prefix else "share"].to_numpy() / np.diff(np.log10(edges))
        axes.stairs(y - 0.72 * density / density.max(), edges, baseline=y, fill=True, color=colour, zorder=2)
        low, middle, high = (int(rows[prefix + name].iloc[0]) for name in _QUARTILES)
        axes.hlines(y, low, high, color=TEXT, linewidth=2, zorder=4)
        axes.plot(middle, y, "o", color="white", mec=TEXT, mew=1.1, markersize=4.6, zorder=5, clip_on=False)
        label = f"{middle:,}"
    axes.text(1.02, y - 0.3, label, transform=axes.get_yaxis_transform(), va="center", size=8)


def _handles() -> list:
    middle = {"marker": "o", "markerfacecolor": "white", "markersize": 4.6}
    return [
        Patch(color="#B9B9B9", label="share of the ranks (each row to its own peak)"),
        Line2D([], [], color=TEXT, linewidth=2, label="median and quartiles", **middle),
        Line2D([], [], color=RANDOM, linestyle=(0, (1, 1)), linewidth=1.2, label="median of a random ranking"),
    ]
