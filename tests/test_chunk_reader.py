"""Reading chunks past HDF5: the same bytes as HDF5 gives, and no damage that it would find goes by."""

import h5py
import numpy as np
import pytest
from attribench.chunk_reader import ChunkReader, fletcher32
from attribench.errors import InputError
from attribench.shards import Rows, ShardReader, write_shard

SHAPES = [((1, 1), "uint8"), ((7, 3), "uint8"), ((5000, 515), "uint8"), ((70, 225, 225, 3), "uint8")]
SHAPES += [((3000, 512), "float16"), ((600, 768), "float32"), ((9, 400_000), "float64")]


def write(path, shape, dtype, value=None):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (shape[0], int(np.prod(shape[1:])) * np.dtype(dtype).itemsize), np.uint8)
    if value is not None:
        data[:] = value
    data = data.view(dtype).reshape(shape)
    rows = Rows([str(i) for i in range(len(data))], np.ones(len(data), bool), [""] * len(data))
    with write_shard(path, "data", shape, dtype, rows, {}) as writer:
        writer.append(data)
    return data


@pytest.mark.parametrize("shape, dtype", SHAPES)
def test_any_rows_are_read_as_they_were_written(shape, dtype, tmp_path):
    """Chunks of an odd number of bytes, of one row, the last one not full; slices that cut chunks, and empty ones."""
    data, n = write(tmp_path / "a.h5", shape, dtype), shape[0]
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "a.h5") as file:
        reader = ChunkReader.of(file["data"])
        for first, last in [(0, n), (n, n), (0, 0), (n - 1, n), *np.sort(rng.integers(0, n + 1, (20, 2)))]:
            rows = reader.read(int(first), int(last))
            assert rows.dtype == data.dtype and rows.tobytes() == data[first:last].tobytes()
        reader.close()
    with ShardReader(tmp_path / "a.h5", "data") as shard:
        assert shard._chunks and b"".join(block.tobytes() for block in shard.blocks(3)) == data.tobytes()


@pytest.mark.parametrize("value", [0, 255, 1])
def test_sums_at_the_edge_of_the_modulus(value, tmp_path):
    """All bits set is 0 modulo 65535, and HDF5 tells it from the 0 of zeros: what it finds has to be found, and no more."""
    path, found = tmp_path / "a.h5", []
    data = write(path, (40, 70_001), "uint8", value)
    with ShardReader(path, "data") as shard:
        assert shard._chunks and (shard.read() == data).all()
        chunks = []
        shard.data.id.chunk_iter(chunks.append)
    whole, chunk = path.read_bytes(), chunks[1]
    for first, n in [(0, 2), (512, 512), (1, 1), (0, chunk.size - 4), (chunk.size - 4, 2), (chunk.size - 2, 2)]:
        damaged, part = bytearray(whole), slice(chunk.byte_offset + first, chunk.byte_offset + first + n)
        damaged[part] = bytes(255 - byte for byte in whole[part])
        path.write_bytes(damaged)
        found.append([fails(path, h5py.Dataset.__getitem__), fails(path, lambda shard, _: shard.read())])
    assert all(ours == theirs for theirs, ours in found) and sum(ours for _, ours in found) >= 3


def fails(path, read):
    """Whether reading all of the data gives an error: with h5py itself, or with a shard's reader."""
    with ShardReader(path, "data") as shard:
        try:
            read(shard.data if read is h5py.Dataset.__getitem__ else shard, slice(None))
        except (OSError, InputError):
            return True
    return False


def test_the_sums_are_those_of_the_definition():
    random = np.random.default_rng(0).integers(0, 2**16, 1000).astype(np.uint16)
    for words in (random, np.zeros(300, np.uint16), np.full(300, 65535, np.uint16)):
        for n in (0, 1, 255, 256, 257, 1000):
            first = second = 0
            for word in words[:n].tolist():
                first += word % 256 * 256 + word // 256
                second += first
            # Folded to 16 bits, no sum but 0 becomes 0.
            assert fletcher32(words[:n]) == tuple((total - 1) % 65535 + 1 if total else 0 for total in (first, second))


