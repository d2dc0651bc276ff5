"""Rows of labelled thumbnails, of which contact sheets are made."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps

from attribench.common.errors import InputError
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.reading import Reading
from attribench.plots.style import DPI, MUTED, TEXT, plot_style

EXEMPLAR = "#00875A"
_PLACEHOLDER, _PLACEHOLDER_EDGE = "#ECECEC", "#CFCFCF"
# Pixels at DPI, which is what makes a thumbnail's pixels the figure's pixels in the PNG.
_MARGIN, _GAP, _COLUMN_GAP = 24, 14, 44
_HEADING, _CAPTION, _LABEL, _ROW_GAP, _HEAD = 30, 30, 28, 12, 78
_LETTER = 10  # width of a letter of the captions, rather too much than too little


@dataclass(frozen=True)
class Cell:
    """Hold a thumbnail: the image's `path` below the root, the `label` under it, whether it is `framed` as an exemplar."""

    path: str
    label: str
    framed: bool = False


@dataclass(frozen=True)
class SheetRow:
    """Hold a row: a query, its neighbours by position (None: an empty one), some exemplars.

    `heading` is a bold line over the row; `caption` and `note` stand over the neighbours and over the exemplars. Rows
    without a heading or query belong to the row above.
    """

    neighbours: Sequence[Cell | None]
    exemplars: Sequence[Cell]
    caption: str
    note: str
    heading: str = ""
    query: Cell | None = None


def draw_sheet(
    title: str, subtitle: str, rows: Sequence[SheetRow], root: Path | str, size: int, reading: Reading
) -> Figure:
    """Draw `rows`, thumbnails `size` pixels square, cut from the middle of each image as extractors do.

    An image below `root` that is missing or cannot be read becomes a grey square that says so.
    """
    n_neighbours = max((len(row.neighbours) for row in rows), default=1)
    n_exemplars = max((len(row.exemplars) for row in rows), default=1)
    step = size + _GAP
    neighbours_x = _MARGIN + size + _COLUMN_GAP
    captions = max((len(row.caption) for row in rows), default=0) * _LETTER
    notes = max((len(row.note) for row in rows), default=0) * _LETTER
    exemplars_x = neighbours_x + max(n_neighbours * step - _GAP, captions) + _COLUMN_GAP
    right = exemplars_x + max(n_exemplars * step - _GAP, notes)
    width = max(right, _MARGIN + len(subtitle) * _LETTER) + _MARGIN
    tops, y = [], _HEAD
    for row in rows:
        tops.append(y)
        y += (_HEADING if row.heading else 0) + _CAPTION + size + _LABEL + _ROW_GAP
    height = y + (0 if rows else 60)
    with plot_style():
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        axes.text(_MARGIN, 30, title, size=10.5, weight="bold", va="center")
        axes.text(_MARGIN, 58, subtitle, size=8, va="center", color=MUTED)
        if not rows:
            axes.text(_MARGIN, _HEAD + 30, "no valid queries", size=9, va="center")
        thumbnail = _thumbnails(Path(root), size, reading)
        for top, row in zip(tops, rows, strict=True):
            _draw_row(axes, row, top, size, (neighbours_x, exemplars_x), thumbnail, width)
    return figure


def _draw_row(axes, row: SheetRow, top: int, size: int, columns: tuple[int, int], thumbnail, width: int) -> None:
    neighbours_x, exemplars_x = columns
    if row.heading:
        axes.plot([_MARGIN, width - _MARGIN], [top, top], color="#D9D9D9", linewidth=0.7)
        axes.text(_MARGIN, top + _HEADING / 2 + 3, row.heading, size=8.5, weight="bold", va="center")
        top += _HEADING
    axes.text(neighbours_x, top + _CAPTION / 2 - 2, row.caption, size=8, va="center", color=TEXT)
    axes.text(exemplars_x, top + _CAPTION / 2 - 2, row.note, size=8, va="center", color=MUTED)
    top += _CAPTION
    if row.query is not None:
        _draw_cell(axes, row.query, _MARGIN, top, size, thumbnail)
    for x, cells in ((neighbours_x, row.neighbours), (exemplars_x, row.exemplars)):
        for i, cell in enumerate(cells):
            if cell is not None:
                _draw_cell(axes, cell, x + i * (size + _GAP), top, size, thumbnail)


def _draw_cell(axes, cell: Cell, x: int, y: int, size: int, thumbnail: Callable) -> None:
    image = thumbnail(cell.path)
    if isinstance(image, str):
        box = Rectangle((x, y), size, size, facecolor=_PLACEHOLDER, edgecolor=_PLACEHOLDER_EDGE, linewidth=0.7)
        axes.add_patch(box)
        # The end of a path says more than its beginning.
        letters = max(8, size // 8)
        name = "\n".join(textwrap.wrap(Path(cell.path).name, letters, break_on_hyphens=False)[-4:])
        axes.text(x + size / 2, y + size / 2, f"{image}\n{name}", size=5.5, color=MUTED, ha="center", va="center")
    else:
        axes.imshow(image, extent=(x, x + size, y + size, y), interpolation="none", aspect="auto", zorder=2)
    if cell.framed:
        frame = Rectangle(
            (x - 1.5, y - 1.5), size + 3, size + 3, fill=False, edgecolor=EXEMPLAR, linewidth=2.2, zorder=3
        )
        axes.add_patch(frame)
    weight, colour = ("bold", EXEMPLAR) if cell.framed else ("normal", MUTED)
    axes.text(x + size / 2, y + size + 16, cell.label, size=7.5, weight=weight, color=colour, ha="center", va="center")
    axes.set_autoscale_on(False)


def _thumbnails(root: Path, size: int, reading: Reading) -> Callable[[str], np.ndarray | str]:
    """Return a function that reads each image once, by path: its thumbnail uint8 [size, size, 3], or why there is none."""
    known = {}

    def thumbnail(path: str) -> np.ndarray | str:
        if path not in known:
            known[path] = _read(root / path, size, reading)
        return known[path]

    return thumbnail


def _read(path: Path, size: int, reading: Reading) -> np.ndarray | str:
    try:
        with reading.image(path, at_least=(size, size)) as image:
            return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS).convert("RGB"))
    except UnreadableImage:
        return "unreadable"
    except InputError:
        return "unreadable" if path.exists() else "no image"


def shorten(text: str, length: int, *, end: bool = False) -> str:
    """Return `text` cut to `length` letters with an ellipsis, keeping its start or, with `end`, its end."""
    if len(text) <= length:
        return text
    return "…" + text[1 - length :] if end else text[: length - 1] + "…"
