"""Manifests: the list of a collection's images, as one CSV table; and how a collection is cut into shards."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from attribench.common.errors import InputError
from attribench.common.tables_io import write_rows
from attribench.common.text_files import csv_rows, read_lines


class ManifestRow(NamedTuple):
    """Hold one image of a collection; `entry` is the entry's number in the split file, None for a database image."""

    path: str
    role: str
    entry: int | None = None
    prompt_type: str = ""
    class_id: str = ""
    category: str = ""


def cut_of(n_images: int, earlier: int | None) -> int:
    """Return the number by which a collection of `n_images` is cut into shards: the `earlier` one while it is about right.

    So images that are removed at the end, or a few that come, leave all shards before them as they are. At worst, half of
    the shards are empty, or the last one of a thousand is twice as large as the others.
    """
    is_about_right = earlier is not None and earlier / 2 <= n_images <= earlier + earlier // 1000
    return earlier if is_about_right else n_images


def shard_slice(n_rows: int, shard: str, cut: int | None = None) -> slice:
    """Return which of a collection's `n_rows` rows the shard named `IIIII-of-NNNNN` holds.

    The slices of a collection's shards follow one another. Of `cut` rows (None: all), their sizes would differ by at most
    one; if there are fewer, the last slices are shorter, and if there are more, the last one is longer.
    """
    number, count = map(int, shard.split("-of-"))
    cut = n_rows if cut is None else cut
    stop = n_rows if number + 1 == count else cut * (number + 1) // count
    return slice(min(cut * number // count, n_rows), min(stop, n_rows))


def shard_names(count: int) -> list[str]:
    """Return the names of a collection's shards: `00000-of-00002`, …"""
    return [f"{i:05d}-of-{count:05d}" for i in range(count)]


def read_list_file(path: Path | str) -> list[str]:
    r"""Return the paths in a list file: UTF-8 text, one per line, blank lines ignored.

    Only a line's end ends a path (`\n`, or `\r\n` throughout): spaces and other characters are part of it.
    """
    paths = read_lines(path, "list file", "one image path per line")
    if not paths:
        raise InputError(f"{path}: lists no image; expected one path per line")
    return paths


def write_manifest(path: Path | str, rows: list[ManifestRow]) -> None:
    """Write `rows` as CSV, atomically."""
    write_rows(path, chain([ManifestRow._fields], rows))


def read_manifest(path: Path | str) -> list[ManifestRow]:
    """Return the rows that `write_manifest` wrote."""
    records = _read_records(path)
    return [ManifestRow(image, role, int(entry) if entry else None, *rest) for image, role, entry, *rest in records]


def manifest_length(path: Path | str) -> int:
    """Return the number of rows of a manifest, without keeping them."""
    return sum(1 for _ in _read_records(path))


class Slice(NamedTuple):
    """Hold a shard's part of a collection: the paths of its images, and the row of the first one in the manifest."""

    paths: list[str]
    first_row: int


def shard_paths(manifest: Path | str, shard: str, cut: int | None = None) -> Slice:
    """Read the part of a manifest that the shard named `IIIII-of-NNNNN` holds; `cut` as for `shard_slice`."""
    rows = shard_slice(manifest_length(manifest), shard, cut)
    return Slice(list(islice(manifest_paths(manifest), rows.start, rows.stop)), rows.start)


def manifest_paths(path: Path | str) -> Iterator[str]:
    """Yield the paths of the images of a manifest, in order, without keeping them."""
    return (record[0] for record in _read_records(path))


def _read_records(path: Path | str) -> Iterator[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv_rows(file, path, "a manifest")
        _, header = next(rows, (0, None))
        if header != list(ManifestRow._fields):
            raise InputError(f"{path}: columns are {header}; expected {list(ManifestRow._fields)}")
        yield from (fields for _, fields in rows)
