"""Histograms of the exemplars' ranks by each method, against what a random ranking gives."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attribench.formats.ranking import Method, Ranking
from attribench.plots.captions import caption, protocol
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import MARGIN, Spacing, columns_that_fit, panel_grid
from attribench.plots.plot import Plot
from attribench.plots.ranks import PromptRanks, by_method, prompt_types
from attribench.plots.style import (
    CHANCE_LINE,
    HALO,
    MUTED,
    NOTHING,
    SMALL,
    TEXT,
    MethodStyle,
    beside,
    message_figure,
    plot_style,
    rank_axis,
    text_width,
    wrapped,
)

_ROW, _MIN_PANEL_WIDTH, _MEDIAN = (
    0.25,
    0.8,
    0.1,
)  # inches: a row, a panel's width at least, beside the letters of a median
_LABELS = 0.3  # of the width, at most
_RANDOM = "random ranking"
_BINS_PER_DECADE = 5
_QUARTILES = {"lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75}
_COLUMNS = [
    "prompt_type", "extractor", "variant", "rank_low", "rank_high", "share", "chance",
    *_QUARTILES, *(f"chance_{name}" for name in _QUARTILES), "n_ranks", "n_queries",
]  # fmt: skip


def rank_distribution(
    rankings: Sequence[Ranking],
    split: str = "",
    settings: FigureSettings = SHIPPED,
) -> Plot:
    """Draw histograms of exemplar ranks over a log axis, one per method, a panel per prompt type, with medians, quartiles.

    All histograms have one scale: the highest bar of all is as high as a row. The last row has median and quartiles of a
    random ranking, without a histogram: nearly all of it would lie in the last decade, and flatten the rest.

    The data have a row for each prompt type, method and bin: `share` of the ranks from rank_low to rank_high (both included)
    and `chance`, the share a random ranking expects there; the other columns repeat for all bins of a method. Queries weigh
    the same, whatever their number of exemplars, so the median is the k at which recall@k reaches a half. Raises ValueError
    for a method with two rankings.
    """
    with plot_style():
        methods = by_method(rankings)
        prompts, styles = prompt_types(methods.values()), settings.styles(methods)
        histograms = {(prompt, m): PromptRanks.of(methods[m], prompt) for prompt in prompts for m in styles}
        histograms = {names: ranks for names, ranks in histograms.items() if ranks.n_queries}
        if not histograms:
            nothing = pd.DataFrame(columns=_COLUMNS)
            return Plot(message_figure("no valid queries", settings.width), nothing, "No query is valid.")
        edges = _edges(max(ranks.last for ranks in histograms.values()))
        data = pd.concat([_histogram(*names, ranks, edges) for names, ranks in histograms.items()], ignore_index=True)
        text = caption(
            f"Ranks of the exemplars on {split or 'the split'} by each method, a panel per prompt type: histograms over a "
            "logarithmic axis, with median (dot) and quartiles (line).",
            protocol(rankings),
            "A bar is as high as its share of the method's ranks divided by its width on the axis; all histograms have the "
            "same scale. Queries weigh the same, so the median is the k at which recall@k reaches a half.",
            "Grey vertical line: the median of a random ranking, whose row has no histogram: nearly all of it would lie in "
            "the last decade.",
        )
        return Plot(_draw(data, prompts, styles, edges, split, settings), data, text)


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


def _draw(
    data: pd.DataFrame,
    prompts: list[str],
    styles: dict[Method, MethodStyle],
    edges: np.ndarray,
    split: str,
    settings: FigureSettings,
) -> Figure:
    names = [wrapped(name, _LABELS * settings.width, SMALL) for name in [*(s.label for s in styles.values()), _RANDOM]]
    left = MARGIN + 0.06 + max(text_width(line, SMALL) for name in names for line in name.split("\n"))
    row = max(_ROW, 0.115 * max(name.count("\n") + 1 for name in names) + 0.03)
    median = _MEDIAN + max(text_width(text, SMALL) for text in ("median", f"{int(edges[-1]):,}"))
    spacing = Spacing(left=left, between=median + 0.12, right=median, above=0.24)
    columns = columns_that_fit(settings, spacing, _MIN_PANEL_WIDTH, len(prompts))
    title = f"{split}: ranks of the exemplars" if split else "Ranks of the exemplars"
    height = row * len(names)
    figure, panels = panel_grid(settings, title, _handles(), len(prompts), columns, height, spacing)
    with np.errstate(divide="ignore"):
        scale = 0.8 / max(_density(data["share"], data).max(), 1e-12)
    for i, (axes, prompt) in enumerate(zip(panels, prompts, strict=True)):
        axes.set_title(prompt, loc="left", weight="bold")
        axes.set_xscale("log")
        axes.set_xlim(1, edges[-1])
        rank_axis(axes.xaxis, int(edges[-1]))
        axes.set_xlabel("rank of an exemplar" if i + columns >= len(prompts) else "")
        axes.set_ylim(len(names) - 0.85, -0.9)
        axes.set_yticks(np.arange(len(names)) - 0.3, names)
        axes.tick_params(axis="y", length=0, labelleft=i % columns == 0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        _panel(axes, data[data["prompt_type"] == prompt], styles, edges, scale)
    return figure


def _density(shares: pd.Series, bins: pd.DataFrame) -> np.ndarray:
    """Return `shares` of the `bins` per decade of the axis."""
    return shares.to_numpy() / np.log10((bins["rank_high"] + 1) / bins["rank_low"]).to_numpy()


def _panel(axes, rows: pd.DataFrame, styles: dict[Method, MethodStyle], edges: np.ndarray, scale: float) -> None:
    """Draw the methods of one prompt type, a row each, and the random ranking."""
    axes.annotate(
        "median", (1, 1), (4, 2), xycoords="axes fraction", textcoords="offset points", size=SMALL, color=MUTED
    )
    for y, (method, style) in enumerate(styles.items()):
        of_method = rows[(rows["extractor"] == method.extractor) & (rows["variant"] == method.variant)]
        if len(of_method):
            heights = scale * _density(of_method["share"], of_method)
            face = {"facecolor": style.colour, "edgecolor": style.colour, "hatch": style.hatch, "linewidth": 0.5}
            axes.stairs(y - heights, edges, baseline=y, fill=True, zorder=2, **face)
        _quartiles(axes, y, of_method, "")
    # Methods differ in the random ranking only where they lack different images; the first then stands for all.
    chance = rows.head(1)
    _quartiles(axes, len(styles), chance, "chance_")
    if len(chance):
        axes.axvline(chance["chance_median"].iloc[0], **CHANCE_LINE, zorder=1.5)


def _quartiles(axes, y: int, rows: pd.DataFrame, prefix: str) -> None:
    """Draw the row's base, and median and quartiles by the columns that begin with `prefix`."""
    axes.axhline(y, color="#C8C8C8", linewidth=0.6, zorder=1)
    label = NOTHING
    if len(rows):
        low, middle, high = (int(rows[prefix + name].iloc[0]) for name in _QUARTILES)
        axes.hlines(y, low, high, color=TEXT, linewidth=1.6, zorder=4, path_effects=HALO)
        axes.plot(middle, y, "o", color="white", mec=TEXT, mew=0.9, markersize=3.6, zorder=5, clip_on=False)
        label = f"{middle:,}"
    beside(axes, y - 0.3, label)


def _handles() -> list:
    middle = {"marker": "o", "markerfacecolor": "white", "markersize": 3.6, "markeredgewidth": 0.9}
    return [
        Patch(color="#B9B9B9", label="density of the ranks over the log axis"),
        Line2D([], [], color=TEXT, linewidth=1.6, label="median and quartiles", **middle),
        Line2D([], [], **CHANCE_LINE, label="median of a random ranking"),
    ]
