"""Run an extractor over a pixel shard and write the feature shard."""

import logging
from contextlib import closing
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from time import perf_counter

import numpy as np

from attribench.errors import InputError
from attribench.forward import Forward
from attribench.progress import progress
from attribench.read_ahead import read_ahead
from attribench.shards import FeatureIdentity, Rows, feature_attributes, pixel_shard, write_shard

_PREFETCHED = 4  # batches read ahead

log = logging.getLogger(__name__)


def extract_shard(
    pixels: Path | str,
    output: Path | str,
    forward: Forward,
    *,
    name: str,
    collection: str,
    preprocessing: str,
    first_row: int,
    part: slice = slice(None),
) -> None:
    """Write the features of the rows `part` of the pixel shard `pixels` to the feature shard `output`: float32 [n, d].

    `name` and `preprocessing` (its canonical text) are the extractor's; `first_row` is the number of the first of the rows
    in the collection. Rows of invalid images are zeros. Raises InputError for a feature that is NaN or infinite, naming
    the image.
    """
    with pixel_shard(pixels, preprocessing) as shard:
        rows = Rows(shard.rows.paths[part], shard.rows.valid[part], shard.rows.reasons[part])
        n = len(rows.paths)
        about = (forward.device, forward.precision, forward.batch_size)
        log.info("%s: %d images of %s on %s, %s, batch %d", name, n, collection, *about)
        started, filled = perf_counter(), 0
        with closing(read_ahead(shard.blocks(forward.batch_size, part), _PREFETCHED)) as blocks:
            features = forward.map(blocks)
            # The first ones say how long a feature is, which the file has to know.
            first = next(features) if n else forward(np.zeros((1, *shard.data.shape[1:]), np.uint8))[:0]
            network = forward.extractor
            described = f"{preprocessing} mean {_listed(network.mean)} std {_listed(network.std)}"
            identity = FeatureIdentity(name, first.shape[1], network.weights, described, forward.precision)
            attributes = feature_attributes(identity, collection, first_row, software_versions())
            with write_shard(output, "features", (n, first.shape[1]), "float32", rows, attributes) as writer:
                for block in progress(chain([first], features), "extract", n, count=len):
                    block[~rows.valid[filled : filled + len(block)]] = 0
                    _refuse_not_finite(block, rows.paths[filled:], name)
                    writer.append(block)
                    filled += len(block)
        log.info("%.1f images/s", filled / max(perf_counter() - started, 1e-9))


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
