"""Rows of an array that lies in a file, read with little memory however large the file is.

An array that lies in the file as in memory is mapped. Pages of a mapping count as the process's memory from the first
read on, so they are given back after each read; read again they come from the system's cache, or from the disk.
"""

import ctypes
import mmap
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from attribench.errors import InputError
from attribench.files import is_full_disk

READ_BYTES = 1 << 20  # of rows in memory at a time
# Rows read one by one before their pages are given back: around each, the system may map half a megabyte.
_SCATTERED_ROWS = 4
# What a type of the file becomes in a shard.
READ_AS = {"float16": "float16", "bfloat16": "float32", "float32": "float32", "float64": "float32"}


class FeatureRows(Protocol):
    """Features [n, d] in a file: `kind` is the type they have there, a key of READ_AS once the file is checked."""

    shape: tuple[int, ...]
    kind: str

    def read(self, index: np.ndarray) -> np.ndarray:
        """The rows `index` (int64 [k], rising), as READ_AS has it: float16 or float32 [k, d]."""


class MappedRows:
    """Rows of `array` [n, d]; of kind bfloat16, it holds their bits as uint16.

    mapping: address and bytes of the read-only mapping of a file that `array` lies in; None: it lies in memory.
    """

    def __init__(self, array: np.ndarray, kind: str, mapping: tuple[int, int] | None):
        self.shape, self.kind = array.shape, kind
        self._array, self._mapping = array, mapping

    def read(self, index: np.ndarray) -> np.ndarray:
        rows = np.empty((len(index), *self.shape[1:]), READ_AS[self.kind])
        row_bytes = self._array.dtype.itemsize * int(np.prod(self.shape[1:]))
        step = max(1, READ_BYTES // row_bytes)
        if not _is_run(index):
            step = min(step, _SCATTERED_ROWS)
        for start in range(0, len(index), step):
            part = index[start : start + step]
            chosen = self._array[int(part[0]) : int(part[-1]) + 1] if _is_run(part) else self._array[part]
            _convert(chosen, self.kind, rows[start : start + step])
            if self._mapping:
                _give_back(*self._mapping)
        return rows


class Hdf5Rows:
    """Rows of the HDF5 dataset [n, d] of the file `path`.

    Those that do not follow one another are read from a copy, made in `scratch` once: HDF5 would unpack a whole chunk for
    each row.
    """

    def __init__(self, path: Path, dataset: Any, scratch: Path, stack: ExitStack):
        self.shape, self.kind = dataset.shape, dataset.dtype.name
        self._path, self._dataset, self._scratch, self._stack = path, dataset, scratch, stack
        self._copy: MappedRows | None = None

    def read(self, index: np.ndarray) -> np.ndarray:
        if _is_run(index):
            rows = np.empty((len(index), *self.shape[1:]), READ_AS[self.kind])
            _convert(self._slice(int(index[0]), int(index[-1]) + 1), self.kind, rows)
            return rows
        if self._copy is None:
            file = _filled_file(self._path, self._scratch, self._stack, self._write_copy)
            self._copy = map_npy(self._path, file, 0)
        return self._copy.read(index)

    def _slice(self, start: int, stop: int) -> np.ndarray:
        try:
            return self._dataset[start:stop]
        except OSError as error:
            raise InputError(f"{self._path}: rows {start} to {stop - 1} are damaged ({error})") from error

    def _write_copy(self, file: IO[bytes]) -> None:
        header = {"descr": self._dataset.dtype.str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(file, header)
        step = max(1, READ_BYTES // max(1, self._dataset.dtype.itemsize * self.shape[1]))
        for start in range(0, len(self._dataset), step):
            file.write(self._slice(start, min(start + step, len(self._dataset))).tobytes())


class PackedRows:
    """Rows of a compressed member of the zip file `path`, in numpy's format; unpacked into `scratch` at the first read."""

    def __init__(self, path: Path, member: str, scratch: Path, stack: ExitStack):
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            self.shape, _, dtype = read_npy_header(path, stream)
        self.kind = dtype.name
        self._path, self._member, self._scratch, self._stack = path, member, scratch, stack
        self._rows: MappedRows | None = None

    def read(self, index: np.ndarray) -> np.ndarray:
        if self._rows is None:
            file = _filled_file(self._path, self._scratch, self._stack, self._unpack)
            self._rows = map_npy(self._path, file, 0)
        return self._rows.read(index)

    def _unpack(self, file: IO[bytes]) -> None:
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(self._member) as stream:
                shutil.copyfileobj(stream, file, READ_BYTES)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(
                f"{self._path}: {self._member} is damaged ({error}); expected a whole .npz file"
            ) from error


def _filled_file(path: Path, scratch: Path, stack: ExitStack, fill: Callable[[IO[bytes]], None]) -> IO[bytes]:
    """A file in the folder `scratch`, filled from the file `path`.

    It has no name and is gone when `stack` closes, or when the process ends in whatever way.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
    try:
        fill(file)
        file.flush()
    except OSError as error:
        if is_full_disk(error):
            raise InputError(f"{path}: could not be unpacked into {scratch}, the disk is full ({error})") from error
        raise
    return file


def read_npy_header(path: Path, stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type of the array in numpy's format that begins at `stream`'s position.

    Leaves `stream` where its data begin. Raises InputError, naming `path`, for anything else, and for Python objects.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, dtype = read(stream)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not an array in numpy's format ({error}); expected floating point [n, d]") from error
    if dtype.hasobject:
        raise InputError(f"{path}: the array holds Python objects; expected floating point [n, d]")
    return shape, columns_first, dtype


def map_npy(path: Path, file: Any, offset: int) -> MappedRows:
    """The rows of the array in numpy's format that begins at byte `offset` of the open `file`, mapped."""
    file.seek(offset)
    shape, columns_first, dtype = read_npy_header(path, file)
    if not np.prod(shape):
        return MappedRows(np.empty(shape, dtype), dtype.name, None)
    order = "F" if columns_first else "C"
    try:
        array = np.memmap(file, dtype, "r", file.tell(), shape, order)
    except ValueError as error:
        raise InputError(f"{path}: cannot be mapped ({error}); expected a whole file of {shape} {dtype}") from error
    return MappedRows(np.asarray(array), dtype.name, (array.ctypes.data, array.nbytes))


def _is_run(index: np.ndarray) -> bool:
    """Whether the rising row numbers follow one another."""
    return len(index) > 0 and int(index[-1]) - int(index[0]) + 1 == len(index)


def _convert(values: np.ndarray, kind: str, out: np.ndarray) -> None:
    """Write `values` of `kind` into `out`; what does not fit becomes infinite."""
    if kind == "bfloat16":  # the upper half of a float32
        out.view(np.uint32)[...] = values
        out.view(np.uint32)[...] <<= 16
        return
    with np.errstate(over="ignore"):
        out[...] = values


_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def _give_back(address: int, size: int) -> None:
    """Drop the pages of a clean file mapping from the process's memory. Its whole pages: they belong to nothing else."""
    first = address // mmap.PAGESIZE * mmap.PAGESIZE
    _libc.madvise(first, address + size - first, mmap.MADV_DONTNEED)
