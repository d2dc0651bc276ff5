"""The style that all figures share: fonts, colours of methods, number formats."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib.style
from matplotlib import rcParams
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from attribench.formats.ranking import Method, method_labels

DPI = 160
FONT = "DejaVu Sans"
TEXT, MUTED, GRID = "#222222", "#6B6B6B", "#E3E3E3"
RANDOM = "#5A5A5A"  # of a random ranking
RANDOM_FILL = "#BDBDBD"
NOTHING = "\N{EN DASH}"  # where there is no number
CEILING = "#222222"  # what no ranking can exceed
BEYOND = "#F3F3F3"  # above the ceiling
CHANCE_LINE = {"color": RANDOM, "linestyle": (0, (1, 1)), "linewidth": 1.5}
CEILING_LINE = {"color": CEILING, "linestyle": (0, (4, 2)), "linewidth": 1}
MARK = {"markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.5}

# Okabe and Ito's colours without yellow (too light on white), then Tol's: apart for the common colour blindnesses.
_HUES = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #882255 #999933 #332288 #8B5A2B #44AA99 #AA4466".split()
_MARKERS = "osD^vP*X<>hp"
_LINES = ("-", (0, (5, 1.6)), (0, (1.4, 1.3)), (0, (6, 1.5, 1.4, 1.5)), (0, (9, 3)), (0, (3, 1.2, 1, 1.2, 1, 1.2)))
_FIRST_VARIANTS = ("pretrained", "tuned")

_RC = {
    "font.family": FONT,
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.edgecolor": "#9A9A9A",
    "axes.labelcolor": TEXT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.5,
    "image.composite_image": False,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.fonttype": "path",  # the same letters where DejaVu Sans is not installed
    "svg.hashsalt": "attribench",
    "text.color": TEXT,
    "text.parse_math": False,  # a "$" in a name is a dollar
    "xtick.color": "#9A9A9A",
    "xtick.labelcolor": TEXT,
    "xtick.labelsize": 8,
    "ytick.color": "#9A9A9A",
    "ytick.labelcolor": TEXT,
    "ytick.labelsize": 8.5,
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Use matplotlib's own defaults and this module's settings while the block runs, not the user's matplotlibrc."""
    with matplotlib.style.context(["default", _RC]):
        yield


@dataclass(frozen=True)
class MethodStyle:
    """Say how a method is drawn in every figure: `label`, `colour` "#rrggbb", a matplotlib `line` style, a `marker`."""

    label: str
    colour: str
    line: object
    marker: str


def method_styles(methods: Iterable[Method], labels: Mapping[Method, str] | None = None) -> dict[Method, MethodStyle]:
    """Return a style for each method, in the order in which figures list them.

    labels: what figures call the methods; None: what `method_labels` makes of their names. Hue and marker show the
    extractor; lightness and line the variant. Styles depend on the set of methods only, not on their order, so that figures
    drawn from different tables agree.
    """
    methods = set(methods)
    labels = method_labels(methods) if labels is None else labels
    extractors = sorted({method.extractor for method in methods})
    variants = sorted({method.variant for method in methods}, key=_variant_key)
    styles = {}
    for i, extractor in enumerate(extractors):
        for j, variant in enumerate(variants):
            if (method := Method(extractor, variant)) in methods:
                # The last variant, as a rule the best trained one, gets the full colour and the solid line.
                back = len(variants) - 1 - j
                colour = _shade(_HUES[i % len(_HUES)], back, len(variants))
                styles[method] = MethodStyle(
                    labels[method], colour, _LINES[back % len(_LINES)], _MARKERS[i % len(_MARKERS)]
                )
    return styles


def method_handles(styles: dict[Method, MethodStyle], marked: bool) -> list[Line2D]:
    """Return the legend's lines of the methods, with their markers where points are `marked`."""
    return [
        Line2D(
            *([], []),
            label=style.label,
            color=style.colour,
            linestyle=style.line,
            linewidth=1.5,
            **({"marker": style.marker, **MARK} if marked else {}),
        )
        for style in styles.values()
    ]


def interval_name(confidence: float) -> str:
    """Return `95 % interval`, what the legend calls an interval of `confidence` in (0, 1)."""
    return f"{100 * confidence:.4g} % interval"


def _variant_key(variant: str) -> tuple[int, str]:
    known = variant in _FIRST_VARIANTS
    return (_FIRST_VARIANTS.index(variant) if known else len(_FIRST_VARIANTS), variant)


def _shade(colour: str, back: int, n_variants: int) -> str:
    """Return `colour` made lighter, the more the further `back` its variant is among `n_variants`."""
    step = back / max(1, n_variants - 1)
    # Many variants are too many steps between the full colour and white: begin darker.
    white = 0.55 * step if n_variants <= 3 else 1.05 * step - 0.45
    mixed = [part * (1 - abs(white)) + max(white, 0) for part in to_rgb(colour)]
    return to_hex(mixed)


def message_figure(text: str) -> Figure:
    """Return a figure that only says `text`, for when there is nothing to draw."""
    figure = Figure(figsize=(6, 1.4), dpi=DPI)
    figure.text(0.5, 0.5, text, ha="center", va="center", color=MUTED)
    return figure


def text_width(text: str, setting: str) -> float:
    """Return the inches that `text` takes in the font size of matplotlib's `setting`, e.g. "xtick.labelsize"."""
    return TextPath((0, 0), text, size=rcParams[setting]).get_extents().width / 72


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
