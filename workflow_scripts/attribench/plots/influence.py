"""Plot how well influence is calibrated: predicted beside observed shares."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from attribench.formats.influence import LEVELS, Influence
from attribench.formats.ranking import Method, Ranking
from attribench.plots.captions import BESIDE, caption, interval_name, listing, protocol
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import Spacing, columns_that_fit, panel_grid
from attribench.plots.plot import Plot
from attribench.plots.points import draw_intervals, interval_handles
from attribench.plots.ranks import prompt_types
from attribench.plots.style import (
    CEILING_LINE,
    LINE,
    MARK,
    MUTED,
    TEXT,
    MethodStyle,
    message_figure,
    method_handles,
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
_HEIGHT, _MIN_PANEL_WIDTH = 1.7, 1.3  # inches of a panel
_MIN_SHARE = 1e-3  # of the influence, or of the exemplars: a bin that has less is not drawn
_FEW = 20  # images of a bin: what fewer of them say is little, and their interval would not say how little
_FEW_MARK = {"markersize": 2.2, "alpha": 0.55}
_LOW = 1e-8  # the least influence on the axes
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_ZERO = 0.06  # of the height of the axis: how far below it the row of 0 is


def calibration_figure(
    of_methods: Sequence[tuple[Ranking, Influence]],
    resampling: Resampling,
    split: str = "",
    settings: FigureSettings = SHIPPED,
    note: str = "",
) -> Plot:
    """Draw two panels per prompt type, beside each other where the width allows, and a line per method.

    First, reliability: of the candidates with about the same influence, how often one is the exemplar drawn. Second,
    coverage: how many exemplars are in the smallest set that holds a share of the influence. On the diagonal, both agree.
    All panels of a kind have the same axes. `note` says where the split calibrates methods that it measures. The data are
    the rows drawn.
    """
    with plot_style():
        rankings = [ranking for ranking, _ in of_methods]
        styles, prompts = settings.styles(ranking.method for ranking in rankings), prompt_types(rankings)
        parts = [part for pair in of_methods for prompt in prompts for part in _rows(*pair, prompt, resampling)]
        if not parts:
            nothing = pd.DataFrame(columns=_COLUMNS)
            return Plot(message_figure("no valid queries", settings.width), nothing, "No query is valid.")
        data = pd.concat(parts, ignore_index=True)
        spacing = Spacing(left=0.64, between=0.55, right=0.12)
        handles = _handles(data, styles, resampling.confidence)
        title = f"{split}: calibration of influence{f' ({note})' if note else ''}"
        columns = columns_that_fit(settings, spacing, _MIN_PANEL_WIDTH, 2)
        figure, panels = panel_grid(settings, title, handles, 2 * len(prompts), columns, _HEIGHT, spacing)
        low = _least_shown(data)
        for left, right, prompt in zip(panels[::2], panels[1::2], prompts, strict=True):
            of_prompt = data[data["prompt_type"] == prompt]
            _reliability_panel(left, of_prompt[of_prompt["panel"] == "reliability"], styles, low)
            _coverage_panel(right, of_prompt[of_prompt["panel"] == "coverage"], styles)
            left.set_title(prompt, loc="left", weight="bold")
        one, other = ("Left", "Right") if columns == 2 else ("Above", "Below")
        has_few = (data["n_candidates"] < _FEW).any()
        text = caption(
            f"How well influence is calibrated on {split or 'the split'}, two panels per prompt type. {one}, "
            "reliability: of the images with about the same influence, how often one is the exemplar drawn, where "
            "each query draws one of its exemplars at random. "
            f"{other}, coverage: the share of exemplars in the smallest set that holds "
            f"{listing([f'{100 * level:g}' for level in LEVELS])} % of a query's influence. On "
            "the thin black diagonal, influence is what it says.",
            protocol(rankings),
            _about_intervals(data, resampling),
            f"Small, pale marks are of fewer than {_FEW} images, too few for an interval." if has_few else "",
            "Shares of 0 stand in the row 0 below the axis of reliability, without an interval; an interval that reaches "
            "that row begins at 0. Lines join the other marks. Bins with less than a thousandth of the influence and of the "
            "exemplars are not drawn.",
            f"{note[0].upper()}{note[1:]}." if note else "",
        )
        return Plot(figure, data, text)


def _about_intervals(data: pd.DataFrame, resampling: Resampling) -> str:
    """Return what the intervals of each kind of panel are; where there are none, why."""
    known = _of_coverage(data)["ci_low"].notna()
    kinds = (
        f"{BESIDE} are {interval_name(resampling.confidence)}s: those of reliability from {resampling.samples:,} draws of "
        f"entries (seed {resampling.seed}), those of coverage by the Wilson score, over entries."
    )
    return caption(kinds if known.any() else "", "" if known.all() else f"Where none is drawn: {NO_INTERVAL}.")


def _least_shown(data: pd.DataFrame) -> float:
    """Return where the axes of reliability begin: below the least influence, share and end above 0, within reason."""
    numbers = data.loc[data["panel"] == "reliability", ["predicted", "observed", "ci_low"]].to_numpy()
    return max(_LOW, min(numbers[numbers > 0].min(initial=0.01), 0.01) / 1.5)


def _rows(ranking: Ranking, influence: Influence, prompt: str, resampling: Resampling) -> list[pd.DataFrame]:
    """Return the points of both panels for the queries of `prompt`."""
    chosen = ranking.query_valid & (ranking.query_prompt_type == prompt)
    if not chosen.any():
        return []
    position = np.unique(ranking.query_entry[chosen], return_inverse=True)[1]
    names = ("in_bin", "predicted", "observed")
    n, predicted, observed = (sums_of_entries(getattr(influence, name)[chosen], position) for name in names)
    used = np.maximum(predicted.sum(axis=0), observed.sum(axis=0)) >= _MIN_SHARE * chosen.sum()
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


def _handles(data: pd.DataFrame, styles: dict[Method, MethodStyle], confidence: float) -> list[Line2D]:
    handles = [*method_handles(styles, marked=True), Line2D([], [], **CEILING_LINE, label="calibrated")]
    if (data["n_candidates"] < _FEW).any():
        mark = MARK | _FEW_MARK | {"marker": "o", "color": TEXT}
        handles.append(Line2D([], [], linestyle="", label=f"fewer than {_FEW} images", **mark))
    return [*handles, *interval_handles(_of_coverage(data), confidence)]


def _of_coverage(data: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of coverage, which have an interval unless there are too few entries, as bins may not."""
    return data[data["panel"] == "coverage"].assign(value=data["observed"])