def test_a_file_that_is_exchanged_or_deleted_is_read_on(tmp_path):
    """As HDF5 does: what was opened is what is read. What is read after closing is an error."""
    path = tmp_path / "a.h5"
    data = write(path, (3000, 512), "float16")
    with ShardReader(path, "data") as shard:
        path.unlink()
        write(path, (3000, 512), "float16", 7)
        assert shard.read().tobytes() == data.tobytes()
        blocks = shard.blocks(3)
        next(blocks)
    with pytest.raises(InputError, match=r"a\.h5: "):
        next(blocks)


def test_every_damaged_byte_is_found_and_the_file_named(tmp_path):
    """Data and checksum; rows of other chunks are read, before and after."""
    path = tmp_path / "a.h5"
    data = write(path, (3000, 512), "float16")
    with h5py.File(path) as file:
        chunks = []
        file["data"].id.chunk_iter(chunks.append)
    whole, chunk = path.read_bytes(), chunks[1]
    rng = np.random.default_rng(0)
    for place in [0, 1, chunk.size - 5, *range(chunk.size - 4, chunk.size), *rng.integers(0, chunk.size, 30)]:
        damaged = bytearray(whole)
        damaged[chunk.byte_offset + place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        with ShardReader(path, "data") as shard:
            for _ in range(2):  # a damaged chunk is not kept for good
                with pytest.raises(InputError, match=r"a\.h5: corrupt.*checksum of chunk 1 is wrong.*make it anew"):
                    shard.read()
            assert shard._data(0, 1000).tobytes() == data[:1000].tobytes()
            assert shard._data(2048, 3000).tobytes() == data[2048:].tobytes()


def test_a_chunk_that_ends_too_early_is_found(tmp_path):
    write(tmp_path / "a.h5", (30, 70_000), "uint8")
    with h5py.File(tmp_path / "a.h5") as file:
        reader = ChunkReader(file["data"], np.array([(tmp_path / "a.h5").stat().st_size - 100] * 3))
        with pytest.raises(OSError, match="ends within a chunk"):
            reader.read(0, 1)
        reader.close()


OTHERS = {
    "no checksum": dict(chunks=(8, 5)),
    "no chunks": dict(),
    "packed": dict(chunks=(8, 5), fletcher32=True, compression="gzip"),
    "columns apart": dict(chunks=(8, 2), fletcher32=True),
    "other bytes first": dict(chunks=(8, 5), fletcher32=True, dtype=">f4"),
}


SPECIAL = ["a chunk never written", "a chunk without its checksum", "something before the file"]


@pytest.mark.parametrize("name", [*OTHERS, *SPECIAL])
def test_other_layouts_are_left_to_hdf5(name, tmp_path):
    path, data = tmp_path / "a.h5", np.arange(100, dtype="float32").reshape(20, 5)
    options = OTHERS.get(name, dict(chunks=(8, 5), fletcher32=True))
    with h5py.File(path, "w", userblock_size=512 if name == "something before the file" else 0) as file:
        dataset = file.create_dataset("data", shape=data.shape, **{"dtype": "f4"} | options)
        n = 8 if name == "a chunk never written" else 20
        dataset[:n] = data[:n]
        if name == "a chunk without its checksum":
            dataset.id.write_direct_chunk((8, 0), data[8:16].tobytes(), filter_mask=1)
        for other, kind in (("valid", "bool"), ("paths", "S1"), ("reasons", "S1")):
            file.create_dataset(other, shape=20, dtype=kind)
        file.attrs["format_version"] = 1
    data[n:] = 0
    with ShardReader(path, "data") as shard:
        assert shard._chunks is None and (shard.read() == data).all()
        assert (np.concatenate(list(shard.blocks(7))) == data).all()
