"""Decode a slice of a collection into a pixel shard."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from shutil import disk_usage
from tempfile import NamedTemporaryFile

import numpy as np

from attribench.common.errors import InputError, listed
from attribench.common.progress import progress
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.preprocessing import Preprocessing, load_pixels
from attribench.decode.reading import AS_PUBLISHED, Reading
from attribench.formats.shards import Rows, has_pixels, invalid_images, pixels_name, write_datasets

CHUNK_IMAGES = 8  # that a process decodes at a time
_CHUNKS_AHEAD = 4  # for each process: chunks that wait to be decoded, or are decoded and wait to be written
_MEMORY_FOLDER = "/dev/shm"  # Linux keeps its files in memory; in some containers it has a few megabytes


@dataclass(frozen=True)
class Decoded:
    """Hold images in order: uint8 [n, crop, crop, 3] for each preprocessing, and reasons [n], empty for a whole image."""

    pixels: list[np.ndarray]
    reasons: list[str]


@dataclass(frozen=True)
class _Work:
    """Hold what is the same for all images of a job: the folder that their paths start from, and what is made of them."""

    root: Path
    preprocessings: Sequence[Preprocessing]
    reading: Reading


def decode_shard(
    output: Path | str,
    root: Path | str,
    paths: list[str],
    preprocessings: Sequence[Preprocessing],
    *,
    quarantine: bool,
    reading: Reading = AS_PUBLISHED,
    workers: int = 1,
    key: str = "",
) -> None:
    """Decode `paths` (relative to `root`), each once, into the pixel shard `output`.

    It has a dataset uint8 [n, crop, crop, 3] for each of `preprocessings`, rows in the order of `paths`. Images that cannot
    be decoded raise InputError at the end, or with `quarantine` leave rows of zeros with valid = False and the reason.
    Memory holds a few images for each of `workers` processes, not the shard. `key` is that of the job, and kept in the file.
    """
    rows = Rows.all_valid(list(paths))
    shapes = {pixels_name(str(p)): (len(paths), p.crop, p.crop, 3) for p in preprocessings}
    first = 0
    # Closed whatever happens: worker processes that outlive this one would keep its caller waiting.
    with (
        closing(_decode_all(_Work(Path(root), preprocessings, reading), paths, workers)) as chunks,
        write_datasets(output, shapes, "uint8", rows, {"key": key}) as writers,
    ):
        for chunk in progress(chunks, "decode", len(paths), count=lambda chunk: len(chunk.reasons)):
            for row, reason in enumerate(chunk.reasons, first):
                rows.valid[row], rows.reasons[row] = not reason, reason
            for writer, pixels in zip(writers.values(), chunk.pixels, strict=True):
                writer.append(pixels)
            first += len(chunk.reasons)
        if not quarantine and not rows.valid.all():
            raise unreadable([(str(Path(root) / p), why) for p, why in zip(paths, rows.reasons, strict=True) if why])


def unreadable(images: Sequence[tuple[str, str]]) -> InputError:
    """Return the error for images, as path and reason, that cannot be decoded, where such images are not to be left out."""
    remedy = (
        "or set the config key invalid_images to quarantine to go on without such images: features that are made already "
        "stay"
    )
    if len(images) == 1:
        [(path, reason)] = images
        return InputError(f"{path}: cannot be decoded ({reason}); replace the image, {remedy}")
    lines = listed([f"{path} ({reason})" for path, reason in images])
    return InputError(f"{len(images)} images cannot be decoded; replace them, {remedy}:{lines}")


@contextmanager
def decoded_pixels(
    pixels: Path | str | None,
    output: Path | str,
    root: Path | str,
    paths: list[str],
    preprocessing: Preprocessing,
    *,
    quarantine: bool,
    reading: Reading,
    workers: int,
) -> Iterator[Path | str]:
    """Yield the pixel shard `pixels` if it has `preprocessing`, else a temporary one with the images of `paths`.

    A job that was forced is not given pixels, and those that a killed run has left may lack a preprocessing, or have invalid
    images from when these were to be left out. The temporary shard lies beside `output`, the feature shard made of it.
    """
    if pixels and has_pixels(pixels, str(preprocessing)) and (quarantine or not invalid_images(pixels)):
        yield pixels
        return
    temporary = Path(output).with_name(f".{Path(output).stem}.pixels.h5")
    try:
        decode_shard(temporary, root, paths, [preprocessing], quarantine=quarantine, reading=reading, workers=workers)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _decode_all(work: _Work, paths: list[str], workers: int) -> Iterator[Decoded]:
    """Yield the images in order, a chunk at a time, whose pixels stay until the next chunk is taken."""
    chunks = [paths[start : start + CHUNK_IMAGES] for start in range(0, len(paths), CHUNK_IMAGES)]
    workers = min(workers, len(chunks))
    if workers > 1:
        yield from _decode_in_processes(work, chunks, workers)
        return
    [buffer] = np.empty(1, _chunk_type(work.preprocessings))
    for chunk in chunks:
        yield Decoded(_pixels(buffer, len(chunk)), _decode_chunk(work, chunk, buffer))


def _decode_chunk(work: _Work, paths: list[str], buffer: np.void) -> list[str]:
    """Decode `paths` into `buffer`, a value of `_chunk_type`; return the reasons [n]."""
    pixels, reasons = _pixels(buffer, len(paths)), [""] * len(paths)
    for i, path in enumerate(paths):
        try:
            images = load_pixels(work.root / path, work.preprocessings, work.reading)
        except UnreadableImage as error:
            images, reasons[i] = [0] * len(pixels), str(error)
        for array, image in zip(pixels, images, strict=True):
            array[i] = image
    return reasons


def _chunk_type(preprocessings: Sequence[Preprocessing]) -> np.dtype:
    """Return the type of a chunk's pixels: for each preprocessing, a field uint8 [CHUNK_IMAGES, crop, crop, 3]."""
    return np.dtype([(str(p), np.uint8, (CHUNK_IMAGES, p.crop, p.crop, 3)) for p in preprocessings])


