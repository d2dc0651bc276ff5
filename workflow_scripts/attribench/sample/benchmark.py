"""Draw the `sample` benchmark into a folder: images, and split files with the exemplars of each query."""

import json
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from attribench.common.errors import InputError
from attribench.common.progress import progress
from attribench.sample import MARKER, SPLIT_FILES
from attribench.sample.fields import to_image
from attribench.sample.roster import (
    Picture,
    SampleSettings,
    all_pictures,
    check_settings,
    draw_picture,
    picture_count,
    split_files,
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
    """Yield the number of images of each finished chunk; only a few chunks a worker are ever waiting."""
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
    """Remove an earlier rendering. Raise InputError where other files lie in its folders."""
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

    The bytes depend on the settings alone, not on `workers`, the number of processes. Each of several processes imports the
    caller's main module again, so a script must call this below `if __name__ == "__main__":`. Split files are written
    last. Raises InputError for settings that cannot be drawn, and for a root with files of somebody else.
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
    for path, entries in split_files(settings).items():
        _write_json(root / path, entries)
