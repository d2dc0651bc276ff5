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


def shard_slice(n_rows: int, shard: str) -> slice:
    """Return which of a collection's `n_rows` rows the shard named `IIIII-of-NNNNN` holds.

    The slices of a collection's shards follow one another, and their sizes differ by at most one.
    """
    number, count = map(int, shard.split("-of-"))
    return slice(n_rows * number // count, n_rows * (number + 1) // count)


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


def shard_paths(manifest: Path | str, shard: str) -> Slice:
    """Read the part of a manifest that the shard named `IIIII-of-NNNNN` holds."""
    rows = shard_slice(manifest_length(manifest), shard)
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
