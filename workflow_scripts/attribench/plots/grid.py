"""The layout that figures share: panels in rows, a legend below them, all at the width of the page.

The layout is worked out here, as all sizes are known; a solver's would take longer, and differ in its last bits between
processes, and with them the bytes of the SVG.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attribench.plots.figure_settings import FigureSettings
from attribench.plots.style import DPI, SIZE, text_width, wrapped

MARGIN = 0.04  # inches to the figure's edges
_TITLE, _TITLE_LINE, TITLE_SIZE = 0.24, 0.15, 9  # inches of a title, of each further line of it; points
PAGE = 8.6  # the height that figures with many panels should not exceed
LABEL_LINE = 0.115  # of a label beside a row
_LABEL = 0.4  # of the width: a legend's label is wrapped beyond it
_LEGEND_LINE, _LEGEND_HANDLE, _LEGEND_GAP = 0.15, 0.42, 0.14


@dataclass(frozen=True)
class Spacing:
    """Hold the inches around panels.

    left: of the first panel of a row, for its labels; between: of two panels beside each other; right: of the last; above
    and below: of each row; rows: between two rows (None: both), where the first has the titles and the last the ticks.
    """

    left: float = 0.42
    between: float = 0.16
    right: float = 0.08
    above: float = 0.22
    below: float = 0.36
    rows: float | None = None

    @property
    def between_rows(self) -> float:
        """Return the inches between two rows of panels."""
        return self.above + self.below if self.rows is None else self.rows


def wrapped_title(title: str, width: float) -> str:
    """Return a figure's title in lines of at most its `width` in inches."""
    return wrapped(title, width - 2 * MARGIN, TITLE_SIZE, "bold")


def title_height(title: str, width: float) -> float:
    """Return the inches that a title takes at the top of a figure of `width` inches."""
    return _TITLE + _TITLE_LINE * wrapped_title(title, width).count("\n")


def add_title(figure: Figure, title: str) -> None:
    """Write the title at the upper left of `figure`."""
    width, height = figure.get_size_inches()
    figure.suptitle(wrapped_title(title, width), x=MARGIN / width, y=1 - MARGIN / height, ha="left", va="top")


def panel_grid(
    settings: FigureSettings,
    title: str,
    handles: Sequence,
    n_panels: int,
    columns: int,
    height: float,
    spacing: Spacing,
) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as `settings` say, its `n_panels` panels of `height` inches, row by row, `columns` in each.

    handles: of the legend, which stands below the panels in as few lines as it can; its labels are wrapped to the width.
    """
    rows = -(-n_panels // columns)
    step = height + spacing.between_rows
    n_lines, n_columns = _legend_shape(handles, settings.width)
    has_title = bool(settings.has_title and title)
    head = title_height(title, settings.width) if has_title else MARGIN
    panels_height = spacing.above + rows * step - spacing.between_rows + spacing.below
    total = head + panels_height + _LEGEND_LINE * n_lines + MARGIN
    figure = Figure(figsize=(settings.width, total), dpi=DPI)
    if has_title:
        add_title(figure, title)
    width = (settings.width - spacing.left - spacing.right - (columns - 1) * spacing.between) / columns
    panels = []
    for i in range(n_panels):
        x = spacing.left + i % columns * (width + spacing.between)
        y = total - head - i // columns * step - spacing.above - height
        panels.append(figure.add_axes((x / settings.width, y / total, width / settings.width, height / total)))
    if handles:
        _legend(figure, handles, n_columns, _LEGEND_LINE * n_lines + MARGIN)
    return figure, panels


def row_positions(labels: Sequence[str], least: float) -> list[float]:
    """Return the middle of each row, in inches from the top; it is as high as the lines of its label, `least` at least."""
    heights = [max(least, LABEL_LINE * (label.count("\n") + 1) + 0.03) for label in labels]
    return [sum(heights[:i]) + height / 2 + LABEL_LINE / 2 for i, height in enumerate(heights)]


def columns_that_fit(settings: FigureSettings, spacing: Spacing, least: float, most: int) -> int:
    """Return how many panels of at least `least` inches stand beside each other, 1 to `most`."""
    n = int((settings.width - spacing.left - spacing.right + spacing.between + 1e-9) / (least + spacing.between))
    return max(1, min(n, most))


def legend_height(settings: FigureSettings, handles: Sequence) -> float:
    """Return the inches that the legend of `handles` takes."""
    return _LEGEND_LINE * _legend_shape(handles, settings.width)[0]


def add_legend(figure: Figure, settings: FigureSettings, handles: Sequence, top: float) -> None:
    """Draw the legend of `handles` with its upper edge `top` inches above the figure's lower edge."""
    if handles:
        _legend(figure, handles, _legend_shape(handles, settings.width)[1], top)


def _legend(figure: Figure, handles: Sequence, columns: int, top: float) -> None:
    width, height = figure.get_size_inches()
    for handle in handles:
        handle.set_label(wrapped(handle.get_label(), _LABEL * width))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(MARGIN / width, top / height),
        ncols=columns,
        borderpad=0,
        borderaxespad=0,
        handlelength=2.6,
        handletextpad=0.5,
        columnspacing=_LEGEND_GAP * 72 / SIZE,
        labelspacing=0.3,
    )


def _legend_shape(handles: Sequence, width: float) -> tuple[int, int]:
    """Return the lines and columns of the legend: as many columns as fit into `width` inches."""
    if not handles:
        return 0, 1
    inner = width - 2 * MARGIN
    labels = [wrapped(handle.get_label(), _LABEL * width).split("\n") for handle in handles]
    widths = [_LEGEND_HANDLE + max(map(text_width, lines)) for lines in labels]
    for columns in range(min(len(handles), 6), 0, -1):
        # As matplotlib fills them: column by column, the first ones one longer.
        long, extra = divmod(len(handles), columns)
        sizes = [long + (i < extra) for i in range(columns)]
        starts = [sum(sizes[:i]) for i in range(columns)]
        of_columns = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        if columns == 1 or sum(max(widths[c]) for c in of_columns) + _LEGEND_GAP * (columns - 1) <= inner:
            lines = max(sum(len(lines) for lines in labels[c]) for c in of_columns)
            return lines, columns
    raise AssertionError("one column always fits")
