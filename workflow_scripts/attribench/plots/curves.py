"""Recall@k over every k, with the curves of a random and of a perfect ranking."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from attribench.formats.ranking import Method, Ranking
from attribench.plots.captions import BESIDE, caption, intervals, listing, protocol
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import Spacing, columns_that_fit, panel_grid
from attribench.plots.plot import Plot
from attribench.plots.points import draw_intervals, interval_handles
from attribench.plots.ranks import PromptRanks, by_method, least_candidates, prompt_types
from attribench.plots.style import (
    BEYOND,
    CEILING_LINE,
    CHANCE_LINE,
    HALO,
    LINE,
    MUTED,
    SMALL,
    MethodStyle,
    ceiling_handles,
    message_figure,
    method_handles,
    plot_style,
    rank_axis,
)

_GRID_POINTS = 240
_HEIGHT, _MIN_PANEL_WIDTH = 1.75, 1.5  # inches of a panel: its height, and its width at least
_COLUMNS = [
    *("prompt_type", "extractor", "variant", "k", "recall", "chance", "ceiling", "n_queries"),
    *("ci_low", "ci_high"),
]


def recall_curves(
    rankings: Sequence[Ranking],
    recall_ks: Sequence[int],
    split: str = "",
    confidence: float = 0.95,
    settings: FigureSettings = SHIPPED,
    summary: pd.DataFrame | None = None,
) -> Plot:
    """Draw lines of recall@k over k, from 1 to the number of candidates, one per method, a panel per prompt type.

    The data have a row for each prompt type, method and k drawn: log-spaced ks and, marked in the figure, `recall_ks` below
    the number of candidates of every query, from which on recall is 1 by construction. At these, the intervals (of
    `confidence`) that `summary` (tables/summary.csv) has of the recall are drawn; they are empty at all other ks. Queries
    weigh the same. Raises ValueError for a k below 1 or a method with two rankings.
    """
    if any(k < 1 for k in recall_ks):
        raise ValueError(f"recall_ks must be 1 or more, got {list(recall_ks)}")
    with plot_style():
        methods, least = by_method(rankings), least_candidates(rankings)
        marked = sorted({int(k) for k in recall_ks if k < least})
        prompts, styles = prompt_types(methods.values()), settings.styles(methods)
        curves = {(prompt, method): _curve(prompt, methods[method], marked) for prompt in prompts for method in styles}
        curves = {names: curve for names, curve in curves.items() if len(curve)}
        if not curves:
            nothing = pd.DataFrame(columns=_COLUMNS)
            return Plot(message_figure("no valid queries", settings.width), nothing, "No query is valid.")
        ends = _intervals(summary, split)
        curves = {(prompt, method): _with_intervals(curve, ends) for (prompt, method), curve in curves.items()}
        data = pd.concat(curves.values(), ignore_index=True)
        spacing = Spacing()
        columns = columns_that_fit(settings, spacing, _MIN_PANEL_WIDTH, len(prompts))
        title = f"{split}: recall over k" if split else "Recall over k"
        handles = _handles(data, styles, marked, confidence)
        figure, panels = panel_grid(settings, title, handles, len(prompts), columns, _HEIGHT, spacing)
        for i, (axes, prompt) in enumerate(zip(panels, prompts, strict=True)):
            _panel(axes, prompt, curves, styles, marked)
            axes.set_xlabel("k: images looked at" if i + columns >= len(prompts) else "")
            axes.set_ylabel("recall@k" if i % columns == 0 else "")
            axes.tick_params(labelleft=i % columns == 0)
        at_marked = data[data["k"].isin(marked)].assign(value=lambda rows: rows["recall"])
        text = caption(
            f"Recall@k on {split or 'the split'} over k, the number of images looked at: the mean share of a query's "
            "exemplars among its first k images, a panel per prompt type.",
            protocol(rankings),
            f"Marked: k = {listing(marked)}." if marked else "",
            intervals(at_marked, confidence, where=BESIDE) if summary is not None else "",
            "Thin black line: the ceiling, a perfect ranking. Grey line: chance, a random one.",
        )
        return Plot(figure, data, text)


def _curve(prompt: str, ranking: Ranking, marked: list[int]) -> pd.DataFrame:
    ranks = PromptRanks.of(ranking, prompt)
    if not ranks.n_queries:
        return pd.DataFrame(columns=_COLUMNS)
    ks = _grid(ranks, marked)
    return pd.DataFrame(
        {
            "prompt_type": prompt,
            "extractor": ranking.extractor,
            "variant": ranking.variant,
            "k": ks,
            "recall": ranks.recall(ks),
            "chance": ranks.chance(ks),
            "ceiling": ranks.ceiling(ks),
            "n_queries": ranks.n_queries,
        }
    )


def _grid(ranks: PromptRanks, marked: list[int]) -> np.ndarray:
    """Return log-spaced whole numbers from 1 to the number of candidates, the ceiling's kinks and `marked`."""
    spaced = np.rint(np.geomspace(1, ranks.last, _GRID_POINTS)).astype(np.int64)
    return np.unique(np.concatenate([spaced, np.unique(ranks.n_exemplars), np.asarray(marked, dtype=np.int64)]))


