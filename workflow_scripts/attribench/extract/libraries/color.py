"""The colour histogram: no library, and no network that was trained."""

from functools import partial
from pathlib import Path
from typing import Any

from attribench.common.errors import InputError
from attribench.decode.preprocessing import Preprocessing
from attribench.extract.libraries import Loaded, NetworkInput
from attribench.extract.registry import ExtractorEntry

BINS = 8  # per channel: 512 in all


def stated_inputs(entry: ExtractorEntry, root: Path) -> list[NetworkInput]:
    """Return a usual size; pixels are taken as they are."""
    return [NetworkInput(Preprocessing(224, 224, "bicubic"), (0.0,) * 3, (1.0,) * 3)]


def load(entry: ExtractorEntry, root: Path, size: int) -> Loaded:
    """Return the histogram, and its name in place of a digest."""
    from attribench.extract.color import color_histograms

    if entry.output is not None or entry.pool:
        raise InputError("the colour histogram has one output, of one position; expected neither `output` nor `pool`")
    return Loaded(partial(color_histograms, bins=BINS), f"histogram-{BINS}")


def forward(network: Any, precision: str) -> Any:
    """Return what makes histograms of pixels, without torch: a `ColorPass`."""
    from attribench.extract.color import ColorPass

    return ColorPass(network, precision)
