"""Shards: what is written is read, equal content is equal bytes, and a damaged file is refused by name."""

import h5py
import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.formats.shards import (
    FeatureIdentity,
    Rows,
    feature_attributes,
    open_feature_shard,
    open_pixel_shard,
    open_shard,
    pixels_name,
    write_shard,
)

N = 300
IDENTITY = FeatureIdentity("clip", 512, "ViT-B-32", "bicubic-224-224", "float32")
ROWS = Rows([f"日本/{i}.jpg" for i in range(N)], np.arange(N) != 7, ["truncated" * (i == 7) for i in range(N)])
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 65, 65, 3), np.uint8)
FEATURES = np.random.default_rng(1).normal(size=(N, 512)).astype(np.float32)


def write(path, name, data, attributes=None, rows=ROWS, block=64):
    with write_shard(path, name, data.shape, str(data.dtype), rows, attributes or {}) as writer:
        for start in range(0, len(data), block):
            writer.append(data[start : start + block])


def write_features(path):
    write(path, "features", FEATURES, feature_attributes(IDENTITY, "c", 40, "k", {"torch": "2"}))


def write_pixels(path):
    write(path, pixels_name("bicubic-70-65"), PIXELS, {"key": "k"})


def read_features(path):
    with open_feature_shard(path) as shard:
        return shard.read(), shard.rows, shard.identity


def read_pixels(path):
    with open_pixel_shard(path, "bicubic-70-65") as shard:
        return np.concatenate(list(shard.blocks(16))), shard.rows, None


KINDS = {"features": (write_features, read_features, FEATURES), "pixels": (write_pixels, read_pixels, PIXELS)}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_written_is_read(tmp_path, name):
    write_it, read_it, data = KINDS[name]
    write_it(tmp_path / "a.h5")
    content, rows, identity = read_it(tmp_path / "a.h5")
    assert content.dtype == data.dtype and (content == data).all()
    assert (rows.paths, rows.reasons, rows.valid.tolist()) == (ROWS.paths, ROWS.reasons, ROWS.valid.tolist())
    assert identity in (None, IDENTITY)
    with h5py.File(tmp_path / "a.h5") as file:
        datasets = []
        file.visititems(lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
        unchecked = [dataset.name for dataset in datasets if not dataset.fletcher32]
        assert len(datasets) >= 4 and unchecked == ["/pixels/bicubic-70-65"] * (name == "pixels")
        texts = [h5py.check_string_dtype(file[texts].dtype).encoding for texts in ("paths", "reasons")]
        assert texts == ["utf-8"] * 2 and file.attrs["key"] == "k"


SHAPES = [
    ((1, 1), "uint8"),
    ((7, 3), "uint8"),
    ((5000, 515), "uint8"),
    ((9, 400_000), "float64"),
    ((0, 512), "float16"),
]


@pytest.mark.parametrize("shape, dtype", SHAPES)
def test_any_shape_in_blocks_of_any_size(tmp_path, shape, dtype):
    """Chunks of an odd number of bytes, of one row, the last one not full; blocks that cut chunks; no rows at all."""
    data = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    write(tmp_path / "a.h5", "data", data, rows=Rows.all_valid([str(i) for i in range(len(data))]))
    with open_shard(tmp_path / "a.h5", "data") as shard:
        for size in (1, 3, 1000, len(data) + 1):
            if len(data) / size < 100:
                assert b"".join(block.tobytes() for block in shard.blocks(size)) == data.tobytes()
        assert shard.read().tobytes() == data.tobytes() and shard.read().shape == shape
        if len(data):
            rows = shard.data.chunks[0]
            assert rows == 1 or rows * data[0].nbytes <= 2**20, "a batch should not read much more than itself"


def test_equal_content_is_equal_bytes(tmp_path):
    write(tmp_path / "a.h5", "features", FEATURES, block=1)
    write(tmp_path / "b.h5", "features", FEATURES, block=100)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("name", KINDS)
def test_a_flipped_byte_is_found_and_the_file_named(tmp_path, name):
    """In any dataset: its first and last bytes, checksums with them, and some in between."""
    write_it, read_it, _ = KINDS[name]
    path = tmp_path / "a.h5"
    write_it(path)
    stored = []  # (first byte, bytes)

    def note(_, item):
        if isinstance(item, h5py.Dataset) and item.chunks:
            item.id.chunk_iter(lambda chunk: stored.append((chunk.byte_offset, chunk.size)))
        elif isinstance(item, h5py.Dataset):
            stored.append((item.id.get_offset(), item.nbytes))

    with h5py.File(path) as file:
        file.visititems(note)
    assert len(stored) >= 4
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for first, size in stored:
        for offset in [0, 1, *range(size - 5, size), *rng.integers(0, size, 10)]:
            damaged = bytearray(whole)
            damaged[first + offset] ^= 1 << rng.integers(0, 8)
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=r"a\.h5: corrupt \(a checksum or a chunk is wrong: .*make it anew"):
                read_it(path)


