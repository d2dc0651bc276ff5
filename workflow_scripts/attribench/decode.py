"""Decode a slice of a collection into a pixel shard."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from attribench.errors import InputError
from attribench.preprocessing import Preprocessing, UnreadableImage, load_pixels
from attribench.progress import progress
from attribench.shards import Rows, write_shard

BLOCK_IMAGES = 256


def decode_shard(
    output: Path | str,
    root: Path | str,
    paths: list[str],
    preprocessing: Preprocessing,
    *,
    quarantine: bool,
    workers: int = 1,
) -> Rows:
    """Decode `paths` (relative to `root`) into the pixel shard `output`: uint8 [n, crop, crop, 3], rows in that order.

    An image that cannot be decoded raises InputError, or with `quarantine` leaves a row of zeros with valid = False and
    the reason. Memory holds one block of images, not the shard.
    """
    crop = preprocessing.crop
    rows = Rows(list(paths), np.ones(len(paths), bool), [""] * len(paths))
    attributes = {"preprocessing": str(preprocessing)}
    # Closed whatever happens: worker processes that outlive this one would keep its caller waiting.
    with (
        closing(_decode_all(Path(root), paths, preprocessing, workers)) as decoded,
        write_shard(output, "pixels", (len(paths), crop, crop, 3), "uint8", rows, attributes) as shard,
    ):
        block: list[np.ndarray] = []
        for row, (pixels, reason) in enumerate(progress(decoded, "decode", len(paths))):
            if pixels is None:
                if not quarantine:
                    raise InputError(
                        f"{Path(root) / paths[row]}: cannot be decoded ({reason}); replace the image, or set the config "
                        "key invalid_images to quarantine to go on without such images"
                    )
                rows.valid[row], rows.reasons[row] = False, reason
                pixels = np.zeros((crop, crop, 3), np.uint8)
            block.append(pixels)
            if len(block) == BLOCK_IMAGES:
                shard.append(np.stack(block))
                block = []
        if block:
            shard.append(np.stack(block))
    return rows


def _decode_all(
    root: Path, paths: list[str], preprocessing: Preprocessing, workers: int
) -> Iterator[tuple[np.ndarray | None, str]]:
    """Each image's pixels, or None and the reason, in order. Images wait decoded for at most a few blocks."""
    decode = partial(_decode_one, root=root, preprocessing=preprocessing)
    if workers <= 1 or len(paths) < 2 * workers:
        yield from map(decode, paths)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for start in range(0, len(paths), 2 * BLOCK_IMAGES):
            yield from pool.map(decode, paths[start : start + 2 * BLOCK_IMAGES], chunksize=8)


def _decode_one(path: str, *, root: Path, preprocessing: Preprocessing) -> tuple[np.ndarray | None, str]:
    try:
        return load_pixels(root / path, preprocessing), ""
    except UnreadableImage as error:
        return None, str(error)
