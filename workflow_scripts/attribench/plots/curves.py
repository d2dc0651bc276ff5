"""Recall@k over every k, with the curves of a random and of a perfect ranking."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attribench.formats.ranking import Method, Ranking
from attribench.plots.ranks import PromptRanks, by_method, least_candidates, prompt_types
from attribench.plots.style import (
    BEYOND,
    CEILING_LINE,
    CHANCE_LINE,
    DPI,
    MARK,
    MUTED,
    message_figure,
    method_handles,
    method_styles,
    plot_style,
    rank_axis,
)

_GRID_POINTS = 240
_COLUMNS = ["prompt_type", "extractor", "variant", "k", "recall", "chance", "ceiling", "n_queries"]


def recall_curves(
    rankings: Sequence[Ranking],
    recall_ks: Sequence[int],
    title: str = "",
    labels: Mapping[Method, str] | None = None,
) -> tuple[Figure, pd.DataFrame]:
    """Draw lines of recall@k over k, from 1 to the number of candidates, one per method, a panel per prompt type.

    Returns the figure and a row for each prompt type, method and k drawn: log-spaced ks and, marked in the figure,
    `recall_ks` below the number of candidates of every query, from which on recall is 1 by construction. `labels` are what
    the methods are called. Queries weigh the same. Raises ValueError for a k below 1 or a method with two rankings.
    """
    if any(k < 1 for k in recall_ks):
        raise ValueError(f"recall_ks must be 1 or more, got {list(recall_ks)}")
    with plot_style():
        methods, least = by_method(rankings), least_candidates(rankings)
        marked = sorted({int(k) for k in recall_ks if k < least})
        prompts, styles = prompt_types(methods.values()), method_styles(methods, labels)
        curves = {(prompt, method): _curve(prompt, methods[method], marked) for prompt in prompts for method in styles}
        curves = {names: curve for names, curve in curves.items() if len(curve)}
        if not curves:
            return message_figure("no valid queries"), pd.DataFrame(columns=_COLUMNS)
        columns = len(prompts) if len(prompts) <= 3 else 2
        rows = -(-len(prompts) // columns)
        legend = 0.9 + 0.068 * max(21, *(len(style.label) for style in styles.values()))
        figure = Figure(figsize=(3.3 * columns + legend, max(2.75 * rows + 0.4, 0.19 * len(styles) + 1.6)), dpi=DPI)
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for i, axes in enumerate(panels.flat):
            if i >= len(prompts):
                axes.set_visible(False)
                continue
            _panel(axes, prompts[i], curves, styles, marked)
            axes.set_xlabel("k: images looked at" if i + columns >= len(prompts) else "")
            axes.set_ylabel("recall@k" if i % columns == 0 else "")
        figure.suptitle(f"{title}: recall over k" if title else "Recall over k", x=0.01, ha="left")
        figure.legend(handles=_handles(styles, bool(marked)), loc="outside right center", handlelength=3)
        return figure, pd.concat(curves.values(), ignore_index=True)


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


def _panel(axes, prompt: str, curves: dict, styles: dict, marked: list[int]) -> None:
    shown: dict[Method, pd.DataFrame] = {method: curve for (name, method), curve in curves.items() if name == prompt}
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
    axes.fill_between(first["k"], first["ceiling"], 1.04, color=BEYOND, linewidth=0, zorder=0.5)
    axes.plot(first["k"], first["chance"], **CHANCE_LINE, zorder=2)
    for method, curve in shown.items():
        style = styles[method]
        axes.plot(curve["k"], curve["recall"], color=style.colour, linestyle=style.line, linewidth=1.5, zorder=3)
        points = curve[curve["k"].isin(marked)]
        marks = {"color": style.colour, "marker": style.marker, "linestyle": "", **MARK}
        axes.plot(points["k"], points["recall"], zorder=4, clip_on=False, **marks)
    axes.set_xlim(1 if last > 1 else 0.5, max(last, 2) * 1.02)
    rank_axis(axes.xaxis, last)


def _handles(styles: dict, any_marked: bool) -> list[Line2D]:
    handles = method_handles(styles, any_marked)
    handles.append(Line2D([], [], **CEILING_LINE, label="ceiling"))
    handles.append(Line2D([], [], **CHANCE_LINE, label="chance: random ranking"))
    return handles
