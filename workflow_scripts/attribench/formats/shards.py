"""The shard formats: HDF5 files that hold a contiguous slice of a collection, as pixels or as features.

docs/formats.md has the layout. `common.hdf5` writes and checks the checksums, but for those of pixels: HDF5 takes its own in
the one thread that reads, too slowly for a GPU. So pixels lie in one piece, and beside them the CRC-32 of each image.
"""

import json
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import h5py
import numpy as np

from attribench.common.errors import InputError
from attribench.common.hdf5 import (
    REMEDY,
    add_array,
    add_dataset,
    add_texts,
    create,
    damage_as_input_error,
    open_checked,
    read_array,
    read_texts,
)
from attribench.common.prefetch import read_ahead

FORMAT_VERSION = 1
NORM_FLOOR = 1e-12  # shorter rows are not blown up to unit length
_PIXELS = "pixels/"
IMPORTED = "imported"  # what imported features have for weights and preprocessing


@dataclass(frozen=True)
class FeatureIdentity:
    """Hold how features were made: what two of them must share to be compared."""

    extractor: str
    dimension: int
    weights: str
    preprocessing: str
    precision: str

    def difference(self, other: "FeatureIdentity") -> str | None:
        """Return, as text, what keeps features of `self` and `other` from being compared; None when nothing does.

        Imported features do not say how they were made, so only their extractor and dimension are compared.
        """
        names = [field.name for field in fields(self)]
        if IMPORTED in (self.weights, other.weights):
            names = ["extractor", "dimension"]
        differing = [name for name in names if getattr(self, name) != getattr(other, name)]
        return ", ".join(f"{n} {getattr(self, n)!r} against {getattr(other, n)!r}" for n in differing) or None


@dataclass(frozen=True)
class Rows:
    """Hold what a shard says of its rows beside their data: paths [n]; valid bool [n]; reasons [n], empty where valid."""

    paths: list[str]
    valid: np.ndarray
    reasons: list[str]

    @classmethod
    def all_valid(cls, paths: list[str]) -> "Rows":
        """Return the rows of `paths`, all of them valid."""
        return cls(paths, np.ones(len(paths), bool), [""] * len(paths))


# --- writing ----------------------------------------------------------------------------------------------------------


class ShardWriter:
    """Write blocks of rows, one after the other, into a new dataset `name` [n, ...] of a shard."""

    def __init__(self, file: h5py.File, name: str, shape: tuple[int, ...], dtype: str):
        self._checksums: h5py.Dataset | None = None
        if name.startswith(_PIXELS):
            self._dataset = file.create_dataset(name, shape, dtype)
            self._checksums = add_dataset(file, _checksums_name(name), shape[:1], "uint32")
        else:
            self._dataset = add_dataset(file, name, shape, dtype)
        self._filled = 0

    def append(self, block: np.ndarray) -> None:
        """Write the next rows: `block` [b, ...] of the dataset's row shape."""
        rows = slice(self._filled, self._filled + len(block))
        self._dataset[rows] = block
        if self._checksums is not None:
            self._checksums[rows] = _row_checksums(block)
        self._filled += len(block)

    def check_full(self) -> None:
        """Raise RuntimeError unless all rows were written."""
        if self._filled != len(self._dataset):
            raise RuntimeError(f"{self._filled} rows were written into a shard of {len(self._dataset)}")


@contextmanager
def write_shard(
    path: Path | str, name: str, shape: tuple[int, ...], dtype: str, rows: Rows, attributes: dict
) -> Iterator[ShardWriter]:
    """Make a shard with one dataset `name` of `shape` [n, ...], filled by the yielded writer; see `write_datasets`."""
    with write_datasets(path, {name: shape}, dtype, rows, attributes) as writers:
        yield writers[name]


@contextmanager
def write_datasets(
    path: Path | str, shapes: dict[str, tuple[int, ...]], dtype: str, rows: Rows, attributes: dict
) -> Iterator[dict[str, ShardWriter]]:
    """Make the shard at `path`, atomically: a dataset [n, ...] for each name of `shapes`, and `rows`.

    The yielded writers, by name, fill the datasets. `rows` are stored when the block ends, so their `valid` and `reasons`
    may be filled while it runs.
    """
    with create(path, format_version=FORMAT_VERSION, **attributes) as file:
        writers = {name: ShardWriter(file, name, shape, dtype) for name, shape in shapes.items()}
        yield writers
        for writer in writers.values():
            writer.check_full()
        add_texts(file, "paths", rows.paths)
        add_texts(file, "reasons", rows.reasons)
        add_array(file, "valid", rows.valid)


def _row_checksums(block: np.ndarray) -> np.ndarray:
    """Return the CRC-32 of each row's bytes, uint32 [n]."""
    return np.array([zlib.crc32(row) for row in np.ascontiguousarray(block)], np.uint32)


def first_bad_row(features: np.ndarray) -> tuple[int, str] | None:
    """Return the first of `features` [n, d] that cannot be compared, and why; None if all can.

    A row of zeros has no direction; arrays that were never filled have such rows. By the definition of a score, rows shorter
    than NORM_FLOOR have none either.
    """
    finite = np.isfinite(features).all(axis=1)
    largest = np.maximum(features.max(axis=1, initial=0), -features.min(axis=1, initial=0))
    short = largest.astype(np.float64) < NORM_FLOOR  # which a float16 would round to 0
    short[short] = np.linalg.norm(features[short].astype(np.float64), axis=1) < NORM_FLOOR
    if finite.all() and not short.any():
        return None
    row = int(np.argmax(~finite | short))
    if not finite[row]:
        return row, "holds NaN or Inf"
    return row, f"is shorter than {NORM_FLOOR:g}" if features[row].any() else "is all 0"


