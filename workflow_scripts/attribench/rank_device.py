"""Where a ranking runs. Nothing here loads torch, which takes seconds that a ranking without a GPU has better uses for."""

import ctypes
import logging
from functools import cache

from attribench.errors import InputError

log = logging.getLogger(__name__)


def ranking_device(wanted: str) -> str | None:
    """The torch device to rank on for the config's `device`: cuda, or None for the processor.

    Raises InputError for cuda where there is none. On other devices (mps), the processor ranks.
    """
    if wanted not in ("auto", "cuda"):
        return None
    if has_gpu():
        return "cuda"
    if wanted == "cuda":
        raise InputError("config key device: cuda is not available on this machine; expected auto or cpu")
    return None


@cache
def has_gpu() -> bool:
    """Whether NVIDIA's driver is here and sees a GPU that this process may use."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def open_scan(device: str | None, *ranked):
    """The `rank_cuda.Scan` of what is `ranked` on a torch device; None, with a line in the log, where there can be none."""
    if device is None:
        return None
    try:
        from attribench.rank_cuda import Scan
    except ImportError as error:
        log.warning("ranking on the processor: %s", error)
        return None
    return Scan.open(device, *ranked)
