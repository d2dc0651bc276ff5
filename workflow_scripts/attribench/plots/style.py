"""The style that all figures share: fonts, colours of methods, number formats."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from attribench.formats.ranking import PRETRAINED, SCORES, Method, method_labels

DPI = 220
FONT = "DejaVu Sans"
SIZE, SMALL = 7.5, 7  # points of text: none is smaller than 7, at the width that a figure is printed at
TEXT, MUTED, GRID = "#222222", "#5F5F5F", "#E3E3E3"
NOTHING = "\N{EN DASH}"  # where there is no number
BEYOND = "#F0F0F0"  # above the ceiling
LINE = 1.1  # points
# What methods are compared with is whole, thin and without colour: methods have all other lines. A random ranking, and what
# no ranking can exceed.
CHANCE_LINE = {"color": "#8A8A8A", "linestyle": "-", "linewidth": 0.9}
CEILING_LINE = {"color": "#222222", "linestyle": "-", "linewidth": 0.6}
MARK = {"markersize": 4, "markeredgewidth": 0.7}
HALO = [withStroke(linewidth=2.4, foreground="white")]  # around what stands on a bar or a line of any colour

# The first ones are far apart in normal vision and with the common colour blindnesses, as a test measures; thin lines of all
# of them show on white.
_HUES = "#0072B2 #D55E00 #009E73 #882255 #332288 #7A4419 #9E9AC8 #B5538C #2F4B7C #999933 #66873B #C2465A".split()
_MARKERS = "osD^vP*X<>hp"
_LINES = ("-", (0, (5, 1.6)), (0, (1.4, 1.3)), (0, (6, 1.5, 1.4, 1.5)), (0, (9, 3)), (0, (3, 1.2, 1, 1.2, 1, 1.2)))
_HATCHES = ("", "/////", ".....", "xxxxx", "-----", "|||||")
# How much white (above 0) or black (below 0) is in the colour of a variant: the first has the full colour.
_TINTS, _TINTS_OF_DARK = (0.0, -0.42, 0.42, -0.22, 0.22, -0.6), (0.0, 0.36, 0.6, 0.18, 0.48, -0.4)
_DARK = 0.09  # luminance

_RC = {
    "font.family": "sans-serif",  # which an SVG names after the font, for where that is not installed
    "font.sans-serif": [FONT],
    "font.size": SIZE,
    "axes.titlesize": SIZE,
    "axes.titlepad": 4,
    "axes.labelsize": SIZE,
    "axes.labelpad": 2.5,
    "axes.edgecolor": "#9A9A9A",
    "axes.labelcolor": TEXT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "hatch.color": "white",
    "hatch.linewidth": 0.8,
    "image.composite_image": False,
    "legend.fontsize": SIZE,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text is text, that one can search and edit, here and in SVG
    "svg.fonttype": "none",
    "svg.hashsalt": "attribench",
    "text.color": TEXT,
    "text.parse_math": False,  # a "$" in a name is a dollar
    "xtick.color": "#9A9A9A",
    "xtick.labelcolor": TEXT,
    "xtick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.color": "#9A9A9A",
    "ytick.labelcolor": TEXT,
    "ytick.labelsize": SMALL,
    "ytick.major.size": 2.5,
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Use matplotlib's own defaults and this module's settings while the block runs, not the user's matplotlibrc."""
    with matplotlib.style.context(["default", _RC]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of which the log has one line
        yield


@dataclass(frozen=True)
class MethodStyle:
    """Say how a method is drawn in every figure.

    label; colour: "#rrggbb"; line: a matplotlib line style; marker; hatch: matplotlib's pattern of a bar; hollow: whether
    the marker is white inside.
    """

    label: str
    colour: str
    line: object
    marker: str
    hatch: str = ""
    hollow: bool = False

    @property
    def mark(self) -> dict[str, object]:
        """Return how points are marked, as arguments of matplotlib's `plot`."""
        face = "white" if self.hollow else self.colour
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": self.colour, **MARK}


def method_styles(methods: Iterable[Method], labels: Mapping[Method, str] | None = None) -> dict[Method, MethodStyle]:
    """Return a style for each method, in the order of `labels`; of `methods` where there are none.

    labels: what figures call all methods of the run, of which `methods` may be some; None: what `method_labels` makes of the
    names of `methods`. Hue and marker show the extractor; tint, line and hatch the variant. A style depends on `labels`
    alone, so that figures of some methods agree with those of all.
    """
    methods = list(dict.fromkeys(methods))
    labels = method_labels(methods) if labels is None else labels
    extractors = list(dict.fromkeys(method.extractor for method in labels))
    variants = sorted({method.variant: None for method in labels}, key=lambda name: name not in (PRETRAINED, SCORES))
    if PRETRAINED in variants and SCORES in variants:  # methods as they are: no extractor has both
        variants.remove(SCORES)
    chosen, styles = set(methods), {}
    for method, label in labels.items():
        if method in chosen:
            i, j = extractors.index(method.extractor), 0 if method.variant == SCORES else variants.index(method.variant)
            colour = _shade(_HUES[i % len(_HUES)], j)
            line, marker, hatch = _LINES[j % len(_LINES)], _MARKERS[i % len(_MARKERS)], _HATCHES[j % len(_HATCHES)]
            styles[method] = MethodStyle(label, colour, line, marker, hatch, hollow=j % 2 == 1)
    return styles


def method_handles(styles: Mapping[Method, MethodStyle], marked: bool) -> list[Line2D]:
    """Return the legend's lines of the methods, with their markers where points are `marked`."""
    return [
        Line2D(
            *([], []),
            label=style.label,
            color=style.colour,
            linestyle=style.line,
            linewidth=LINE,
            **(style.mark if marked else {}),
        )
        for style in styles.values()
    ]


def ceiling_handles(ceilings: Iterable[float]) -> list[Line2D | Patch]:
    """Return the legend's line of a ceiling and, where one of `ceilings` is below 1, the area out of reach."""
    area = Patch(facecolor=BEYOND, edgecolor="#CFCFCF", linewidth=0.5, label="out of reach")
    is_below = any(ceiling < 1 - 1e-12 for ceiling in ceilings)
    return [Line2D([], [], **CEILING_LINE, label="ceiling"), *([area] if is_below else [])]


def _shade(colour: str, variant: int) -> str:
    """Return the tint of `colour` that variant number `variant` has; of more variants than tints they are mixed anew."""
    tints = _TINTS_OF_DARK if luminance(colour) < _DARK else _TINTS
    turn, number = divmod(variant, len(tints))
    white = tints[number] + (0.07 if tints[number] <= 0 else -0.07) * turn
    return to_hex([part * (1 - abs(white)) + max(white, 0) for part in to_rgb(colour)])


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, from 0 (black) to 1 (white), as contrast is measured by (WCAG 2)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def message_figure(text: str, width: float = 5.5) -> Figure:
    """Return a figure that only says `text`, for when there is nothing to draw."""
    figure = Figure(figsize=(width, 0.8), dpi=DPI)
    figure.text(0.5, 0.5, text, ha="center", va="center", color=MUTED)
    return figure


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = SIZE, weight: str = "normal") -> float:
    """Return the inches that one line of `text` takes at `size` points."""
    font = FontProperties(family=FONT, size=size, weight=weight)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72 if text.strip() else 0.0


