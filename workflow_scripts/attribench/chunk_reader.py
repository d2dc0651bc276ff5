"""Reading rows of a checksummed dataset past HDF5: several times as fast, and without the interpreter lock.

HDF5 checks 2 GB/s, and h5py holds the lock meanwhile, so that a thread which reads ahead stops the others. A quick network
takes more pixels than that. Where the chunks lie is HDF5's to say; reading and checking them is done here.
"""

import os

import h5py
import numpy as np

from attribench.compiled import compiled

_CHECKSUM_BYTES = 4
_MODULUS = 65535
_WORDS = 256  # whose sums, weighted by place, fit into 32 bits


class ChunkReader:
    """Reads rows of a dataset [n, ...] of an open HDF5 file, in chunks of some whole rows and a checksum. Not for threads
    that share it.

    `offsets` int64 [chunks]: where each begins, in bytes. OSError where a chunk is damaged.
    """

    def __init__(self, dataset: h5py.Dataset, offsets: np.ndarray):
        self._file = os.dup(dataset.file.id.get_vfd_handle())  # whatever the file's name stands for by now
        self._offsets, self._dtype, self._shape = offsets, dataset.dtype, dataset.shape
        self._chunk_rows = dataset.chunks[0]
        chunk_bytes = _chunk_bytes(dataset)
        self._bytes = np.zeros(chunk_bytes + _CHECKSUM_BYTES, np.uint8)
        self._rows = self._bytes[:chunk_bytes].reshape(self._chunk_rows, -1)
        self._held = -1  # the chunk that is in `_rows`

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> "ChunkReader | None":
        """The reader of a dataset that is laid out as `shards` does it; None for any other."""
        offsets = _offsets(dataset)
        return None if offsets is None else cls(dataset, offsets)

    def close(self) -> None:
        self._held = -1
        os.close(self._file)
        self._file = -1  # as a number, it may soon be another file's

    def read(self, first: int, last: int) -> np.ndarray:
        """The rows `first` to `last`."""
        rows = np.empty((last - first, *self._shape[1:]), self._dtype)
        if not len(rows):
            return rows
        filled = rows.reshape(len(rows), -1).view(np.uint8)
        for chunk in range(first // self._chunk_rows, -(-last // self._chunk_rows)):
            start = chunk * self._chunk_rows
            a, b = max(first, start), min(last, start + self._chunk_rows)
            filled[a - first : b - first] = self._chunk(chunk)[a - start : b - start]
        return rows

    def _chunk(self, chunk: int) -> np.ndarray:
        """Its rows, as bytes [rows, bytes of a row]. Blocks may cut a chunk, so the last one is kept."""
        if chunk != self._held:
            self._held = -1
            self._fill(int(self._offsets[chunk]))
            if not _is_whole(self._bytes):
                raise OSError(f"the checksum of chunk {chunk} is wrong")
            self._held = chunk
        return self._rows

    def _fill(self, offset: int) -> None:
        into = memoryview(self._bytes)
        while len(into):
            n = os.preadv(self._file, [into], offset)
            if not n:
                raise OSError("the file ends within a chunk")
            into, offset = into[n:], offset + n


def _chunk_bytes(dataset: h5py.Dataset) -> int:
    return int(np.prod(dataset.chunks)) * dataset.dtype.itemsize


def _offsets(dataset: h5py.Dataset) -> np.ndarray | None:
    """Where the chunks of `dataset` begin; None unless each holds whole rows and has a checksum, and no other filter."""
    if dataset.chunks is None or dataset.chunks[1:] != dataset.shape[1:] or not dataset.dtype.isnative:
        return None
    filters, is_able = dataset.id.get_create_plist(), hasattr(dataset.id, "chunk_iter") and hasattr(os, "preadv")
    kinds = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    if kinds != [h5py.h5z.FILTER_FLETCHER32] or dataset.file.userblock_size or not is_able:
        return None
    offsets, size = np.full(-(-dataset.shape[0] // dataset.chunks[0]), -1), _chunk_bytes(dataset) + _CHECKSUM_BYTES

    def note(chunk) -> None:
        if chunk.size == size:  # others were never written, or without their checksum
            offsets[chunk.chunk_offset[0] // dataset.chunks[0]] = chunk.byte_offset

    dataset.id.chunk_iter(note)
    return offsets if (offsets >= 0).all() else None


def _is_whole(chunk: np.ndarray) -> bool:
    """Whether the last 4 of the bytes uint8 [n + 4] are the Fletcher-32 checksum, as HDF5 has it, of those before."""
    n = len(chunk) - _CHECKSUM_BYTES
    data, checksum = chunk[:n], int.from_bytes(chunk[n:].tobytes(), "little")
    if n % 2:
        data = np.append(data, np.uint8(0))
    return fletcher32(data.view(np.uint16)) == (checksum % 2**16, checksum // 2**16)


@compiled
def fletcher32(words):
    """Both sums of Fletcher-32, modulo 65535, of `words` uint16 [n] whose first byte is the higher one.

    Read with the other byte first, as here, a word is 256 times as large, modulo 65535, and so are the sums. A multiple of
    65535 is 0 only if all words are.
    """
    modulus = np.uint64(_MODULUS)
    first = second = np.uint64(0)
    is_zero = True
    for start in range(0, words.shape[0], _WORDS):
        block = words[start : start + _WORDS]
        total = weighted = np.uint32(0)
        for i in range(block.shape[0]):
            word = np.uint32(block[i])
            total = np.uint32(total + word)
            weighted = np.uint32(weighted + np.uint32(block.shape[0] - i) * word)
        second = (second + np.uint64(block.shape[0]) * first + np.uint64(weighted)) % modulus
        first = (first + np.uint64(total)) % modulus
        is_zero &= total == 0
    zero = np.uint64(0) if is_zero else modulus
    first, second = first * np.uint64(256) % modulus, second * np.uint64(256) % modulus
    return first if first else zero, second if second else zero
