"""Decode a slice of a collection into a pixel shard."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from shutil import disk_usage
from tempfile import NamedTemporaryFile

import numpy as np

from attribench.errors import InputError
from attribench.preprocessing import Preprocessing, UnreadableImage, load_pixels
from attribench.progress import progress
from attribench.shards import Rows, pixels_name, write_datasets

CHUNK_IMAGES = 8  # that a worker decodes at a time
_CHUNKS_AHEAD = 4  # of each worker: decoded, or waiting for it
_IN_MEMORY = "/dev/shm"  # on Linux; a few megabytes in some containers


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
    """The images in order, chunk by chunk; a chunk's pixels are there until the next one is asked for."""
    chunks = [paths[start : start + CHUNK_IMAGES] for start in range(0, len(paths), CHUNK_IMAGES)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        for chunk in chunks:
            pixels = [np.empty((len(chunk), p.crop, p.crop, 3), np.uint8) for p in preprocessings]
            yield Decoded(pixels, _decode_chunk(root, chunk, preprocessings, pixels))
        return
    room = _CHUNKS_AHEAD * workers
    size = room * _slot_bytes(preprocessings)
    with NamedTemporaryFile(prefix="attribench-pixels-", dir=_folder_for(size)) as file:
        file.truncate(size)
        setup = (file.name, root, preprocessings)
        # This process is one of the workers: a further one would take its core from another.
        with ProcessPoolExecutor(workers - 1, get_context("spawn"), _share, setup) as pool:
            yield from _in_order(chunks, _Shared.of(*setup), room, pool, 2 * (workers - 1))


def _in_order(chunks: list, shared: "_Shared", room: int, pool: Executor, queued: int) -> Iterator[Decoded]:
    """The `chunks` in order, decoded by `pool`, which has `queued` of them at a time, and here while the next one is not."""
    waiting: deque = deque()  # of slots and reasons, oldest first: fewer than `room`, so that the next slot is free
    todo = deque(enumerate(chunks))
    while todo or waiting:
        while todo and len(waiting) < room and sum(not reasons.done() for _, reasons in waiting) < queued:
            number, chunk = todo.popleft()
            waiting.append((number % room, pool.submit(_decode_into, number % room, chunk)))
        if todo and len(waiting) < room and not waiting[0][1].done():
            number, chunk = todo.popleft()
            reasons: Future = Future()
            pixels = shared.arrays(number % room, len(chunk))
            reasons.set_result(_decode_chunk(shared.root, chunk, shared.preprocessings, pixels))
            waiting.append((number % room, reasons))
        else:
            yield shared.decoded(*waiting.popleft())


def _decode_chunk(
    root: Path, paths: list[str], preprocessings: Sequence[Preprocessing], pixels: list[np.ndarray]
) -> list[str]:
    """Decode `paths` into `pixels`, for each preprocessing uint8 [n, crop, crop, 3]; the reasons [n]."""
    reasons = [""] * len(paths)
    for i, path in enumerate(paths):
        try:
            images = load_pixels(root / path, preprocessings)
        except UnreadableImage as error:
            images, reasons[i] = [0] * len(pixels), str(error)
        for array, image in zip(pixels, images, strict=True):
            array[i] = image
    return reasons


# --- memory that the processes share: a pipe would take as long for the pixels as a fifth of their decoding ---------------


def _folder_for(size: int) -> str | None:
    """Where a file of `size` bytes is memory and nothing else, if there is room; None for the usual temporary folder."""
    try:
        return _IN_MEMORY if disk_usage(_IN_MEMORY).free > 4 * size else None
    except OSError:
        return None


def _slot_bytes(preprocessings: Sequence[Preprocessing]) -> int:
    """Bytes that a chunk of images takes."""
    return CHUNK_IMAGES * 3 * sum(p.crop**2 for p in preprocessings)


@dataclass(frozen=True)
class _Shared:
    """Slots of a chunk each in a mapped file, which every process has: it is local, and never grows."""

    slots: np.ndarray  # uint8 [room, slot bytes]
    root: Path
    preprocessings: Sequence[Preprocessing]

    @classmethod
    def of(cls, path: str, root: Path, preprocessings: Sequence[Preprocessing]) -> "_Shared":
        slots = np.memmap(path, np.uint8, "r+").reshape(-1, _slot_bytes(preprocessings))
        return cls(slots, root, preprocessings)

    def decoded(self, slot: int, reasons: Future) -> Decoded:
        """The chunk in `slot`, when it is there."""
        found = reasons.result()
        return Decoded(self.arrays(slot, len(found)), found)

    def arrays(self, slot: int, n: int) -> list[np.ndarray]:
        """For each preprocessing, the slot's place for `n` images: uint8 [n, crop, crop, 3]."""
        found, start = [], 0
        for p in self.preprocessings:
            stop = start + CHUNK_IMAGES * p.crop**2 * 3
            found.append(self.slots[slot, start:stop].reshape(CHUNK_IMAGES, p.crop, p.crop, 3)[:n])
            start = stop
        return found


_shared: _Shared  # a worker's


def _share(*setup) -> None:
    """In a worker, once."""
    global _shared
    _shared = _Shared.of(*setup)


def _decode_into(slot: int, paths: list[str]) -> list[str]:
    return _decode_chunk(_shared.root, paths, _shared.preprocessings, _shared.arrays(slot, len(paths)))