def feature_attributes(
    identity: FeatureIdentity, collection: str, first_row: int, key: str, versions: dict[str, str]
) -> dict:
    """Return the attributes of a feature shard."""
    return {
        "key": key,
        "collection": collection,
        "first_row": first_row,
        "versions": json.dumps(versions, sort_keys=True),
        **asdict(identity),
    }


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShardReader:
    """Read an open shard, in one thread at a time. Every fault of the file is an InputError that names it."""

    path: Path
    data: h5py.Dataset  # [n, ...]
    rows: Rows
    checksums: np.ndarray | None  # of pixels: the CRC-32 of each row, uint32 [n]

    @property
    def identity(self) -> FeatureIdentity:
        """Return how the features were made (feature shards only)."""
        names = [field.name for field in fields(FeatureIdentity)]
        with damage_as_input_error(self.path):
            attributes = dict(self.data.file.attrs)
        if missing := [name for name in names if name not in attributes]:
            raise InputError(f"{self.path}: has no attribute {', '.join(missing)}; expected a feature shard")
        dimension = int(attributes["dimension"])
        if self.data.ndim != 2 or self.data.shape[1] != dimension:
            raise InputError(f"{self.path}: features are {self.data.shape}; expected [n, {dimension}]")
        return FeatureIdentity(**{name: attributes[name] for name in names} | {"dimension": dimension})

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield the data in order, `rows` rows at a time."""
        starts = range(0, len(self.data), rows)
        blocks = (read_array(self.data, slice(start, start + rows)) for start in starts)
        if self.checksums is None:
            yield from blocks
            return
        # Reading goes on while checksums are taken: both together would keep a GPU waiting.
        with closing(read_ahead(blocks, 2)) as ahead:
            for start, block in zip(starts, ahead, strict=True):
                wrong = np.flatnonzero(_row_checksums(block) != self.checksums[start : start + rows])
                if len(wrong):
                    fault = f"a checksum or a chunk is wrong: row {start + wrong[0]}"
                    raise InputError(f"{self.path}: corrupt ({fault}); {REMEDY}")
                yield block

    def read(self) -> np.ndarray:
        """Return all the data."""
        return next(self.blocks(max(1, len(self.data))), self.data[:0])


@contextmanager
def open_shard(path: Path | str, name: str) -> Iterator[ShardReader]:
    """Open the shard at `path` to read its dataset `name`.

    Raises InputError for a file that is missing or damaged, or no such shard.
    """
    with open_checked(path, "shard") as file:
        with damage_as_input_error(path):
            checksums = _checksums_name(name) if name.startswith(_PIXELS) else None
            _check_layout(path, file, [name, *([checksums] if checksums else [])])
            rows = _read_rows(path, file, len(file[name]))
            reader = ShardReader(Path(path), file[name], rows, read_array(file[checksums]) if checksums else None)
        yield reader


def _check_layout(path: Path | str, file: h5py.File, names: list[str]) -> None:
    missing = [dataset for dataset in (*names, "paths", "valid", "reasons") if dataset not in file]
    if missing:
        raise InputError(f"{path}: has no dataset {', '.join(missing)}; expected a shard of {names[0]}")
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: format version is {version}; expected {FORMAT_VERSION}")


def _read_rows(path: Path | str, file: h5py.File, n: int) -> Rows:
    """Return what the shard says of its rows. Raises InputError unless there are `n` of each."""
    rows = Rows(read_texts(file["paths"]).tolist(), read_array(file["valid"]), read_texts(file["reasons"]).tolist())
    counts = {"data": n, "paths": len(rows.paths), "valid": len(rows.valid), "reasons": len(rows.reasons)}
    if len(set(counts.values())) != 1:
        raise InputError(f"{path}: row counts differ: {counts}; {REMEDY}")
    return rows


def open_feature_shard(path: Path | str) -> AbstractContextManager[ShardReader]:
    """Open the feature shard at `path`."""
    return open_shard(path, "features")


def pixels_name(preprocessing: str) -> str:
    """Return the name of the dataset of a pixel shard with the images after `preprocessing` (its canonical text)."""
    return _PIXELS + preprocessing


def _checksums_name(name: str) -> str:
    """Return the name of the dataset of the checksums of the pixels `name`."""
    return name.replace(_PIXELS, "crc32/", 1)


def has_pixels(path: Path | str, preprocessing: str) -> bool:
    """Return whether the pixel shard at `path` has the images after `preprocessing` (its canonical text)."""
    with open_checked(path, "shard") as file, damage_as_input_error(path):
        return pixels_name(preprocessing) in file


def invalid_images(path: Path | str, rows: int | None = None) -> list[tuple[str, str]]:
    """Return path and reason of each invalid image among the first `rows` (None: all) of a shard."""
    with open_checked(path, "shard") as file, damage_as_input_error(path):
        invalid = np.flatnonzero(~read_array(file["valid"])[:rows])
        if not len(invalid):  # as nearly always: texts take longer
            return []
        paths, reasons = read_texts(file["paths"]), read_texts(file["reasons"])
        return [(paths[row], reasons[row]) for row in invalid]


def open_pixel_shard(path: Path | str, preprocessing: str) -> AbstractContextManager[ShardReader]:
    """Open the images after `preprocessing` (its canonical text) in the pixel shard at `path`."""
    return open_shard(path, pixels_name(preprocessing))
