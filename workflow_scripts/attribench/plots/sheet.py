"""Sheets of labelled thumbnails: how contact sheets and comparisons are laid out. Sizes are inches from the upper left."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attribench.common.errors import InputError
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.reading import Reading
from attribench.plots.grid import LABEL_LINE, MARGIN, PAGE, TITLE_SIZE, title_height, wrapped_title
from attribench.plots.style import MUTED, SIZE, SMALL, TEXT, text_width, wrapped

EXEMPLAR = "#00875A"
DPI = 360  # dots per inch: a thumbnail is small at the width of a page, and looked at closely
GAP, COLUMN_GAP, LINE = 0.035, 0.12, LABEL_LINE  # between thumbnails, between columns, a line of text
NO_IMAGE, UNREADABLE = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
BADGE = 0.11
FRAME = 1.4  # points
_SHEET = 8.0  # inches, the height of a contact sheet: below it a page has room for a caption
MIN_WIDTH = 4.0  # inches of a sheet: with less, the names of its images touch
_MIN_SIDE, _MAX_SIDE = 0.33, 0.6  # the side of a thumbnail of a contact sheet
_MIN_SIDE_IN_BLOCKS, _MAX_SIDE_IN_BLOCKS = 0.2, 0.3  # that of a comparison
# Of comparisons: the columns of labels, of average precision, and of an exemplar's rank; a query.
_LABEL, _PRECISION, _RANK, _QUERY = 1.15, 0.38, 0.38, 0.62
_RANKS = 4  # exemplars of a query, at most
_PLACEHOLDER, _PLACEHOLDER_EDGE = "#ECECEC", "#CFCFCF"


@dataclass(frozen=True)
class Shown:
    """Hold an image that is shown: its `path` below the root, its rank as a `label`, and what else is said of it."""

    path: str
    label: str
    is_exemplar: bool
    place: str = ""


@dataclass(frozen=True)
class QueryRow:
    """Hold a row of a contact sheet: a query, its nearest images by position (None: unknown), some exemplars.

    heading, name, and prompt, which may be unknown: of the query; caption and note: over the nearest images and over the
    exemplars.
    """

    heading: str
    name: str
    prompt: str
    caption: str
    note: str
    query: str
    nearest: Sequence[Shown | None]
    exemplars: Sequence[Shown]


@dataclass(frozen=True)
class MethodRow:
    """Hold a method's row of a comparison: its label, average precision, nearest images, and ranks of the exemplars."""

    label: str
    precision: str
    nearest: Sequence[Shown | None]
    ranks: Sequence[str]


@dataclass(frozen=True)
class Block:
    """Hold a block of a comparison: a query with some exemplars, and a row for each method."""

    heading: str
    name: str
    prompt: str
    note: str
    query: str
    exemplars: Sequence[str]
    rows: Sequence[MethodRow]


class Canvas:
    """Hold a figure of `width` x `height` inches, and read the images that are drawn on it, each once, below `root`."""

    def __init__(self, width: float, height: float, root: Path | str, reading: Reading):
        self.width, self.root, self.reading = width, Path(root), reading
        self.figure = Figure(figsize=(width, height), dpi=DPI)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()
        self._read: dict[tuple[str, int], np.ndarray | str] = {}

    def text(self, x: float, y: float, text: str, size: float = SMALL, **how: object) -> None:
        """Write `text` with its middle `y` inches from the top; it begins at `x` unless `how` says otherwise."""
        self.axes.text(x, y, text, size=size, va="center", **{"color": TEXT} | how)

    def rule(self, y: float) -> None:
        """Draw a line over the whole width."""
        self.axes.plot([MARGIN, self.width - MARGIN], [y, y], color="#D9D9D9", linewidth=0.6)

    def image(self, path: str, x: float, y: float, side: float, is_exemplar: bool = False) -> None:
        """Draw the middle square of an image, as extractors cut it; an exemplar is framed, with a check mark in its corner.

        An image that is not there, or cannot be read, is a grey square with a sign.
        """
        pixels = self._thumbnail(path, round(side * DPI))
        if isinstance(pixels, str):
            box = {"facecolor": _PLACEHOLDER, "edgecolor": _PLACEHOLDER_EDGE, "linewidth": 0.5}
            self.axes.add_patch(Rectangle((x, y), side, side, **box))
            self.text(x + side / 2, y + side / 2, pixels, color=MUTED, ha="center")
        else:
            self.axes.imshow(pixels, extent=(x, x + side, y + side, y), interpolation="none", aspect="auto", zorder=2)
        if is_exemplar:
            frame = {"fill": False, "edgecolor": EXEMPLAR, "linewidth": FRAME, "zorder": 3}
            self.axes.add_patch(Rectangle((x, y), side, side, **frame))
            badge = min(BADGE, side / 3.6)
            self.check(x + side - badge, y, badge)
        self.axes.set_autoscale_on(False)

    def check(self, x: float, y: float, side: float = BADGE) -> None:
        """Draw the check mark of an exemplar, in a square of `side` inches."""
        self.axes.add_patch(Rectangle((x, y), side, side, facecolor=EXEMPLAR, linewidth=0, zorder=4))
        stroke = {"color": "white", "linewidth": 11 * side, "solid_joinstyle": "miter", "zorder": 5}
        self.axes.plot(
            [x + part * side for part in (0.2, 0.42, 0.82)], [y + part * side for part in (0.52, 0.75, 0.26)], **stroke
        )

    def _thumbnail(self, path: str, size: int) -> np.ndarray | str:
        """Return the image at `path` as uint8 [size, size, 3], or the sign for why there is none."""
        if (path, size) not in self._read:
            self._read[path, size] = _read(self.root / path, size, self.reading)
        return self._read[path, size]