def _intervals(summary: pd.DataFrame | None, split: str) -> pd.DataFrame:
    """Return the intervals of recall that `summary` has, with the cut-off as `k`."""
    names = ["prompt_type", "extractor", "variant", "k"]
    if summary is None:
        return pd.DataFrame(columns=[*names, "ci_low", "ci_high"])
    rows = summary[(summary["split"] == split) & summary["metric"].str.startswith("recall@")]
    return rows.assign(k=rows["metric"].str.removeprefix("recall@").astype("int64"))[[*names, "ci_low", "ci_high"]]


def _with_intervals(curve: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    of_curve = ends[(ends[["prompt_type", "extractor", "variant"]] == curve.iloc[0][ends.columns[:3]]).all(axis=1)]
    by_k = of_curve.set_index("k")[["ci_low", "ci_high"]].astype(float)
    return curve.join(by_k, on="k")[_COLUMNS]


def _panel(
    axes,
    prompt: str,
    curves: Mapping[tuple[str, Method], pd.DataFrame],
    styles: Mapping[Method, MethodStyle],
    marked: list[int],
) -> None:
    shown = {method: curve for (name, method), curve in curves.items() if name == prompt}
    axes.set_title(prompt, loc="left", weight="bold")
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.04)
    axes.grid(which="major")
    if not shown:
        axes.text(0.5, 0.5, "no valid queries", transform=axes.transAxes, ha="center", va="center", color=MUTED)
        return
    last = max(curve.loc[curve["chance"] >= 1 - 1e-12, "k"].iloc[0] for curve in shown.values())
    # Methods differ in chance and ceiling only where they lack different images; the first then stands for all.
    first = next(iter(shown.values()))
    axes.plot(first["k"], first["ceiling"], **CEILING_LINE, zorder=2)
    axes.fill_between(first["k"], first["ceiling"], 1, color=BEYOND, linewidth=0, zorder=0.5)
    axes.plot(first["k"], first["chance"], **CHANCE_LINE, zorder=2)
    # Below the end of its line, where methods better than it leave room.
    below = {"transform": axes.transAxes, "ha": "right", "size": SMALL, "color": MUTED, "path_effects": HALO}
    axes.text(0.985, 0.05, "chance", **below)
    for method, curve in shown.items():
        style = styles[method]
        axes.plot(curve["k"], curve["recall"], color=style.colour, linestyle=style.line, linewidth=LINE, zorder=3)
        points = curve[curve["k"].isin(marked)]
        axes.plot(points["k"], points["recall"], linestyle="", zorder=4, clip_on=False, **style.mark)
    axes.set_xlim(1 if last > 1 else 0.5, max(last, 2) * 1.02)
    draw_intervals(
        axes, {method: (curve["k"], curve["ci_low"], curve["ci_high"]) for method, curve in shown.items()}, styles
    )
    rank_axis(axes.xaxis, last)


def _handles(data: pd.DataFrame, styles: Mapping[Method, MethodStyle], marked: list[int], confidence: float) -> list:
    handles: list = method_handles(styles, bool(marked))
    handles += interval_handles(data[data["k"].isin(marked)].assign(value=data["recall"]), confidence)
    handles += ceiling_handles(data["ceiling"])
    handles.append(Line2D([], [], **CHANCE_LINE, label="chance: random ranking"))
    return handles
