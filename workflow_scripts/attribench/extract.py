"""Run an extractor over a pixel shard and write the feature shard."""

import ctypes
import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from attribench.errors import InputError
from attribench.extractors import Loaded
from attribench.progress import progress
from attribench.read_ahead import read_ahead
from attribench.shards import FeatureIdentity, Rows, feature_attributes, pixel_shard, write_shard

_PREFETCHED = 4  # batches read ahead
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_DEVICE_TYPES = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}

log = logging.getLogger(__name__)


def choose_device(wanted: str) -> torch.device:
    """The torch device for `wanted` (auto, cpu, cuda, mps); InputError when this machine does not have it."""
    if wanted == "auto":
        return torch.device(next(kind for kind, available in _DEVICE_TYPES.items() if available()))
    if not _DEVICE_TYPES[wanted]():
        raise InputError(f"config key device: {wanted} is not available on this machine; expected auto or cpu")
    return torch.device(wanted)


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
    extractor: Loaded,
    *,
    name: str,
    collection: str,
    first_row: int,
    precision: str,
    device: torch.device,
    batch_size: int,
    part: slice = slice(None),
) -> None:
    """Write the features of the rows `part` of the pixel shard `pixels` to the feature shard `output`: float32 [n, d].

    `first_row` is the number of the first of them in the collection. Rows of invalid images are zeros. Raises InputError
    for a feature that is NaN or infinite, naming the image.
    """
    with pixel_shard(pixels) as shard:
        network = extractor.module.to(device, memory_format=torch.channels_last)
        forward = make_forward(network, extractor.mean, extractor.std, precision, device)
        size = shard.data.shape[1]
        dimension = forward(np.zeros((1, size, size, 3), np.uint8)).shape[1]
        preprocessing = f"{shard.preprocessing} mean {_listed(extractor.mean)} std {_listed(extractor.std)}"
        identity = FeatureIdentity(name, dimension, extractor.weights, preprocessing, precision)
        attributes = feature_attributes(identity, collection, first_row, software_versions())
        rows = Rows(shard.rows.paths[part], shard.rows.valid[part], shard.rows.reasons[part])
        shape = (len(rows.paths), dimension)
        log.info("%s: %d images of %s on %s, %s, batch %d", name, shape[0], collection, device, precision, batch_size)
        started, filled, busy = perf_counter(), 0, 0.0
        with write_shard(output, "features", shape, "float32", rows, attributes) as writer:
            batches = read_ahead(shard.blocks(batch_size, part), _PREFETCHED)
            for batch in progress(batches, "extract", -(-shape[0] // batch_size), "batch"):
                at = perf_counter()
                # A short last batch is filled up: kernels may choose another summation order for another batch size, and
                # an image's feature must not depend on the shard that it is in.
                padded = np.concatenate([batch, np.zeros((batch_size - len(batch), *batch.shape[1:]), np.uint8)])
                features = forward(padded)[: len(batch)].cpu().numpy()
                busy += perf_counter() - at
                features[~rows.valid[filled : filled + len(batch)]] = 0
                _refuse_not_finite(features, rows.paths[filled:], name)
                writer.append(features)
                filled += len(batch)
        seconds = perf_counter() - started
        log.info("%.1f images/s; of %.1f s, %.1f s in the network", filled / max(seconds, 1e-9), seconds, busy)


def make_forward(
    network: Any, mean: tuple[float, ...], std: tuple[float, ...], precision: str, device: torch.device
) -> Callable[[np.ndarray], torch.Tensor]:
    """A function uint8 [b, h, w, 3] -> float32 features [b, d] on `device`: scale to [0, 1], normalize, run."""
    # On CUDA, PyTorch's convolutions are TF32 unless told otherwise: three decimal digits, where float32 has seven.
    torch.backends.cudnn.allow_tf32 = False
    mean_ = torch.tensor(mean, device=device).view(1, 3, 1, 1)
    std_ = torch.tensor(std, device=device).view(1, 3, 1, 1)

    def forward(pixels: np.ndarray) -> torch.Tensor:
        # Pixels come with the channels last, and stay so: convolutions are twice as fast on that.
        images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float()
        images = images.div_(255).sub_(mean_).div_(std_)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return network(images).float()

    return forward


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(map(repr, values))


def software_versions() -> dict[str, str]:
    """Versions of the libraries that a feature depends on."""
    return {name: version(name) for name in ("torch", "timm", "open_clip_torch", "pillow", "numpy")}


def _refuse_not_finite(features: np.ndarray, paths: list[str], name: str) -> None:
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(
            f"extractor {name}: the feature of {paths[row]} holds NaN or Inf; expected finite numbers "
            "(with precision bf16, try float32)"
        )
