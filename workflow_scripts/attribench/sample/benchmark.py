"""Renders the `sample` benchmark into a folder: images, and the split files that say which image made which."""

import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from attribench.errors import InputError
from attribench.progress import progress

from . import MARKER, SPLIT_FILES
from .fields import to_image
from .roster import (
    Picture,
    SampleSettings,
    all_pictures,
    check_settings,
    draw_picture,
    identity_numbers,
    picture_count,
    split_entry,
    subjects,
)

__all__ = ["SampleSettings", "render_sample"]

_QUALITY = 92
_CHUNK = 16
_FOLDERS = ("exemplar", "synth", "database")


def _render_chunk(root: Path, settings: SampleSettings, pictures: list[Picture]) -> int:
    for picture in pictures:
        path = root / picture.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            to_image(draw_picture(settings, picture)).save(path, "JPEG", quality=_QUALITY)
        except Exception as error:
            raise RuntimeError(f"cannot render {path}: {type(error).__name__}: {error}") from error
    return len(pictures)


def _chunks(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    pictures = iter(pictures)
    while chunk := list(islice(pictures, _CHUNK)):
        yield chunk


def _in_processes(render, chunks: Iterator[list[Picture]], workers: int) -> Iterator[int]:
    """Images finished, chunk by chunk; only a few chunks per worker are ever waiting."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(render, chunk) for chunk in islice(chunks, 3 * workers)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(render, chunk) for chunk in islice(chunks, len(done))}
                for future in done:
                    yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _clear(dataset: Path) -> None:
    """Remove an earlier rendering, and refuse to touch images that are not one."""
    ours = (dataset.parent / MARKER).exists()
    for name in _FOLDERS:
        folder = dataset / name
        if not ours and any(path.is_file() for path in folder.rglob("*")):
            raise InputError(f"{folder} holds files but no rendering of the sample benchmark; choose another root")
        if folder.exists():
            shutil.rmtree(folder)
    for name in SPLIT_FILES:
        (dataset.parent / name).unlink(missing_ok=True)


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def render_sample(root: Path, settings: SampleSettings, workers: int = 1) -> None:
    """Render the benchmark below `root`/dataset, replacing an earlier rendering there.

    The bytes depend on the settings alone, not on `workers`. With workers > 1 the caller's main module is imported
    again by each worker, so a script must call this below `if __name__ == "__main__":`. Split files are written last.
    """
    check_settings(settings)
    if workers < 1:
        raise ValueError(f"workers is {workers!r}; expected at least 1")
    root = Path(root)
    _clear(root / "dataset")
    _write_json(root / MARKER, asdict(settings))
    render, chunks = partial(_render_chunk, root, settings), _chunks(all_pictures(settings))
    counts = map(render, chunks) if workers == 1 else _in_processes(render, chunks, workers)
    done = (None for count in counts for _ in range(count))
    for _ in progress(done, "sample images", picture_count(settings)):
        pass
    for subject, entries in subjects(settings).items():
        for partition, numbers in identity_numbers(entries).items():
            split = [split_entry(settings, subject, partition, number) for number in numbers]
            _write_json(root / "dataset" / "json" / f"{partition}_sample_{subject}.json", split)
