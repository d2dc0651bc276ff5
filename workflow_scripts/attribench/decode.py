"""Decode a slice of a collection into a pixel shard."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from attribench.errors import InputError
from attribench.preprocessing import Preprocessing, UnreadableImage, load_pixels
from attribench.progress import progress
from attribench.shards import Rows, pixels_name, write_datasets

CHUNK_IMAGES = 8  # that a worker decodes at a time
_CHUNKS_AHEAD = 4  # of each worker: decoded, or waiting for it


@dataclass(frozen=True)
class Decoded:
    """Images in order: for each preprocessing uint8 [n, crop, crop, 3], and the reasons [n], empty for a whole image."""

    pixels: list[np.ndarray]
    reasons: list[str]


def decode_shard(
    output: Path | str,
    root: Path | str,
    paths: list[str],
    preprocessings: Sequence[Preprocessing],
    *,
    quarantine: bool,
    workers: int = 1,
    key: str = "",
) -> Rows:
    """Decode `paths` (relative to `root`), each once, into the pixel shard `output`.

    It has a dataset uint8 [n, crop, crop, 3] for each of `preprocessings`, rows in the order of `paths`. An image that
    cannot be decoded raises InputError, or with `quarantine` leaves rows of zeros with valid = False and the reason.
    Memory holds a few images for each of `workers` processes, not the shard. `key` is that of the job, and kept in the file.
    """
    rows = Rows(list(paths), np.ones(len(paths), bool), [""] * len(paths))
    shapes = {pixels_name(str(p)): (len(paths), p.crop, p.crop, 3) for p in preprocessings}
    first = 0
    # Closed whatever happens: worker processes that outlive this one would keep its caller waiting.
    with (
        closing(_decode_all(Path(root), paths, preprocessings, workers)) as chunks,
        write_datasets(output, shapes, "uint8", rows, {"key": key}) as writers,
    ):
        for chunk in progress(chunks, "decode", len(paths), count=lambda chunk: len(chunk.reasons)):
            for row, reason in enumerate(chunk.reasons, first):
                if reason and not quarantine:
                    raise InputError(
                        f"{Path(root) / paths[row]}: cannot be decoded ({reason}); replace the image, or set the config "
                        "key invalid_images to quarantine to go on without such images"
                    )
                rows.valid[row], rows.reasons[row] = not reason, reason
            for writer, pixels in zip(writers.values(), chunk.pixels, strict=True):
                writer.append(pixels)
            first += len(chunk.reasons)
    return rows


def _decode_all(
    root: Path, paths: list[str], preprocessings: Sequence[Preprocessing], workers: int
) -> Iterator[Decoded]:
    """The images in order, chunk by chunk. Those that are decoded or being decoded are a few chunks of each worker."""
    decode = partial(_decode_chunk, root=root, preprocessings=preprocessings)
    chunks = [paths[start : start + CHUNK_IMAGES] for start in range(0, len(paths), CHUNK_IMAGES)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        yield from map(decode, chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque = deque()
        for chunk in chunks:
            waiting.append(pool.submit(decode, chunk))
            if len(waiting) == _CHUNKS_AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode_chunk(paths: list[str], *, root: Path, preprocessings: Sequence[Preprocessing]) -> Decoded:
    pixels = [np.zeros((len(paths), p.crop, p.crop, 3), np.uint8) for p in preprocessings]
    reasons = [""] * len(paths)
    for i, path in enumerate(paths):
        try:
            for array, image in zip(pixels, load_pixels(root / path, preprocessings), strict=True):
                array[i] = image
        except UnreadableImage as error:
            reasons[i] = str(error)
    return Decoded(pixels, reasons)
