"""Plot what mapping changed: each entry's average precision by a variant against that by the features as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from attribench.formats.ranking import PRETRAINED, SCORES, Method, Ranking
from attribench.metrics import average_precision
from attribench.plots.captions import caption, protocol
from attribench.plots.figure_settings import SHIPPED, FigureSettings
from attribench.plots.grid import Spacing, columns_that_fit, panel_grid
from attribench.plots.plot import Plot
from attribench.plots.ranks import by_method, prompt_types
from attribench.plots.style import (
    CHANCE_LINE,
    MUTED,
    SIZE,
    MethodStyle,
    message_figure,
    plot_style,
    wrapped,
)

_COLUMNS = ["prompt_type", "extractor", "variant", "entry", "class_id", "pretrained", "mapped", "n_queries"]
_MAX_LARGE_PANELS = 16  # panels of a comfortable size; more are smaller
# Inches: the least side of a panel, with many panels, and the greatest; a line of a title.
_MIN_PANEL_WIDTH, _SMALL, _HIGH, _LINE = 1.05, 0.82, 1.9, 0.13


def variant_scatter(
    rankings: Sequence[Ranking],
    split: str = "",
    settings: FigureSettings = SHIPPED,
) -> Plot:
    """Draw a point for each entry: its mean average precision by a variant, over that of the same extractor pretrained.

    A panel per variant with mappers and prompt type. The data are the rows drawn; an entry takes part with its queries that
    are valid for both.
    """
    with plot_style():
        methods = by_method(rankings)
        prompts, styles = prompt_types(methods.values()), settings.styles(methods)
        pairs = [
            (method, Method(method.extractor, PRETRAINED))
            for method in styles
            if method.variant not in (PRETRAINED, SCORES) and Method(method.extractor, PRETRAINED) in methods
        ]
        if not pairs:
            text = "no variant to compare with pretrained"
            return Plot(message_figure(text, settings.width), pd.DataFrame(columns=_COLUMNS), f"There is {text}.")
        data = pd.concat(
            [_entries(methods[a], methods[b], prompt) for a, b in pairs for prompt in prompts], ignore_index=True
        )
        cells = [(method, prompt) for method, _ in pairs for prompt in prompts]
        spacing = Spacing(left=0.45, between=0.12, right=0.1, above=0.2, below=0.4)
        least = _MIN_PANEL_WIDTH if len(cells) <= _MAX_LARGE_PANELS else _SMALL
        columns = columns_that_fit(settings, spacing, least, max(2, len(cells)))
        side = (settings.width - spacing.left - spacing.right - (columns - 1) * spacing.between) / columns
        titles = [wrapped(styles[method].label, side, SIZE, "bold") for method, _ in cells]
        above = 0.1 + _LINE * max(title.count("\n") + 2 for title in titles)
        spacing = replace(spacing, above=above, rows=above + 0.06)
        height = min(side, _HIGH)
        figure, panels = panel_grid(
            settings, f"{split}: average precision of each entry", _handles(), len(cells), columns, height, spacing
        )
        for i, (axes, (method, prompt), title) in enumerate(zip(panels, cells, titles, strict=True)):
            counts = _panel(axes, data, prompt, method, styles)
            axes.set_title(f"{prompt}  {counts}", loc="left")
            axes.annotate(
                title, (0, 1), (0, 4 + SIZE * 1.25), xycoords="axes fraction", textcoords="offset points", weight="bold"
            )
            axes.set_xlabel("AP, pretrained" if i + columns >= len(cells) else "")
            axes.set_ylabel("AP, by the variant" if i % columns == 0 else "")
            axes.tick_params(labelleft=i % columns == 0, labelbottom=i + columns >= len(cells))
        text = caption(
            f"What tuning changed on {split or 'the split'}: a point per entry, its mean average precision (AP) by a "
            "variant over that of the same extractor pretrained, a panel per variant and prompt type.",
            protocol(rankings),
            "Above the grey diagonal, the variant is better; beside the prompt type stands how many entries are better (+) "
            "and worse (\N{MINUS SIGN}) by it; the others are equal.",
        )
        return Plot(figure, data, text)


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


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], linestyle="", marker="o", color=MUTED, markersize=4, label="an entry"),
        Line2D([], [], **CHANCE_LINE, label="as good by both"),
    ]


def _panel(axes, data: pd.DataFrame, prompt: str, method: Method, styles: Mapping[Method, MethodStyle]) -> str:
    """Draw the entries of one panel; return how many are better by the variant, and how many worse."""
    chosen = (data["prompt_type"] == prompt) & (data["extractor"] == method.extractor)
    rows, style = data[chosen & (data["variant"] == method.variant)], styles[method]
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(which="major")
    axes.add_line(Line2D([0, 1], [0, 1], **CHANCE_LINE))
    axes.plot(rows["pretrained"], rows["mapped"], linestyle="", zorder=3, clip_on=False, **style.mark)
    n_better, n_worse = ((sign * (rows["mapped"] - rows["pretrained"]) > 0).sum() for sign in (1, -1))
    return f"+{n_better} \N{MINUS SIGN}{n_worse}"