def _points(panel: str, *columns: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(_COLUMNS[4:], columns, strict=True))).assign(panel=panel)


def _reliability_panel(axes, data: pd.DataFrame, styles: dict[Method, MethodStyle], low: float) -> None:
    """Draw a log axis from `low` on, and below it a row of 0."""
    zero = low * (low / 1.3) ** _ZERO
    decades = [tick for tick in LogLocator(base=10, numticks=5).tick_values(low, 1.3) if low <= tick <= 1.3]
    axes.set(xscale="log", yscale="log", xlim=(low, 1.3), ylim=(low * (low / 1.3) ** (2 * _ZERO), 1.3))
    axes.xaxis.set_major_locator(FixedLocator(decades))
    axes.yaxis.set_major_locator(FixedLocator([zero, *(tick for tick in decades if tick > 3 * low)]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value < low else _power_of_ten(value)))
        axis.set_minor_locator(NullLocator())
    axes.axhline(low, color=MUTED, linewidth=0.5)
    axes.set(xlabel="influence (predicted)", ylabel="observed share")
    shares = data[["observed", "ci_low", "ci_high"]]
    shown = data.assign(**shares.mask(shares < low, zero), predicted=data["predicted"].clip(lower=low))
    shown.loc[shown["n_candidates"] < _FEW, ["ci_low", "ci_high"]] = np.nan
    _lines(axes, shown, styles, low)


def _power_of_ten(value: float) -> str:
    """Return a power of ten as all ticks have it, however small: `10⁻⁴`, `1`."""
    exponent = round(math.log10(value))
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}" if exponent else "1"


def _coverage_panel(axes, data: pd.DataFrame, styles: dict[Method, MethodStyle]) -> None:
    axes.set(xlim=(0.45, 1.0), ylim=(-0.02, 1.04), xticks=np.arange(5, 11) / 10)
    axes.set(xlabel="influence of the smallest set", ylabel="exemplars in it")
    _lines(axes, data, styles, 0)


def _lines(axes, data: pd.DataFrame, styles: dict[Method, MethodStyle], low: float) -> None:
    axes.grid(which="major")
    axes.add_line(Line2D([low, 1], [low, 1], **CEILING_LINE))
    if data.empty:
        axes.text(0.5, 0.5, "no valid queries", transform=axes.transAxes, ha="center", va="center", color=MUTED)
    ends = {}
    for method, style in styles.items():
        rows = data[(data["extractor"] == method.extractor) & (data["variant"] == method.variant)]
        ends[method] = (rows["predicted"], rows["ci_low"], rows["ci_high"])
        points, is_few = rows[["predicted", "observed"]].to_numpy(), (rows["n_candidates"] < _FEW).to_numpy()
        line = _apart(points[~is_few], low)
        axes.plot(*line.T, color=style.colour, linestyle=style.line, linewidth=LINE, clip_on=False, **style.mark)
        if is_few.any():
            axes.plot(*points[is_few].T, linestyle="", clip_on=False, **style.mark | _FEW_MARK)
    draw_intervals(axes, ends, styles)


def _apart(points: np.ndarray, low: float) -> np.ndarray:
    """Return `points` [n, 2] with NaN around those below `low`: lines go between others alone."""
    gap = np.full(2, np.nan)
    parts = [[gap, point, gap] if point[1] < low else [point] for point in points]
    return np.array([point for part in parts for point in part]).reshape(-1, 2)
