"""Thumbnails: a small square file of each image that the gallery shows."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from attribench.common.errors import InputError
from attribench.common.progress import progress
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.reading import Reading

_QUALITY = 62


def thumbnail_name(path: str) -> str:
    """Return the name of the thumbnail of the image at `path`: a digest of the path, in a folder by its first digits."""
    digest = hashlib.sha256(path.encode()).hexdigest()[:20]
    return f"{digest[:2]}/{digest[2:]}.webp"


def write_thumbnails(
    folder: Path | str, sizes: Mapping[str, int], root: Path | str, reading: Reading, threads: int = 1
) -> list[str]:
    """Write a thumbnail of each image into `folder`, cut from the middle of the image as extractors do.

    sizes: the side in pixels, by the image's path below `root`. Returns each image's thumbnail, in order: its name, or ""
    where the image is not there or cannot be read.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write = partial(_write_one, folder, Path(root), reading)
    with ThreadPoolExecutor(threads) as pool:
        return list(progress(pool.map(write, sizes.keys(), sizes.values()), "thumbnails", len(sizes)))


def _write_one(folder: Path, root: Path, reading: Reading, path: str, size: int) -> str:
    try:
        small = reading.square(root / path, size)
    except (InputError, UnreadableImage):
        return ""
    name = thumbnail_name(path)
    (folder / name).parent.mkdir(exist_ok=True)
    small.save(folder / name, "WEBP", quality=_QUALITY, method=4)
    return name