def wrapped(text: str, width: float, size: float = SIZE, weight: str = "normal") -> str:
    """Return `text` in lines of at most `width` inches, broken at spaces; a longer word at underscores, or anywhere."""
    lines, line = [], ""
    for word in re.findall(r"[^ ]* ?", text):
        if line and text_width((line + word).rstrip(), size, weight) > width:
            lines, line = [*lines, line], ""
        for part in [word] if text_width(word.rstrip(), size, weight) <= width else re.findall(r"[^_]*_?", word):
            if line and text_width((line + part).rstrip(), size, weight) > width:
                lines, line = [*lines, line], ""
            while text_width(part.rstrip(), size, weight) > width and len(part) > 1:
                fits = next(
                    n for n in range(len(part) - 1, 0, -1) if n == 1 or text_width(part[:n], size, weight) <= width
                )
                lines, part = [*lines, part[:fits]], part[fits:]
            line += part
    return "\n".join(part.rstrip() for part in [*lines, line] if part.strip())


def beside(axes: Axes, y: float, text: str, **how: object) -> None:
    """Write `text` at the right of a panel, at `y` of its axis."""
    at = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(text, (1, y), (4, 0), va="center", size=SMALL, annotation_clip=False, **at, **how)


def rank_axis(axis, last: int) -> None:
    """Make `axis` (of a log scale) count 1, 10, 100, 1k ... up to `last`."""
    axis.set_major_locator(LogLocator(base=10, numticks=12))
    axis.set_minor_locator(LogLocator(base=10, subs=range(2, 10), numticks=12) if last <= 1e4 else NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: short_count(value) if last < 10 else ""))


def short_count(value: float) -> str:
    """Return a count as an axis shows it: 1, 20, 3k, 40k, 5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
