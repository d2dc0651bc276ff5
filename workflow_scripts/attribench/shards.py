"""The shard formats: HDF5 files that hold a contiguous slice of a collection, as pixels or as features.

Every chunk carries a Fletcher-32 checksum, so a damaged file is found when it is read. docs/formats.md has the layout.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from attribench.errors import InputError
from attribench.files import atomic_path

FORMAT_VERSION = 1
IMPORTED = "imported"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FeatureIdentity:
    """What two features must share to be compared: how they were made."""

    extractor: str
    dimension: int
    weights: str
    preprocessing: str
    precision: str

    def difference(self, other: "FeatureIdentity") -> str | None:
        """What keeps features of `self` and `other` from being compared, as text; None when nothing does.

        Imported features do not say how they were made, so only extractor and dimension can be held against them.
        """
        names = [field.name for field in fields(self)]
        if IMPORTED in (self.weights, other.weights):
            names = ["extractor", "dimension"]
        differing = [name for name in names if getattr(self, name) != getattr(other, name)]
        return ", ".join(f"{n} {getattr(self, n)!r} against {getattr(other, n)!r}" for n in differing) or None


@dataclass(frozen=True)
class Rows:
    """The rows of a shard beside their data: paths [n]; valid bool [n]; reasons [n], empty where valid."""

    paths: list[str]
    valid: np.ndarray
    reasons: list[str]


class ShardWriter:
    """Writes blocks of rows into one dataset [n, ...] of a shard; made by `write_shard` and `write_datasets`."""

    def __init__(self, dataset: h5py.Dataset):
        self._dataset = dataset
        self._filled = 0

    def append(self, block: np.ndarray) -> None:
        """Write the next rows: `block` [b, ...] of the dataset's row shape."""
        self._dataset[self._filled : self._filled + len(block)] = block
        self._filled += len(block)

    def check_full(self) -> None:
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

    The yielded writers, by name, fill them. `rows.valid` and `rows.reasons` are stored when the block ends, so they may be
    filled while it runs.
    """
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", libver=("v110", "v110")) as file:
            writers = {name: ShardWriter(_dataset(file, name, shape, dtype)) for name, shape in shapes.items()}
            yield writers
            for writer in writers.values():
                writer.check_full()
            _strings(file, "paths", rows.paths)
            _strings(file, "reasons", rows.reasons)
            _dataset(file, "valid", (len(rows.paths),), "bool")[:] = rows.valid
            for key, value in {"format_version": FORMAT_VERSION, **attributes}.items():
                file.attrs[key] = value


def _dataset(file: h5py.File, name: str, shape: tuple[int, ...], dtype) -> h5py.Dataset:
    """A checksummed dataset in chunks of at most a megabyte; HDF5 allows no chunks in an empty one.

    A chunk is a power of two of rows, so that batches seldom cut one: a chunk is checked whole each time it is read.
    """
    if 0 in shape:
        return file.create_dataset(name, shape, dtype)
    row_bytes = max(1, int(np.prod(shape[1:])) * np.dtype(dtype).itemsize)
    rows = 1 << max(0, (_CHUNK_BYTES // row_bytes).bit_length() - 1)
    return file.create_dataset(name, shape, dtype, chunks=(min(rows, shape[0]), *shape[1:]), fletcher32=True)


def _strings(file: h5py.File, name: str, values: list[str]) -> None:
    """Strings of one fixed length, because HDF5 checksums no others."""
    encoded = [value.encode() for value in values] if any(values) else []  # reasons seldom are
    dtype = h5py.string_dtype("utf-8", max(map(len, encoded), default=0) or 1)
    strings = np.array(encoded, dtype) if encoded else np.zeros(len(values), dtype)
    _dataset(file, name, (len(values),), dtype)[:] = strings


def _texts(values: np.ndarray) -> list[str]:
    """The strings that `_strings` wrote, decoded all at once: there may be hundreds of thousands, none with a zero byte."""
    if values.dtype.kind == "S" and not values.view(np.uint8).any():
        return [""] * len(values)
    return b"\0".join(values.tolist()).decode().split("\0") if len(values) else []


def _plain(value):
    """An attribute as a number of Python's, where HDF5 gives one of numpy's."""
    return value.item() if isinstance(value, np.generic) else value


def feature_attributes(identity: FeatureIdentity, collection: str, first_row: int, versions: dict[str, str]) -> dict:
    """The attributes of a feature shard."""
    return {
        "collection": collection,
        "first_row": first_row,
        "versions": json.dumps(versions, sort_keys=True),
        **asdict(identity),
    }


class ShardReader:
    """An open shard, for one thread at a time. Use it as a context manager; every fault of the file is an InputError that
    names it."""

    def __init__(self, path: Path | str, name: str):
        self.path = Path(path)
        self._open = ExitStack()
        try:
            self._file = self._open.enter_context(h5py.File(path, "r"))
        except FileNotFoundError:
            raise InputError(f"{path}: the shard does not exist") from None
        except OSError as error:
            raise InputError(f"{path}: not a readable HDF5 file ({error}); {_REMEDY}") from error
        try:
            missing = [dataset for dataset in (name, "paths", "valid", "reasons") if dataset not in self._file]
            if missing:
                raise InputError(f"{path}: has no dataset {', '.join(sorted(missing))}; expected a shard of {name}")
            version = self._file.attrs.get("format_version")
            if version != FORMAT_VERSION:
                raise InputError(f"{path}: format version is {version}; expected {FORMAT_VERSION}")
            self.data = self._file[name]
            self.rows = self._read_rows()
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> "ShardReader":
        return self

    def __exit__(self, *_) -> None:
        self._open.close()

    def _read_rows(self) -> Rows:
        with self._named_faults():
            valid = self._file["valid"][:]
            paths, reasons = (_texts(self._file[name][:]) for name in ("paths", "reasons"))
        counts = {"data": len(self.data), "paths": len(paths), "valid": len(valid), "reasons": len(reasons)}
        if len(set(counts.values())) != 1:
            raise InputError(f"{self.path}: row counts differ: {counts}; {_REMEDY}")
        return Rows(paths, valid, reasons)

    @contextmanager
    def _named_faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"{self.path}: corrupt (a checksum or a chunk is wrong: {error}); {_REMEDY}") from error

    @property
    def identity(self) -> FeatureIdentity:
        """How the features were made (feature shards only)."""
        attributes = self._file.attrs
        missing = [field.name for field in fields(FeatureIdentity) if field.name not in attributes]
        if missing:
            raise InputError(f"{self.path}: has no attribute {', '.join(missing)}; expected a feature shard")
        identity = FeatureIdentity(**{field.name: _plain(attributes[field.name]) for field in fields(FeatureIdentity)})
        if self.data.ndim != 2 or self.data.shape[1] != identity.dimension:
            raise InputError(f"{self.path}: features are {self.data.shape}; expected [n, {identity.dimension}]")
        return identity

    def blocks(self, rows: int, part: slice = slice(None)) -> Iterator[np.ndarray]:
        """The data of the rows `part` in order, `rows` rows at a time."""
        first, last, _ = part.indices(len(self.data))
        for start in range(first, last, rows):
            yield self._data(start, min(start + rows, last))

    def read(self) -> np.ndarray:
        """All the data."""
        return self._data(0, len(self.data))

    def _data(self, first: int, last: int) -> np.ndarray:
        with self._named_faults():
            return self._chunks.read(first, last) if self._chunks else self.data[first:last]

    @cached_property
    def _chunks(self):
        """What reads the data quickly; None if they lie in another way than those of `write_datasets`."""
        # Here, because a stage that only writes shards starts sooner without compiled loops.
        from attribench.chunk_reader import ChunkReader

        reader = ChunkReader.of(self.data)
        if reader:
            self._open.callback(reader.close)
        return reader


_REMEDY = "delete it and run again to make it anew"


def feature_shard(path: Path | str) -> ShardReader:
    """Open the feature shard at `path`."""
    return ShardReader(path, "features")


def pixels_name(preprocessing: str) -> str:
    """The dataset of a pixel shard that holds the images after `preprocessing` (its canonical text)."""
    return f"pixels/{preprocessing}"


def holds_pixels(path: Path | str, key: str, preprocessings: list[str]) -> bool:
    """Whether the file at `path` is a pixel shard made with `key` that has all of `preprocessings` (canonical texts)."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("key") == key and all(pixels_name(text) in file for text in preprocessings)
    except OSError:
        return False


def pixel_shard(path: Path | str, preprocessing: str) -> ShardReader:
    """Open the pixels after `preprocessing` (its canonical text) in the pixel shard at `path`."""
    return ShardReader(path, pixels_name(preprocessing))
