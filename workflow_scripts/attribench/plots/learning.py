"""Learning curves: loss and val mAP over the steps of a training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from attribench.formats.ranking import Method
from attribench.plots.captions import caption, listing
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import Spacing, panel_grid
from attribench.plots.plot import Plot
from attribench.plots.style import CEILING_LINE, LINE, SIZE, TEXT, MethodStyle, luminance, plot_style, wrapped

_HEIGHT = 1.0  # inches of a panel
# So many methods each have a row; of more, two stand beside each other, where a figure has so many inches.
_FEW, _WIDE = 3, 4.0
_DASHES = ("-", (0, (4, 3)), (0, (1.4, 1.6)), (0, (6, 1.5, 1.4, 1.5)))  # of penalties
_MIXED = 0.5  # how much white, or black in a pale colour, the dashes have that show on a whole line


def learning_curves(
    curves: Mapping[Method, pd.DataFrame],
    settings: FigureSettings = SHIPPED,
) -> Plot:
    """Draw loss and val mAP over the steps, two panels per tuned method, a line per weight of the penalty.

    curves: the learning curves of mappers/, as they were written. A line marks the step whose mappers were chosen, a dot the
    curve, and its step and penalty stand above. A penalty has the same line, and loss and val mAP the same range, in all
    panels. The data are the rows drawn.
    """
    with plot_style():
        styles = settings.styles(curves)
        columns = 2 if len(curves) <= _FEW or settings.width < _WIDE else 4
        spacing = Spacing(left=0.42, between=0.46, right=0.1, below=0.36)
        width = settings.width * 2 / columns - spacing.left - spacing.right
        names = [wrapped(style.label, width, SIZE, "bold") for style in styles.values()]
        above = 0.1 + 0.13 * max(name.count("\n") + 2 for name in names)
        spacing = replace(spacing, above=above, rows=above + 0.2)
        penalties = sorted({float(penalty) for curve in curves.values() for penalty in curve["penalty"]})
        figure, panels = panel_grid(
            settings, "Learning curves", _handles(penalties), 2 * len(curves), columns, _HEIGHT, spacing
        )
        ranges = [_range(curves.values(), column) for column in ("loss", "val_mAP")]
        for i, (method, name) in enumerate(zip(styles, names, strict=True)):
            pair = panels[2 * i : 2 * i + 2]
            chosen = _draw(pair, curves[method], styles[method], penalties)
            pair[0].set_title(chosen, loc="left")
            pair[0].annotate(
                name, (0, 1), (0, 4 + SIZE * 1.25), xycoords="axes fraction", textcoords="offset points", weight="bold"
            )
            for axes, limits in zip(pair, ranges, strict=True):
                axes.set_ylim(*limits)
                axes.set_xlabel("step" if 2 * i + columns >= 2 * len(curves) else "")
        named = [curves[m].assign(extractor=m.extractor, variant=m.variant) for m in styles]
        data = pd.concat(named, ignore_index=True)
        data = data[["extractor", "variant", *data.columns.drop(["extractor", "variant"])]]
        is_same = all({*curve["penalty"]} == {*penalties} for curve in curves.values())
        text = caption(
            "Learning curves of the mappers that were tuned: for each method the loss on its training splits (left), and "
            "the mAP on its val splits (right), over the steps of the training.",
            f"A line per weight of the penalty that was tried: {listing([f'{weight:g}' for weight in penalties])}"
            f"{'' if is_same else ', not all by each method'}.",
            "The loss is the mean since the evaluation before, so there is none at step 0.",
            "Vertical, with a dot: the step and penalty with the highest val mAP, whose mappers were chosen.",
        )
        return Plot(figure, data, text)


def _draw(panels: list[Axes], curve: pd.DataFrame, style: MethodStyle, penalties: Sequence[float]) -> str:
    """Draw loss and val mAP of one method into two panels; return which step and penalty were chosen."""
    chosen = curve[curve["chosen"]].iloc[0]
    for axes, column in zip(panels, ("loss", "val_mAP"), strict=True):
        axes.set_xlim(0, 1.03 * max(1, curve["step"].max()))
        for penalty, rows in curve.groupby("penalty"):
            axes.plot(rows["step"], rows[column], **_line(penalties.index(penalty), style.colour))
        axes.axvline(int(chosen["step"]), **CEILING_LINE)
        axes.plot(chosen["step"], chosen[column], color=style.colour, clip_on=False, zorder=3, **style.mark)
        axes.grid(which="major")
        axes.set_ylabel(column.replace("_", " "))
    return f"chosen: step {int(chosen['step']):,}, penalty {chosen['penalty']:g}"


def _range(curves: Iterable[pd.DataFrame], column: str) -> tuple[float, float]:
    """Return the range of a `column` of all `curves`, from 0 on."""
    return 0.0, 1.06 * max([curve[column].max() for curve in curves if curve[column].notna().any()], default=1.0)


def _line(number: int, colour: str) -> dict[str, object]:
    """Return how penalty `number` is drawn: the first one's line is whole, and the dashes of others show on it."""
    towards = 1.0 if luminance(colour) < 0.2 else 0.0
    mixed = [part + _MIXED * (towards - part) for part in to_rgb(colour)] if number else colour
    return {"color": mixed, "linestyle": _DASHES[number % len(_DASHES)], "linewidth": LINE if number else 1.5 * LINE}


def _handles(penalties: Sequence[float]) -> list[Line2D]:
    handles = [Line2D([], [], **CEILING_LINE, marker="o", markersize=4, label="chosen")]
    if len(penalties) > 1:
        handles += [Line2D([], [], **_line(i, TEXT), label=f"penalty {p:g}") for i, p in enumerate(penalties)]
    return handles
