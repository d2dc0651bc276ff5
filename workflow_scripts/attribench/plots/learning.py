"""Learning curves: loss and val mAP over the steps of a training."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attribench.formats.ranking import Method
from attribench.plots.style import CEILING_LINE, DPI, method_styles, plot_style

_WIDTH, _HEIGHT = 3.1, 1.9  # inches of a panel


def learning_curves(
    curves: Mapping[Method, pd.DataFrame], labels: Mapping[Method, str] | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Draw loss and val mAP over the steps, a row of panels per tuned method, a line per weight of the penalty.

    curves: the learning curves of mappers/, as they were written. A line marks the step whose mappers were chosen, and a
    dot the curve. Returns the figure and the rows drawn.
    """
    with plot_style():
        styles = method_styles(curves, labels)
        figure = Figure(figsize=(2 * _WIDTH + 1.3, _HEIGHT * len(curves) + 0.6), dpi=DPI)
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        panels = figure.subplots(len(curves), 2, squeeze=False)
        for row, method in zip(panels, styles, strict=True):
            curve = curves[method]
            penalties = list(dict.fromkeys(curve["penalty"]))
            for axes, column in zip(row, ("loss", "val_mAP"), strict=True):
                for number, penalty in enumerate(penalties):
                    line, alpha = styles[method].colour, 0.35 + 0.65 * (number + 1) / len(penalties)
                    of_penalty = curve[curve["penalty"] == penalty]
                    axes.plot(of_penalty["step"], of_penalty[column], color=line, alpha=alpha, linewidth=1.5)
                chosen = curve[curve["chosen"]].iloc[0]
                axes.axvline(int(chosen["step"]), **CEILING_LINE)
                axes.plot(chosen["step"], chosen[column], "o", color=styles[method].colour, markersize=4)
                axes.grid(which="major")
                axes.set_ylabel(column.replace("_", " "))
            row[0].set_title(styles[method].label, loc="left", weight="bold")
            if len(penalties) > 1:
                row[1].set_title(f"penalties {', '.join(f'{p:g}' for p in penalties)}: light to dark", loc="left")
        for axes in panels[-1]:
            axes.set_xlabel("step")
        figure.suptitle("Learning curves", x=0.01, ha="left")
        figure.legend(handles=[Line2D([], [], **CEILING_LINE, label="chosen")], loc="outside right center")
        named = [curves[m].assign(extractor=m.extractor, variant=m.variant) for m in styles]
        data = pd.concat(named, ignore_index=True)
        return figure, data[["extractor", "variant", *data.columns.drop(["extractor", "variant"])]]