def _pixels(buffer: np.void, n: int) -> list[np.ndarray]:
    """Return views of the first `n` images of `buffer`, a value of `_chunk_type`, for each preprocessing."""
    return [buffer[name][:n] for name in buffer.dtype.names]


# --- worker processes -------------------------------------------------------------------------------------------------
#
# They write pixels into buffers in a mapped file, one per chunk: sending them through a pipe would take a fifth of the time
# that decoding takes.


def _decode_in_processes(work: _Work, chunks: list[list[str]], workers: int) -> Iterator[Decoded]:
    """Yield what `_decode_all` does, decoded by `workers` processes, of which one at a time has a large image."""
    n_buffers, context = _CHUNKS_AHEAD * workers, get_context("spawn")
    work = replace(work, reading=replace(work.reading, one_large=context.Lock()))
    size = n_buffers * _chunk_type(work.preprocessings).itemsize
    with NamedTemporaryFile(prefix="attribench-pixels-", dir=_folder_for(size)) as file:
        file.truncate(size)
        buffers = _map_buffers(file.name, work)
        pool = ProcessPoolExecutor(workers, context, _start_worker, (file.name, work))
        with pool, _killed_as_input_error():
            pending: deque[tuple[int, Future]] = deque()  # in order: the number of a chunk's buffer, and its reasons
            for number, chunk in enumerate(chunks):
                if len(pending) == n_buffers:
                    yield _finished(buffers, *pending.popleft())
                buffer = number % n_buffers  # free: the oldest chunk had it
                pending.append((buffer, pool.submit(_decode_into, buffer, chunk)))
            while pending:
                yield _finished(buffers, *pending.popleft())


@contextmanager
def _killed_as_input_error() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise InputError(
            "a process that decodes images was killed, as the system does when memory is short; expected more memory, fewer "
            "threads, or a smaller value of the config key max_pixels"
        ) from error


def _finished(buffers: np.memmap, buffer: int, reasons: Future) -> Decoded:
    """Wait for the chunk that is decoded into the buffer of this number."""
    return Decoded(_pixels(buffers[buffer], len(reasons.result())), reasons.result())


def _folder_for(size: int) -> str | None:
    """Return a folder whose files are memory, if `size` bytes fit there well; None for the usual temporary folder."""
    try:
        return _MEMORY_FOLDER if disk_usage(_MEMORY_FOLDER).free > 4 * size else None
    except OSError:
        return None


def _map_buffers(file: str, work: _Work) -> np.memmap:
    return np.memmap(file, _chunk_type(work.preprocessings), "r+")


_worker: tuple[np.memmap, _Work]  # a worker process's buffers and work


def _start_worker(file: str, work: _Work) -> None:
    global _worker
    _worker = (_map_buffers(file, work), work)


def _decode_into(buffer: int, paths: list[str]) -> list[str]:
    """In a worker process: decode `paths` into the buffer of this number; return the reasons [n]."""
    buffers, work = _worker
    return _decode_chunk(work, paths, buffers[buffer])