def _read(path: Path, size: int, reading: Reading) -> np.ndarray | str:
    try:
        return np.asarray(reading.square(path, size))
    except UnreadableImage:
        return UNREADABLE
    except InputError:
        return UNREADABLE if path.exists() else NO_IMAGE


# --- contact sheets ---------------------------------------------------------------------------------------------------


def draw_rows(
    width: float, title: str, legend: str, rows: Sequence[QueryRow], root: Path | str, reading: Reading
) -> Figure:
    """Draw a contact sheet: a row per query; `legend` says what the check mark is.

    Its images are as large as the width, and the height of a page, allow; `_MIN_SIDE` at least.
    """
    n_nearest, n_exemplars = (
        max(len(part) for part in parts) for parts in ([r.nearest for r in rows], [r.exemplars for r in rows])
    )
    text, note = (
        max(text_width(line, SMALL) for line in lines) for lines in ([r.caption for r in rows], [r.note for r in rows])
    )
    lines, per_line, side = _thumbnails_of_rows(width, n_nearest, n_exemplars, text, note)
    heading, head = _heading_height(any(row.prompt for row in rows)), _head_height(title, legend, width)
    below = LINE * (2 if any(shown.place for row in rows for shown in row.exemplars) else 1)
    rest = heading + LINE + max(lines * LINE, below) + 0.05  # of a row, without images
    side = min(side, max(_MIN_SIDE, ((_SHEET - head) / len(rows) - rest) / lines))
    query = side + LINE  # as high as a thumbnail with its label
    block = heading + LINE + max(lines * (side + LINE), side + below) + 0.05
    canvas = Canvas(width, head + len(rows) * block, root, reading)
    _draw_head(canvas, title, legend)
    nearest_x = MARGIN + query + COLUMN_GAP
    exemplars_x = nearest_x + max(text, per_line * (side + GAP) - GAP) + COLUMN_GAP
    for i, row in enumerate(rows):
        y = head + i * block
        _draw_heading(canvas, y, row)
        y += heading
        canvas.text(nearest_x, y + LINE / 2, row.caption)
        canvas.text(exemplars_x, y + LINE / 2, row.note, color=MUTED)
        y += LINE
        canvas.image(row.query, MARGIN, y, query)
        for position, shown in enumerate(row.nearest):
            if shown is not None:
                x = nearest_x + position % per_line * (side + GAP)
                _draw_shown(canvas, shown, x, y + position // per_line * (side + LINE), side)
        for position, shown in enumerate(row.exemplars):
            # In the middle of what stands over them, where that is wider.
            beyond = text_width(row.note, SMALL) - len(row.exemplars) * (side + GAP) + GAP
            _draw_shown(canvas, shown, exemplars_x + max(0, beyond / 2) + position * (side + GAP), y, side)
    return canvas.figure


def _thumbnails_of_rows(
    width: float, n_nearest: int, n_exemplars: int, text: float, note: float
) -> tuple[int, int, float]:
    """Return lines of nearest images, images in a line, and the side of an image: at least `_MIN_SIDE`.

    text, note: the widths of the texts over the nearest images and over the exemplars, which may be wider than they are.
    """
    left = width - 2 * MARGIN - LINE - 2 * COLUMN_GAP

    def side_of(per_line: int) -> float:
        # Images, and the inches beside them: of a column, the images and their gaps, or none and the text over them.
        columns = [[(n, (n - 1) * GAP), (0, over)] for n, over in ((per_line, text), (n_exemplars, note))]
        return min((left - a - b) / (1 + m + n) for m, a in columns[0] for n, b in columns[1])

    most = next((n for n in range(n_nearest, 0, -1) if side_of(n) >= _MIN_SIDE), 1)
    lines = -(-n_nearest // most)
    per_line = -(-n_nearest // lines)
    return lines, per_line, min(_MAX_SIDE, side_of(per_line))


def _draw_shown(canvas: Canvas, shown: Shown, x: float, y: float, side: float) -> None:
    canvas.image(shown.path, x, y, side, shown.is_exemplar)
    weight, colour = ("bold", EXEMPLAR) if shown.is_exemplar else ("normal", MUTED)
    middle, y = x + side / 2, y + side + LINE / 2 + FRAME / 72
    canvas.text(middle, y, shown.label, weight=weight, color=colour, ha="center")
    if shown.place:
        canvas.text(middle, y + LINE, shown.place, color=MUTED, ha="center")


# --- comparisons ------------------------------------------------------------------------------------------------------


def nearest_in_blocks(width: float) -> int:
    """Return how many of the nearest images a row of a comparison holds."""
    left = width - 2 * MARGIN - _LABEL - _PRECISION - COLUMN_GAP - _RANKS * _RANK
    return max(1, int((left + GAP) / (_MIN_SIDE_IN_BLOCKS + GAP)))


def blocks_on_a_page(width: float, n_nearest: int, labels: Sequence[str], with_prompts: bool) -> int:
    """Return how many blocks of methods with these `labels` a page holds, 1 at least."""
    side = _side_in_blocks(width, n_nearest, _RANKS)
    height = _heading_height(with_prompts) + _block_height([_label_lines(label) for label in labels], side)
    return max(1, int((PAGE - 2 * LINE) / height))


def draw_blocks(
    width: float, title: str, legend: str, blocks: Sequence[Block], root: Path | str, reading: Reading
) -> Figure:
    """Draw a comparison: in a block the query and its exemplars above, below them a row for each method."""
    n_nearest, n_exemplars = len(blocks[0].rows[0].nearest), max(len(block.exemplars) for block in blocks)
    side = _side_in_blocks(width, n_nearest, n_exemplars)
    labels = [_label_lines(row.label) for row in blocks[0].rows]
    head, heading = _head_height(title, legend, width), _heading_height(any(block.prompt for block in blocks))
    height = heading + _block_height(labels, side)
    canvas = Canvas(width, head + len(blocks) * height, root, reading)
    _draw_head(canvas, title, legend)
    nearest_x = MARGIN + _LABEL + _PRECISION
    exemplars_x = nearest_x + n_nearest * (side + GAP) - GAP + COLUMN_GAP
    column = (width - MARGIN - exemplars_x) / max(1, n_exemplars)
    for i, block in enumerate(blocks):
        y = head + i * height
        _draw_heading(canvas, y, block)
        y += heading
        canvas.image(block.query, MARGIN, y, _QUERY)
        bottom = y + _QUERY
        canvas.text(nearest_x - 0.08, bottom - LINE / 2, "AP", color=MUTED, ha="right")
        canvas.text(exemplars_x, y + LINE / 2, fitted(block.note, width - exemplars_x), color=MUTED)
        for position in range(n_nearest):
            x = nearest_x + position * (side + GAP) + side / 2
            canvas.text(x, bottom - LINE / 2, f"#{position + 1}", color=MUTED, ha="center")
        size = min(column - GAP, _QUERY - LINE)
        for position, path in enumerate(block.exemplars):
            canvas.image(
                path, exemplars_x + position * column + (column - size) / 2, bottom - size, size, is_exemplar=True
            )
        y = bottom + 0.05
        for row, label in zip(block.rows, labels, strict=True):
            row_height = _row_height(label, side)
            middle = y + row_height / 2
            canvas.text(MARGIN, middle, label)
            canvas.text(nearest_x - 0.08, middle, row.precision, ha="right")
            for position, shown in enumerate(row.nearest):
                if shown is not None:
                    x = nearest_x + position * (side + GAP)
                    canvas.image(shown.path, x, middle - side / 2, side, shown.is_exemplar)
            for position, rank in enumerate(row.ranks):
                canvas.text(exemplars_x + (position + 0.5) * column, middle, rank, ha="center")
            y += row_height
    return canvas.figure


def _side_in_blocks(width: float, n_nearest: int, n_exemplars: int) -> float:
    """Return the side of the nearest images: what is left beside the labels and the ranks."""
    left = width - 2 * MARGIN - _LABEL - _PRECISION - COLUMN_GAP - n_exemplars * _RANK
    return min(_MAX_SIDE_IN_BLOCKS, (left + GAP) / n_nearest - GAP)


def _label_lines(label: str) -> str:
    return wrapped(label, _LABEL - 0.05, SMALL)


def _row_height(label: str, side: float) -> float:
    return max(side + GAP, LABEL_LINE * (label.count("\n") + 1) + 0.03)


def _block_height(labels: Sequence[str], side: float) -> float:
    return _QUERY + 0.05 + sum(_row_height(label, side) for label in labels) + 0.1


# --- both -------------------------------------------------------------------------------------------------------------


def _head_height(title: str, legend: str, width: float) -> float:
    lines = wrapped(legend, width - 2 * MARGIN - BADGE - 0.06, SMALL).count("\n") + 1
    return (title_height(title, width) if title else MARGIN) + LINE * lines + 0.06


def _draw_head(canvas: Canvas, title: str, legend: str) -> None:
    y = MARGIN
    if title:
        lines = wrapped_title(title, canvas.width)
        canvas.axes.text(MARGIN, y, lines, size=TITLE_SIZE, weight="bold", color=TEXT, va="top")
        y = title_height(title, canvas.width)
    canvas.check(MARGIN, y + (LINE - BADGE) / 2)
    lines = wrapped(legend, canvas.width - 2 * MARGIN - BADGE - 0.06, SMALL).split("\n")
    for i, line in enumerate(lines):
        canvas.text(MARGIN + BADGE + 0.06, y + (i + 0.5) * LINE, line, color=MUTED)


def _heading_height(with_prompt: bool) -> float:
    """Return the height of what stands above a query's images."""
    return LINE * (1 + with_prompt) + 0.06


def _draw_heading(canvas: Canvas, y: float, of: QueryRow | Block) -> None:
    """Draw a line, below it what is known of a query, its name as far as there is space, and its prompt."""
    right = canvas.width - MARGIN
    canvas.rule(y + 0.02)
    y += 0.05 + LINE / 2
    heading = fitted(of.heading, 0.62 * right, SIZE, "bold")
    canvas.text(MARGIN, y, heading, size=SIZE, weight="bold")
    x = MARGIN + text_width(heading, SIZE, "bold") + 0.12
    canvas.text(x, y, fitted(of.name, right - x, end=True), color=MUTED)
    if of.prompt:
        canvas.text(MARGIN, y + LINE, fitted(f"“{' '.join(of.prompt.split())}”", right - MARGIN))


def any_there(root: Path | str, paths: Iterable[str]) -> bool:
    """Return whether any of the images at `paths` is below `root`."""
    return any((Path(root) / path).is_file() for path in paths)


def note_figure(text: str, width: float) -> Figure:
    """Return a figure that only says `text`, where a sheet cannot be drawn."""
    lines = textwrap.wrap(text, int(width * 16))
    figure = Figure(figsize=(width, 0.3 + LINE * len(lines)), dpi=DPI)
    figure.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", color=MUTED, size=SIZE)
    return figure


def shorten(text: str, length: int, *, end: bool = False) -> str:
    """Return `text` cut to `length` letters with an ellipsis, keeping its start or, with `end`, its end."""
    if len(text) <= length:
        return text
    return "…" + text[1 - length :] if end else text[: length - 1] + "…"


def fitted(text: str, width: float, size: float = SMALL, weight: str = "normal", *, end: bool = False) -> str:
    """Return `text`, cut with an ellipsis to at most `width` inches; `end` as for `shorten`."""
    length = len(text)
    while length > 1 and text_width(shorten(text, length, end=end), size, weight) > width:
        length -= 1
    return shorten(text, length, end=end)
