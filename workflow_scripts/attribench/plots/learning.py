"""Learning curves: loss and val mAP over the steps of a training."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from attribench.formats.ranking import Method
from attribench.plots.captions import caption, listing
from attribench.plots.grid import Spacing, panel_grid
from attribench.plots.look import AS_SHIPPED, Look
from attribench.plots.plot import Plot
from attribench.plots.style import CEILING_LINE, LINE, SIZE, TEXT, MethodStyle, plot_style, wrapped

_HEIGHT = 1.0  # inches of a panel
_FEW = 3  # methods that each have a row; of more, two stand beside each other
_DASHES = ((0, (1.4, 1.3)), (0, (5, 1.6)), "-")  # of penalties, the last one's line is whole


def learning_curves(
    curves: Mapping[Method, pd.DataFrame],
    look: Look = AS_SHIPPED,
) -> Plot:
    """Draw loss and val mAP over the steps, two panels per tuned method, a line per weight of the penalty.

    curves: the learning curves of mappers/, as they were written. A line marks the step whose mappers were chosen, and a
    dot the curve. Loss and val mAP have the same range in all panels. The data are the rows drawn.
    """
    with plot_style():
        styles = look.styles(curves)
        columns = 2 if len(curves) <= _FEW else 4
        spacing = Spacing(left=0.42, between=0.46, right=0.1, below=0.36)
        width = look.width * 2 / columns - spacing.left - spacing.right
        names = [wrapped(style.label, width, SIZE, "bold") for style in styles.values()]
        above = 0.1 + 0.13 * max(name.count("\n") + 1 for name in names)
        spacing = replace(spacing, above=above, rows=above + 0.2)
        figure, panels = panel_grid(
            look, "Learning curves", _handles(curves), 2 * len(curves), columns, _HEIGHT, spacing
        )
        ranges = [_range(curves.values(), column) for column in ("loss", "val_mAP")]
        for i, (method, name) in enumerate(zip(styles, names, strict=True)):
            pair = panels[2 * i : 2 * i + 2]
            _draw(pair, curves[method], styles[method])
            pair[0].set_title(name, loc="left", weight="bold")
            for axes, limits in zip(pair, ranges, strict=True):
                axes.set_ylim(*limits)
                axes.set_xlabel("step" if 2 * i + columns >= 2 * len(curves) else "")
        named = [curves[m].assign(extractor=m.extractor, variant=m.variant) for m in styles]
        data = pd.concat(named, ignore_index=True)
        data = data[["extractor", "variant", *data.columns.drop(["extractor", "variant"])]]
        text = caption(
            "Learning curves of the mappers that were tuned: for each method the loss on its training splits (left), and "
            "the mAP on its val splits (right), over the steps of the training.",
            f"A line per weight of the penalty: {_penalties(curves)}.",
            "Dashed, with a dot: the step, and the penalty, with the highest val mAP, whose mappers were chosen.",
        )
        return Plot(figure, data, text)


def _draw(panels: list[Axes], curve: pd.DataFrame, style: MethodStyle) -> None:
    """Draw loss and val mAP of one method into two panels."""
    penalties = list(dict.fromkeys(curve["penalty"]))
    chosen = curve[curve["chosen"]].iloc[0]
    for axes, column in zip(panels, ("loss", "val_mAP"), strict=True):
        axes.set_xlim(0, 1.03 * max(1, curve["step"].max()))
        for penalty, (line, alpha) in zip(penalties, _lines(len(penalties)), strict=True):
            rows = curve[curve["penalty"] == penalty]
            axes.plot(rows["step"], rows[column], color=style.colour, alpha=alpha, linestyle=line, linewidth=LINE)
        axes.axvline(int(chosen["step"]), **CEILING_LINE)
        axes.plot(chosen["step"], chosen[column], color=style.colour, clip_on=False, zorder=3, **style.mark)
        axes.grid(which="major")
        axes.set_ylabel(column.replace("_", " "))


def _range(curves: Iterable[pd.DataFrame], column: str) -> tuple[float, float]:
    """Return the range of a `column` of all `curves`, from 0 on."""
    return 0.0, 1.06 * max([curve[column].max() for curve in curves if curve[column].notna().any()], default=1.0)


def _lines(n: int) -> list[tuple[object, float]]:
    """Return line style and opacity of `n` penalties, the last one whole."""
    return [(_DASHES[max(i - n, -len(_DASHES))], 0.45 + 0.55 * (i + 1) / n) for i in range(n)]


def _penalties(curves: Mapping[Method, pd.DataFrame]) -> str:
    """Return the weights of the penalty, which are mostly the same for all methods."""
    weights = sorted({float(penalty) for curve in curves.values() for penalty in curve["penalty"]})
    return listing([f"{weight:g}" for weight in weights])


def _handles(curves: Mapping[Method, pd.DataFrame]) -> list[Line2D]:
    handles = [Line2D([], [], **CEILING_LINE, marker="o", markersize=4, label="chosen")]
    by_method = {tuple(dict.fromkeys(curve["penalty"])) for curve in curves.values()}
    if len(by_method) == 1 and len(penalties := next(iter(by_method))) > 1:
        drawn = zip(penalties, _lines(len(penalties)), strict=True)
        handles += [
            Line2D([], [], color=TEXT, linestyle=line, alpha=alpha, label=f"penalty {p:g}")
            for p, (line, alpha) in drawn
        ]
    return handles
