"""The calibrator: the two numbers that turn scores into influence, in the published checkpoint's layout.

A .pth is a state dict of two scalars, `inv_tau` and `bias`. The constant that `bias` is multiplied with is not in the file.
"""

import io
import math
from pathlib import Path
from typing import Any, NamedTuple

from attribench.common.errors import InputError
from attribench.common.files import atomic_path, open_given, refuse_placeholder
from attribench.common.torch_files import load_plain

BIAS_GAIN = 0.001


class Calibrator(NamedTuple):
    """Hold inv_tau, the inverse temperature of the exponential, and bias, what `BIAS_GAIN` of is added to it."""

    inv_tau: float
    bias: float


def read_calibrator(path: Path | str) -> Calibrator:
    """Read the calibrator at `path`, a file of `torch.save`.

    Raises InputError that names the file for one that is missing, has another layout, an inv_tau that is not above 0, or a
    bias that leaves no candidate any influence.
    """
    content = load_plain(path, "a calibrator")
    if not isinstance(content, dict) or not {"inv_tau", "bias"} <= {*content}:
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: found {found}; expected a dict with the scalars inv_tau and bias")
    calibrator = Calibrator(*(_scalar(path, name, content[name]) for name in Calibrator._fields))
    if calibrator.inv_tau <= 0:
        raise InputError(f"{path}: inv_tau is {calibrator.inv_tau:g}; expected a number above 0")
    if calibrator.bias * BIAS_GAIN <= -1:  # what the best candidate has without it is 1
        raise InputError(f"{path}: bias is {calibrator.bias:g}; expected a number above {-1 / BIAS_GAIN:g}")
    return calibrator


def require_calibrator(path: Path) -> None:
    """Raise InputError when there is no calibrator at `path`, or none that may be read, or a placeholder."""
    with open_given(path, "calibrator"):
        pass
    refuse_placeholder(path)


def _scalar(path: Path | str, name: str, value: Any) -> float:
    try:
        number = float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        found = f"has shape {list(value.shape)}" if getattr(value, "ndim", 0) else f"is {value}"
        raise InputError(f"{path}: {name} {found}; expected one finite number")
    return number


def write_calibrator(path: Path | str, calibrator: Calibrator) -> None:
    """Write `calibrator` to `path`, atomically, as float32 scalars; equal numbers give equal bytes."""
    import torch

    memory = io.BytesIO()  # a file's name would be part of its bytes
    state = {name: torch.tensor(value, dtype=torch.float32) for name, value in calibrator._asdict().items()}
    torch.save(state, memory)
    with atomic_path(path) as temporary:
        temporary.write_bytes(memory.getvalue())
