"""Load an extractor, run it over a pixel shard and write the feature shard."""

import ctypes
import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from attribench.common.errors import InputError
from attribench.common.prefetch import read_ahead
from attribench.common.progress import progress
from attribench.extract.extractors import Network, library_of, load_extractor, preprocessing_of
from attribench.extract.registry import ExtractorEntry
from attribench.formats.shards import FeatureIdentity, feature_attributes, first_bad_row, open_pixel_shard, write_shard

_READ_AHEAD = 4  # batches
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h

log = logging.getLogger(__name__)


class Forward(Protocol):
    """Make features of pixels, in batches: float32 [n, d] of uint8 [n, size, size, 3]."""

    network: Network
    device: Any
    precision: str
    batch_size: int

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features of `pixels`."""

    def map(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the features of each of `blocks`."""


def load_forward(
    name: str,
    entry: ExtractorEntry,
    root: Path | str,
    *,
    precision: str = "float32",
    device: str = "auto",
    threads: int | None = None,
    batch_size: int | str = "auto",
    compiled: bool = False,
) -> Forward:
    """Load the registry's entry `name`, ready to make features of pixels; the rest as for `ForwardPass`.

    device: as the config key. threads: the process's, of torch; None leaves them as they are. Raises InputError as
    `load_extractor` does, and for a device that this machine lacks.
    """
    network = load_extractor(name, entry, root)
    library = library_of(entry)
    if hasattr(library, "forward"):
        return library.forward(network, precision)
    import torch

    from attribench.extract.forward import ForwardPass, choose_device

    if threads:
        torch.set_num_threads(threads)
    how = {"precision": precision, "batch_size": batch_size, "compiled": compiled}
    return ForwardPass(network, preprocessing_of(entry, root).crop, device=choose_device(device), **how)


def keep_freed_memory() -> None:
    """Let glibc keep what a forward pass frees for the next one, instead of handing it back to the system.

    A network's intermediate tensors are large: without this, half of the time of a convolutional network goes into the
    page faults of memory that was returned a moment before. Does nothing where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def extract_shard(
    pixels: Path | str,
    output: Path | str,
    forward: Forward,
    *,
    name: str,
    collection: str,
    preprocessing: str,
    first_row: int,
    key: str = "",
) -> None:
    """Write the features of the pixel shard `pixels` to the feature shard `output`: float32 [n, d].

    `name` and `preprocessing` (its canonical text) are the extractor's; `first_row` is the number of the shard's first row
    in the collection; `key` is that of the job. Rows of invalid images are zeros. Raises InputError for a feature that is
    NaN, infinite or all 0, naming the image.
    """
    with open_pixel_shard(pixels, preprocessing) as shard:
        rows, n = shard.rows, len(shard.rows.paths)
        settings = (forward.device, forward.precision, forward.batch_size)
        log.info("%s: %d images of %s on %s, %s, batch %d", name, n, collection, *settings)
        started, written = perf_counter(), 0
        with closing(read_ahead(shard.blocks(forward.batch_size), _READ_AHEAD)) as blocks:
            features = forward.map(blocks)
            # The first ones say how long a feature is, which the file has to know.
            first = next(features) if n else forward(np.zeros((1, *shard.data.shape[1:]), np.uint8))[:0]
            identity = identity_of(forward, name, preprocessing, dimension=first.shape[1])
            attributes = feature_attributes(identity, collection, first_row, key, software_versions())
            attributes |= {"resampled": forward.network.resampled} if forward.network.resampled else {}
            with write_shard(output, "features", (n, first.shape[1]), "float32", rows, attributes) as writer:
                for block in progress(chain([first], features), "extract", n, count=len):
                    valid = rows.valid[written : written + len(block)]
                    _refuse_bad(block, valid, rows.paths[written:], name)
                    block[~valid] = 0
                    writer.append(block)
                    written += len(block)
        log.info("%.1f images/s", written / max(perf_counter() - started, 1e-9))


def identity_of(forward: Forward, name: str, preprocessing: str, dimension: int) -> FeatureIdentity:
    """Return what the features must share with others to be compared: the preprocessing is stated with mean and std."""
    network = forward.network
    mean, std = (",".join(map(repr, values)) for values in (network.mean, network.std))
    described = f"{preprocessing} mean {mean} std {std}"
    return FeatureIdentity(name, dimension, network.weights, described, forward.precision)


def software_versions() -> dict[str, str]:
    """Return the versions of the libraries that a feature depends on."""
    return {name: version(name) for name in ("torch", "timm", "open_clip_torch", "pillow", "kornia_rs", "numpy")}


def _refuse_bad(features: np.ndarray, valid: np.ndarray, paths: list[str], name: str) -> None:
    if (bad := first_bad_row(features[valid])) is not None:
        row, what = bad
        raise InputError(
            f"extractor {name}: the feature of {paths[np.flatnonzero(valid)[row]]} {what}; expected finite numbers that are "
            "not all (nearly) 0 (with precision bf16, try float32)"
        )
