"""Where a ranking runs. Nothing here loads torch unless a GPU may be here: that takes seconds."""

import logging
from functools import cache
from pathlib import Path

import numpy as np

from attribench.common.errors import InputError
from attribench.rank.tally import Tally

log = logging.getLogger(__name__)


def ranking_device(wanted: str) -> str | None:
    """Return the torch device to rank on for the config's `device`: cuda, or None for the processor.

    Raises InputError for cuda where there is none. On other devices (mps), the processor ranks.
    """
    if wanted == "cuda" and not has_gpu():
        raise InputError("config key device: cuda is not available on this machine; expected auto or cpu")
    return "cuda" if wanted in ("auto", "cuda") and has_gpu() else None


@cache
def has_gpu() -> bool:
    """Return whether torch sees an NVIDIA GPU."""
    if not any(Path(name).exists() for name in ("/dev/nvidiactl", "/dev/dxg")):  # the driver's; under Windows, WSL's
        return False
    import torch

    return torch.cuda.is_available()


def open_scan(device: str | None, queries: np.ndarray, tally: Tally):
    """Return the `gpu.Scan` of `queries` on a torch device; None where it fails or is not to be trusted, as the log says."""
    if device is None:
        return None
    try:
        from attribench.rank.gpu import Scan, find_fault

        reason = find_fault(device, queries.shape[1])
        if reason is None:
            scan = Scan(device, queries, tally)
            log.info("ranking on %s", device)
            return scan
    except Exception as error:  # of import, driver, compiler or memory: whatever it is, the processor can do the work
        reason = f"{type(error).__name__}: {error}"
    log.warning("ranking on the processor, not on %s: %s", device, reason)
    return None
