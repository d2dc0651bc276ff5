"""What mapping changed: each entry's average precision by a variant against that by the features as they are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attribench.formats.ranking import PRETRAINED, SCORES, Method, Ranking
from attribench.metrics import average_precision
from attribench.plots.ranks import by_method, prompt_types
from attribench.plots.style import CHANCE_LINE, DPI, MARK, message_figure, method_styles, plot_style

_COLUMNS = ["prompt_type", "extractor", "variant", "entry", "class_id", "pretrained", "mapped", "n_queries"]
_SIZE = 2.9  # inches of a panel


def variant_scatter(
    rankings: Sequence[Ranking], title: str = "", labels: Mapping[Method, str] | None = None
) -> tuple[Figure, pd.DataFrame]:
    """Draw a point for each entry: its mean average precision by a variant, over that of the same extractor pretrained.

    A row of panels per variant with mappers, a panel per prompt type. `labels` are what the methods are called. Returns the
    figure and the rows drawn; an entry takes part with its queries that are valid for both.
    """
    with plot_style():
        methods = by_method(rankings)
        prompts, styles = prompt_types(methods.values()), method_styles(methods, labels)
        pairs = [
            (method, Method(method.extractor, PRETRAINED))
            for method in styles
            if method.variant not in (PRETRAINED, SCORES) and Method(method.extractor, PRETRAINED) in methods
        ]
        if not pairs:
            return message_figure("no variant to compare with pretrained"), pd.DataFrame(columns=_COLUMNS)
        data = pd.concat(
            [_entries(methods[a], methods[b], prompt) for a, b in pairs for prompt in prompts], ignore_index=True
        )
        figure = Figure(figsize=(_SIZE * len(prompts) + 0.4, _SIZE * len(pairs) + 0.6), dpi=DPI)
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        panels = figure.subplots(len(pairs), len(prompts), squeeze=False, sharex=True, sharey=True)
        for row, (method, base) in zip(panels, pairs, strict=True):
            for axes, prompt in zip(row, prompts, strict=True):
                _panel(axes, data, prompt, method, styles)
            row[0].set_ylabel(styles[method].label)
            row[0].set_xlabel(styles[base].label)
        for axes, prompt in zip(panels[0], prompts, strict=True):
            axes.set_title(prompt, loc="left", weight="bold")
        figure.suptitle(f"{title}: average precision of each entry", x=0.01, ha="left")
        return figure, data


def _entries(mapped: Ranking, pretrained: Ranking, prompt: str) -> pd.DataFrame:
    """Return a row for each entry with queries of `prompt` that are valid in both rankings."""
    values = {
        "mapped": average_precision(mapped.offsets, mapped.ranks),
        "pretrained": average_precision(pretrained.offsets, pretrained.ranks),
    }
    chosen = mapped.query_valid & pretrained.query_valid & (mapped.query_prompt_type == prompt)
    table = pd.DataFrame({"entry": mapped.query_entry[chosen], **{k: v[chosen] for k, v in values.items()}})
    of_entry = table.groupby("entry")
    rows = of_entry.mean().assign(n_queries=of_entry.size()).reset_index()
    rows["class_id"] = mapped.class_id[rows["entry"].to_numpy(np.int64)]
    return rows.assign(prompt_type=prompt, extractor=mapped.extractor, variant=mapped.variant)[_COLUMNS]


def _panel(axes, data: pd.DataFrame, prompt: str, method: Method, styles: dict) -> None:
    chosen = (data["prompt_type"] == prompt) & (data["extractor"] == method.extractor)
    rows, style = data[chosen & (data["variant"] == method.variant)], styles[method]
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_aspect("equal")
    axes.grid(which="major")
    axes.add_line(Line2D([0, 1], [0, 1], **CHANCE_LINE))
    marks = {"color": style.colour, "marker": style.marker, "linestyle": "", **MARK}
    axes.plot(rows["pretrained"], rows["mapped"], zorder=3, clip_on=False, **marks)
    n_better, n_worse = ((sign * (rows["mapped"] - rows["pretrained"]) > 0).sum() for sign in (1, -1))
    axes.text(0.98, 0.04, f"{n_better} better, {n_worse} worse of {len(rows)}", ha="right", fontsize=7)