def test_a_flipped_byte_between_the_data_is_found_or_does_not_matter(tmp_path):
    """Headers and indices; only the texts of attributes lie where HDF5 keeps no checksum."""
    path = tmp_path / "a.h5"
    write(path, "data", FEATURES[:40, :8], rows=Rows.all_valid(ROWS.paths[:40]))
    whole, refused = path.read_bytes(), 0
    for offset in range(0, len(whole), 3):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << offset % 8]) + whole[offset + 1 :])
        try:
            with open_shard(path, "data") as shard:
                assert (shard.read() == FEATURES[:40, :8]).all() and shard.rows.paths == ROWS.paths[:40]
        except InputError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    assert refused > 500


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_cut_short_is_refused(tmp_path, name, share):
    write_it, read_it, _ = KINDS[name]
    path = tmp_path / "a.h5"
    write_it(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.h5: not a readable HDF5 file .*delete it and run again"):
        read_it(path)


def test_images_that_are_whole_are_read_beside_a_damaged_one(tmp_path):
    path = tmp_path / "a.h5"
    write_pixels(path)
    with h5py.File(path) as file:
        offset = file[pixels_name("bicubic-70-65")].id.get_offset()
    damaged = bytearray(path.read_bytes())
    damaged[offset + 100 * PIXELS[0].nbytes + 9] ^= 1
    path.write_bytes(damaged)
    with open_pixel_shard(path, "bicubic-70-65") as shard:
        blocks = shard.blocks(100)
        assert (next(blocks) == PIXELS[:100]).all()
        with pytest.raises(InputError, match=r"a\.h5: corrupt .* row 100\)"):
            next(blocks)


def test_a_file_that_is_exchanged_is_read_on(tmp_path):
    """A reader goes on with the file that it opened."""
    path = tmp_path / "a.h5"
    write_features(path)
    with open_feature_shard(path) as shard:
        write(path, "features", FEATURES + 1)
        assert (shard.read() == FEATURES).all()


def spoil(path, change):
    write_features(path)
    with h5py.File(path, "r+") as file:
        change(file)


BAD = {
    "missing": (lambda path: None, "the shard does not exist"),
    "text": (lambda path: path.write_text("text"), "not a readable HDF5 file"),
    "pixels": (write_pixels, "has no dataset features; expected a shard of features"),
    "datasets": (
        lambda path: spoil(path, lambda file: [file.__delitem__(name) for name in ("valid", "paths")]),
        "has no dataset paths, valid; expected a shard of features",
    ),
    "version": (
        lambda path: spoil(path, lambda file: file.attrs.__setitem__("format_version", 2)),
        "format version is 2; expected 1",
    ),
    "counts": (
        lambda path: write(path, "features", FEATURES, rows=Rows.all_valid(ROWS.paths[:-1])),
        "row counts differ: .*'data': 300, 'paths': 299.*; delete it",
    ),
    "attribute": (
        lambda path: spoil(path, lambda file: file.attrs.__delitem__("weights")),
        "has no attribute weights; expected a feature shard",
    ),
    "dimension": (
        lambda path: spoil(path, lambda file: file.attrs.__setitem__("dimension", 8)),
        r"features are \(300, 512\); expected \[n, 8\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_feature_shard_is_refused(tmp_path, name):
    make, message = BAD[name]
    make(tmp_path / "a.h5")
    with pytest.raises(InputError, match=rf"a\.h5: {message}"):
        read_features(tmp_path / "a.h5")


def test_a_shard_that_lacks_rows_is_not_written(tmp_path):
    with pytest.raises(RuntimeError, match="2 rows were written into a shard of 3"):
        with write_shard(tmp_path / "a.h5", "data", (3, 4), "float32", Rows.all_valid(["a", "b", "c"]), {}) as writer:
            writer.append(np.zeros((2, 4), np.float32))
    assert not list(tmp_path.iterdir())
