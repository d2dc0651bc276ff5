"""How well influence is calibrated: predicted beside observed shares."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from attribench.formats.influence import LEVELS, Influence
from attribench.formats.ranking import Method, Ranking
from attribench.plots.ranks import prompt_types
from attribench.plots.style import (
    CEILING_LINE,
    DPI,
    MARK,
    MUTED,
    TEXT,
    interval_name,
    message_figure,
    method_handles,
    method_styles,
    plot_style,
)
from attribench.tables import statistics
from attribench.tables.influence import coverage, sums_of_entries
from attribench.tables.statistics import NO_INTERVAL, Resampling

_COLUMNS = [
    "prompt_type",
    "extractor",
    "variant",
    "panel",
    "predicted",
    "observed",
    "ci_low",
    "ci_high",
    "n_candidates",
]
_WIDTH, _HEIGHT = 3.0, 2.7  # inches of a panel
_LEAST = 1e-3  # of the influence, or of the exemplars: a bin that has less is not drawn
_LOW = 1e-6  # the least influence on the axes


def calibration_figure(
    of_methods: Sequence[tuple[Ranking, Influence]],
    resampling: Resampling,
    title: str = "",
    labels: Mapping[Method, str] | None = None,
    note: str = "",
) -> tuple[Figure, pd.DataFrame]:
    """Draw a row of two panels per prompt type, a line per method.

    Left, reliability: of the candidates with about the same influence, how often one is the exemplar drawn. Right, coverage:
    how many exemplars are in the smallest set that holds a share of the influence. On the diagonal, both agree.
    Returns the figure and the rows drawn.
    """
    with plot_style():
        styles = method_styles([ranking.method for ranking, _ in of_methods], labels)
        prompts = prompt_types([ranking for ranking, _ in of_methods])
        parts = [part for pair in of_methods for prompt in prompts for part in _rows(*pair, prompt, resampling)]
        if not parts:
            return message_figure("no valid queries"), pd.DataFrame(columns=_COLUMNS)
        data = pd.concat(parts, ignore_index=True)
        figure = Figure(figsize=(2 * _WIDTH + 1.9, _HEIGHT * len(prompts) + 0.6), dpi=DPI)
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        for row, prompt in zip(figure.subplots(len(prompts), 2, squeeze=False), prompts, strict=True):
            of_prompt = data[data["prompt_type"] == prompt]
            _reliability_panel(row[0], of_prompt[of_prompt["panel"] == "reliability"], styles)
            _coverage_panel(row[1], of_prompt[of_prompt["panel"] == "coverage"], styles)
            row[0].set_title(prompt, loc="left", weight="bold")
        figure.legend(handles=_handles(data, styles, resampling.confidence), loc="outside right center")
        figure.suptitle(f"{title}: calibration of influence{f' ({note})' if note else ''}", x=0.01, ha="left")
        return figure, data


def _rows(ranking: Ranking, influence: Influence, prompt: str, resampling: Resampling) -> list[pd.DataFrame]:
    """Return the points of both panels for the queries of `prompt`."""
    chosen = ranking.query_valid & (ranking.query_prompt_type == prompt)
    if not chosen.any():
        return []
    position = np.unique(ranking.query_entry[chosen], return_inverse=True)[1]
    names = ("in_bin", "predicted", "observed")
    n, predicted, observed = (sums_of_entries(getattr(influence, name)[chosen], position) for name in names)
    used = np.maximum(predicted.sum(axis=0), observed.sum(axis=0)) >= _LEAST * chosen.sum()
    n, predicted, observed = n[:, used], predicted[:, used], observed[:, used]
    with np.errstate(invalid="ignore"):
        ends = statistics.bootstrap(lambda draws: (draws @ observed) / (draws @ n), len(n), resampling)
    total = n.sum(axis=0)
    # Draws of entries of which none has an exemplar in the bin have no width, which says nothing.
    ends = [np.where(observed.sum(axis=0) > 0, end, np.nan) for end in ends]
    reliability = _points("reliability", predicted.sum(axis=0) / total, observed.sum(axis=0) / total, *ends, total)
    shares = coverage(ranking, influence)[chosen]
    sums, counts = statistics.column_sums(shares, ranking.query_entry[chosen])
    ends = statistics.intervals(sums, counts, np.ones(len(LEVELS)), resampling.confidence).T
    covered = _points(
        "coverage",
        np.array(LEVELS),
        np.array([statistics.mean(column) for column in shares.T]),
        *ends,
        np.full(len(LEVELS), np.nan),
    )
    named = {"prompt_type": prompt, "extractor": ranking.extractor, "variant": ranking.variant}
    return [part.assign(**named)[_COLUMNS] for part in (reliability, covered)]


def _handles(data: pd.DataFrame, styles: dict, confidence: float) -> list[Line2D]:
    handles = [*method_handles(styles, marked=True), Line2D([], [], **CEILING_LINE, label="calibrated")]
    if data["ci_low"].notna().any():
        handles.append(Line2D([], [], color=TEXT, linewidth=1, label=interval_name(confidence)))
    if data["ci_low"].isna().any():
        handles.append(Line2D([], [], linestyle="", label=NO_INTERVAL))
    return handles


def _points(panel: str, *columns: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(_COLUMNS[4:], columns, strict=True))).assign(panel=panel)


def _reliability_panel(axes, data: pd.DataFrame, styles: dict) -> None:
    numbers = data[["predicted", "observed"]].to_numpy()
    low = max(_LOW, min(numbers[numbers > 0].min(initial=0.01), 0.01) / 1.5)
    axes.set(xscale="log", yscale="log", xlim=(low, 1.3), ylim=(low, 1.3))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    axes.set(xlabel="influence (predicted)", ylabel="observed share")
    # What is below the axes stands at their edge.
    _lines(axes, data.assign(**data[["predicted", "observed"]].clip(lower=low)), styles, low)


def _coverage_panel(axes, data: pd.DataFrame, styles: dict) -> None:
    axes.set(xlim=(0.45, 1.0), ylim=(-0.02, 1.02), xticks=np.arange(5, 11) / 10)
    axes.set(xlabel="influence of the smallest set", ylabel="exemplars in it")
    _lines(axes, data, styles, 0)


def _lines(axes, data: pd.DataFrame, styles: dict, low: float) -> None:
    axes.grid(which="major")
    axes.add_line(Line2D([low, 1], [low, 1], **CEILING_LINE))
    if data.empty:
        axes.text(0.5, 0.5, "no valid queries", transform=axes.transAxes, ha="center", va="center", color=MUTED)
    for method, style in styles.items():
        rows = data[(data["extractor"] == method.extractor) & (data["variant"] == method.variant)]
        colour = {"color": style.colour}
        known = rows[rows["ci_low"].notna()]
        axes.vlines(
            known["predicted"], known["ci_low"].clip(lower=low), known["ci_high"].clip(lower=low), linewidth=1, **colour
        )
        points = _apart_at(rows[["predicted", "observed"]].to_numpy(), low)
        axes.plot(*points.T, marker=style.marker, linestyle=style.line, **colour, **MARK)


def _apart_at(points: np.ndarray, low: float) -> np.ndarray:
    """Return `points` [n, 2] with NaN around those at the edge `low`: lines go between others alone."""
    gap = np.full(2, np.nan)
    parts = [[gap, point, gap] if point[1] <= low else [point] for point in points]
    return np.array([point for part in parts for point in part]).reshape(-1, 2)
