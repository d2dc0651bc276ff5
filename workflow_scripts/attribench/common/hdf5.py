"""Checksummed HDF5 files: written whole or not at all, and read so that damage is found and the file named.

Every chunk carries a Fletcher-32 checksum. Equal content gives equal bytes: the version of the format is fixed, no times are
stored, and the texts of a dataset have one fixed length, because HDF5 checksums no others.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from attribench.common.errors import InputError
from attribench.common.files import atomic_path

_CHUNK_BYTES = 1 << 20
REMEDY = "delete it and run again to make it anew"


@contextmanager
def create(path: Path | str, **attributes: object) -> Iterator[h5py.File]:
    """Yield a new HDF5 file with `attributes`, which is at `path` once the block has ended well; see `atomic_path`."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        file.attrs.update(attributes)
        yield file


def add_dataset(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: object, compressed: bool = False
) -> h5py.Dataset:
    """Add a dataset to be filled, in checksummed chunks of at most a megabyte (or one row); an empty one has no chunks.

    A chunk is a power of two of rows, so that batches seldom cut one: a chunk is checked whole each time it is read.
    """
    if 0 in shape:
        return file.create_dataset(name, shape, dtype)
    row_bytes = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
    rows = 1 << max(0, (_CHUNK_BYTES // row_bytes).bit_length() - 1)
    packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compressed else {}
    return file.create_dataset(name, shape, dtype, chunks=(min(rows, shape[0]), *shape[1:]), fletcher32=True, **packing)


def add_array(file: h5py.File, name: str, values: np.ndarray, compressed: bool = False) -> None:
    """Add a dataset that holds the numbers `values`, of any shape but that of a scalar."""
    add_dataset(file, name, values.shape, values.dtype, compressed)[...] = values


def add_texts(file: h5py.File, name: str, values: np.ndarray | list[str]) -> None:
    """Add a dataset that holds the texts `values`, of any shape but that of a scalar, as UTF-8 of one fixed length."""
    texts = np.asarray(values, dtype=object)
    encoded = [text.encode() for text in texts.ravel()]
    dtype = h5py.string_dtype("utf-8", max(map(len, encoded), default=0) or 1)
    add_array(file, name, np.array(encoded, dtype).reshape(texts.shape))


@contextmanager
def open_checked(path: Path | str, what: str) -> Iterator[h5py.File]:
    """Yield the HDF5 file at `path`, open for reading. Raises InputError, calling it `what`, when it cannot be opened."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise InputError(f"{path}: the {what} does not exist") from None
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file ({error}); {REMEDY}") from error
    with file:
        yield file


def refuse_other_files(path: Path | str, file: h5py.File, names: Iterable[str]) -> None:
    """Raise InputError if a dataset of `names` has its data in another file, which no fingerprint of `path` would cover."""
    for name in names:
        dataset = file[name]
        is_elsewhere = dataset.file.filename != file.filename or bool(dataset.external) or dataset.is_virtual
        if is_elsewhere:
            raise InputError(
                f"{path}: `{name}` lies in another file (a link, or a virtual dataset); expected it in this one"
            )


def require_datasets(path: Path | str, file: h5py.File, names: Iterable[str]) -> None:
    """Raise InputError that names `path` if `file` lacks one of the datasets `names`."""
    if missing := [name for name in names if name not in file]:
        raise InputError(f"{path}: lacks a dataset ({', '.join(missing)}); {REMEDY}")


@contextmanager
def damage_as_input_error(path: Path | str) -> Iterator[None]:
    """Raise InputError that names `path` for the damage that HDF5 finds while the block reads that file.

    Check first that a dataset is there: one that is missing looks like damage.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: corrupt (a checksum or a chunk is wrong: {error}); {REMEDY}") from error


def read_array(dataset: h5py.Dataset, rows: slice = slice(None)) -> np.ndarray:
    """Read the `rows` of a dataset; damage is an InputError."""
    with damage_as_input_error(dataset.file.filename):
        return dataset[rows]


def read_texts(dataset: h5py.Dataset) -> np.ndarray:
    """Read the texts that `add_texts` wrote, as an array of `str`; damage is an InputError."""
    with damage_as_input_error(dataset.file.filename):
        values = dataset[()]
        return np.array([value.decode() for value in values.ravel().tolist()], object).reshape(values.shape)
