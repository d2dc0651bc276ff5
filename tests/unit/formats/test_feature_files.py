"""Feature files of every format are read alike, whatever the order; and what cannot be read is refused."""

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.formats import feature_files
from helpers.feature_files import FEATURES, FORMATS, PATHS, imported, write_feature_file

ORDERS = {"mixed": [7, 2, 9, 0, 5], "all": range(10), "run": range(3, 9), "gaps": [2, 3, 7]}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", FORMATS)
def test_rows_are_joined_by_path(tmp_path, monkeypatch, name, order):
    monkeypatch.setattr(feature_files, "_BLOCK_BYTES", 48)  # three rows
    feature_file, rows = write_feature_file(tmp_path, name), list(ORDERS[order])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    features, paths, first_rows = imported(feature_file, tmp_path / "shards", [PATHS[row] for row in rows], 2)
    np.testing.assert_array_equal(features, FEATURES[rows])
    assert paths == [PATHS[row] for row in rows]
    assert first_rows == [0, len(rows) // 2]
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_more_shards_than_images(tmp_path):
    """Some shards are empty."""
    for name in FORMATS:
        features, paths, _ = imported(write_feature_file(tmp_path, name), tmp_path / name, PATHS[4:6], 3)
        np.testing.assert_array_equal(features, FEATURES[4:6])
        assert paths == PATHS[4:6]


def test_a_prompt_type_may_have_no_queries(tmp_path):
    tensors = {"gpt": torch.from_numpy(FEATURES[:0]), "object": torch.from_numpy(FEATURES[2:])}
    content = {"exemplar_paths": PATHS[:2], "exemplar_tensors": torch.from_numpy(FEATURES[:2])}
    content |= {"synth_paths": {"gpt": [], "object": PATHS[2:]}, "synth_tensors": tensors}
    torch.save(content, tmp_path / "a.pth")
    np.testing.assert_array_equal(imported(tmp_path / "a.pth", tmp_path, PATHS)[0], FEATURES)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", np.float16), ("bfloat16", np.float32), ("float32", np.float32), ("float64", np.float32)],
)
def test_a_tensor_of_each_type(tmp_path, dtype, expected):
    tensor = torch.from_numpy(FEATURES * 1.1).to(getattr(torch, dtype))
    torch.save({"feats": tensor, "paths": PATHS}, tmp_path / "a.pth")
    features, _, _ = imported(tmp_path / "a.pth", tmp_path / "shards", PATHS)
    assert features.dtype == expected
    np.testing.assert_array_equal(features, tensor.to(getattr(torch, expected.__name__)).numpy())


def test_float16_arrays_stay_float16_and_byte_order_does_not_matter(tmp_path):
    for dtype, expected in (("<f2", np.float16), (">f4", np.float32), (">f8", np.float32)):
        np.savez(tmp_path / "a.npz", features=FEATURES.astype(np.float16).astype(dtype), paths=np.array(PATHS))
        features, _, _ = imported(tmp_path / "a.npz", tmp_path / "shards", PATHS)
        assert features.dtype == expected
        np.testing.assert_array_equal(features, FEATURES.astype(np.float16))


def test_what_cannot_be_mapped_is_loaded_and_the_log_says_so(tmp_path, caplog):
    imported(write_feature_file(tmp_path, "pth"), tmp_path, PATHS)
    assert not caplog.records
    imported(write_feature_file(tmp_path, "old.pth"), tmp_path, PATHS)
    assert "source.old.pth: all of its 0 MB are loaded: torch's old format cannot be mapped" in caplog.text


class Foreign:
    """An object that a feature file has no need of, and that could run any code."""


def spoil_infinite(folder):
    bad = FEATURES.copy()
    bad[4, 1] = np.inf
    np.savez(folder / "source.npz", features=bad, paths=np.array(PATHS))


def spoil_row(folder):
    unfilled = FEATURES.copy()
    unfilled[7] = 0
    np.savez(folder / "source.npz", features=unfilled, paths=np.array(PATHS))


def spoil_dimension(folder):
    torch.save(
        {
            "exemplar_paths": PATHS[:1],
            "exemplar_tensors": torch.zeros(1, 4),
            "synth_paths": {"gpt": PATHS[1:]},
            "synth_tensors": {"gpt": torch.zeros(9, 5)},
        },
        folder / "source.pth",
    )


def spoil_npz(folder, save):
    """Spoil a byte in the middle of the features, which begin the file."""
    save(folder / "source.npz", features=np.random.default_rng(0).normal(size=(10, 10000)), paths=np.array(PATHS))
    content = bytearray((folder / "source.npz").read_bytes())
    content[300000] ^= 0xFF
    (folder / "source.npz").write_bytes(content)


def spoil_compressed(folder):
    """Pack a file of torch's once more, compressed."""
    with zipfile.ZipFile(write_feature_file(folder, "columns.pth")) as whole:
        with zipfile.ZipFile(folder / "source.pth", "w", zipfile.ZIP_DEFLATED) as packed:
            for name in whole.namelist():
                packed.writestr(name, whole.read(name))


def spoil_hdf5(folder):
    """Flip a byte of the features, which have checksums."""
    with h5py.File(folder / "source.h5", "w") as file:
        file["paths"] = PATHS
        dataset = file.create_dataset("features", data=FEATURES, chunks=(5, 4), fletcher32=True)
        offset = dataset.id.get_chunk_info(1).byte_offset
    content = bytearray((folder / "source.h5").read_bytes())
    content[offset] ^= 1
    (folder / "source.h5").write_bytes(content)


def write_hdf5(folder, **content):
    with h5py.File(folder / "source.h5", "w") as file:
        for name, value in content.items():
            file[name] = value


def write_npy(folder, content):
    """Write the bytes `content` as a .npy file, with a list of paths beside it."""
    (folder / "source.npy").write_bytes(content)
    (folder / "source.txt").write_text("\n".join(PATHS))


BAD = {
    "a row that was never filled": (spoil_row, "source.npz", "source.npz: the feature of d/7.png is all 0"),
    "a float16 row that was never filled": (
        lambda folder: np.savez(folder / "source.npz", features=np.zeros((10, 4), np.float16), paths=np.array(PATHS)),
        "source.npz",
        "source.npz: the feature of d/.*.png is all 0",
    ),
    "nan": (spoil_infinite, "source.npz", "source.npz: the feature of d/4.png holds NaN or Inf"),
    "dimension": (spoil_dimension, "source.pth", r"source.pth: feature dimensions differ within the file: \[4, 5\]"),
    "count": (
        lambda folder: np.savez(folder / "source.npz", features=FEATURES, paths=np.array(PATHS[:9])),
        "source.npz",
        r"source.npz: features are \(10, 4\) beside 9 paths",
    ),
    "duplicate": (
        lambda folder: np.savez(folder / "source.npz", features=FEATURES, paths=np.array([*PATHS[:9], PATHS[0]])),
        "source.npz",
        "source.npz: d/0.png is there more than once",
    ),
    "pickle": (
        lambda folder: torch.save({"feats": torch.zeros(1), "x": Path("a")}, folder / "source.pth"),
        "source.pth",
        r"source.pth: not a file of plain tensors \(Unsupported global: GLOBAL pathlib.* was not .*\); .*expected",
    ),
    "object": (
        lambda folder: torch.save({"feats": torch.zeros(1), "by": Foreign()}, folder / "source.pth"),
        "source.pth",
        r"source.pth: not a file of plain tensors \(Unsupported global: GLOBAL .*Foreign",
    ),
    "numpy": (
        lambda folder: torch.save({"feats": FEATURES, "paths": PATHS}, folder / "source.pth"),
        "source.pth",
        r"source.pth: not a file of plain tensors \(Unsupported global: GLOBAL numpy",
    ),
    "two names": (
        lambda folder: torch.save({"feats": 1, "features": 1, "paths": PATHS}, folder / "source.pth"),
        "source.pth",
        "source.pth: has both `feats` and `features`; expected one of them",
    ),
    "no values": (
        lambda folder: torch.save({"feats": torch.ones(10, 4, device="meta"), "paths": PATHS}, folder / "source.pth"),
        "source.pth",
        "source.pth: features are without values, on the device `meta`; expected a dense tensor",
    ),
    "no values in HDF5": (
        lambda folder: write_hdf5(folder, features=FEATURES, paths=h5py.Empty("S5")),
        "source.h5",
        "source.h5: `paths` is a dataset without values; expected an array",
    ),
    "paths in another encoding": (
        lambda folder: write_hdf5(folder, features=FEATURES, paths=np.array([b"d/\xe9.png"] * 10)),
        "source.h5",
        "source.h5: `paths` is not UTF-8 .*; expected text, one per row",
    ),
    "a row that is shorter than a score can tell": (
        lambda folder: np.savez(folder / "source.npz", features=FEATURES * 1e-14, paths=np.array(PATHS)),
        "source.npz",
        "source.npz: the feature of d/.*.png is shorter than 1e-12",
    ),
    "a link to nothing": (
        lambda folder: write_hdf5(folder, features=h5py.ExternalLink("gone.h5", "/x"), paths=PATHS),
        "source.h5",
        "source.h5: `features` is a link to nothing; expected a dataset",
    ),
    "one tensor": (
        lambda folder: torch.save(torch.zeros(10, 4), folder / "source.pth"),
        "source.pth",
        r"source.pth: has no features, paths; found one tensor \[10, 4\], without the paths of its rows; expected\n.pth: a",
    ),
    "a list of tensors": (
        lambda folder: torch.save([torch.zeros(4)] * 10, folder / "source.pth"),
        "source.pth",
        "source.pth: has no features, paths; found list; expected",
    ),
    "a table": (
        lambda folder: (folder / "source.parquet").write_bytes(b"PAR1"),
        "source.parquet",
        "source.parquet: unknown ending '.parquet'; expected one of .pth.*: write features .* by `numpy.savez",
    ),
    "a pointer": (
        lambda folder: (folder / "source.npz").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "source.npz",
        "source.npz: is a pointer of Git LFS, .*`git lfs pull`",
    ),
    "a web page": (
        lambda folder: (folder / "source.h5").write_text("\n<!DOCTYPE html><html>"),
        "source.h5",
        "source.h5: is a web page",
    ),
    "an array of objects": (
        lambda folder: (np.save(folder / "source.npy", FEATURES.astype(object)), (folder / "source.txt").touch()),
        "source.npy",
        "source.npy: cannot be mapped|source.txt: is empty",
    ),
    "bfloat16 that numpy does not know": (
        lambda folder: np.savez(folder / "source.npz", features=FEATURES.astype(np.float16).view("V2"), paths=PATHS),
        "source.npz",
        "source.npz: features are void16; expected one of float16",
    ),
    "integer": (
        lambda folder: torch.save({"feats": torch.zeros(10, 4).int(), "paths": PATHS}, folder / "source.pth"),
        "source.pth",
        "source.pth: features are int32; expected one of float16, bfloat16, float32, float64",
    ),
    "integers": (
        lambda folder: np.savez_compressed(folder / "source.npz", features=np.ones((10, 4), int), paths=PATHS),
        "source.npz",
        "source.npz: features are int64; expected one of float16",
    ),
    "list": (
        lambda folder: torch.save({"feats": FEATURES.tolist(), "paths": PATHS}, folder / "source.pth"),
        "source.pth",
        "source.pth: features are list; expected a dense tensor",
    ),
    "numbers": (
        lambda folder: torch.save({"feats": torch.zeros(10, 4), "paths": list(range(10))}, folder / "source.pth"),
        "source.pth",
        "source.pth: `paths` holds int; expected a list of text",
    ),
    "objects": (
        lambda folder: np.savez(folder / "source.npz", features=FEATURES.astype(object), paths=PATHS),
        "source.npz",
        "source.npz: the array holds Python objects",
    ),
    "too large": (
        lambda folder: np.savez(folder / "source.npz", features=FEATURES.astype(float) * 1e300, paths=PATHS),
        "source.npz",
        "source.npz: the feature of d/0.png holds NaN or Inf",
    ),
    "no prompt type": (
        lambda folder: torch.save(
            {
                "exemplar_paths": PATHS,
                "exemplar_tensors": torch.zeros(10, 4),
                "synth_paths": {"gpt": []},
                "synth_tensors": {},
            },
            folder / "source.pth",
        ),
        "source.pth",
        "source.pth: has no gpt; found",
    ),
    "cut off": (
        lambda folder: (folder / "source.pth").write_bytes(
            write_feature_file(folder, "columns.pth").read_bytes()[:-100]
        ),
        "source.pth",
        "source.pth: cut off or damaged",
    ),
    "cut off array": (
        lambda folder: write_npy(folder, write_feature_file(folder, "columns.npy").read_bytes()[:-1]),
        "source.npy",
        "source.npy: cannot be mapped",
    ),
    "no array": (
        lambda folder: write_npy(folder, b"x" * 99),
        "source.npy",
        "source.npy: cannot be mapped .*magic",
    ),
    "no list of paths": (
        lambda folder: np.save(folder / "source.npy", FEATURES),
        "source.npy",
        "source.txt: the list file does not exist",
    ),
    "array as archive": (
        lambda folder: (folder / "source.npz").write_bytes(write_feature_file(folder, "npy").read_bytes()),
        "source.npz",
        "source.npz: not a plain .npz file",
    ),
    "other names": (
        lambda folder: np.savez(folder / "source.npz", feats=FEATURES, paths=PATHS),
        "source.npz",
        r"source.npz: has no features; found \['feats', 'paths'\]; expected\n.pth: a dict",
    ),
    "compressed": (spoil_compressed, "source.pth", "source.pth: a compressed zip file; expected one as torch.save"),
    "damaged HDF5": (spoil_hdf5, "source.h5", "source.h5: rows 0 to 9 are damaged"),
    "no HDF5": (lambda folder: (folder / "source.h5").write_bytes(b"x"), "source.h5", "not a readable HDF5 file"),
    "group": (
        lambda folder: write_hdf5(folder, **{"features/x": FEATURES, "paths": PATHS}),
        "source.h5",
        "source.h5: `features` is a group; expected a dataset",
    ),
    "numbers for paths": (
        lambda folder: write_hdf5(folder, features=FEATURES, paths=np.arange(10)),
        "source.h5",
        "source.h5: `paths` cannot be read",
    ),
    "scalar tensor": (
        lambda folder: torch.save({"feats": torch.tensor(1.0), "paths": PATHS}, folder / "source.pth"),
        "source.pth",
        r"source.pth: features are \(\) beside 10 paths",
    ),
    "scalar": (
        lambda folder: write_hdf5(folder, features=1.0, paths=PATHS),
        "source.h5",
        r"source.h5: features are \(\) beside 10 paths",
    ),
    "damaged": (
        lambda folder: spoil_npz(folder, np.savez_compressed),
        "source.npz",
        "source.npz: features.npy is damaged",
    ),
    "damaged, not compressed": (
        lambda folder: spoil_npz(folder, np.savez),
        "source.npz",
        "source.npz: features.npy is damaged",
    ),
    "layout": (
        lambda folder: torch.save({"feets": torch.zeros(1)}, folder / "source.pth"),
        "source.pth",
        r"source.pth: has no features, paths; found \['feets'\]",
    ),
    "garbage": (
        lambda folder: (folder / "source.pth").write_bytes(b"x" * 99),
        "source.pth",
        "source.pth: not a file of",
    ),
    "ending": (lambda folder: (folder / "a.bin").write_bytes(b"x"), "a.bin", "ending '.bin'; expected one of .pth"),
    "missing": (lambda folder: None, "none.pth", "none.pth: the feature file does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_feature_files_are_refused_and_nothing_is_written(tmp_path, name):
    spoil, source, message = BAD[name]
    spoil(tmp_path)
    with pytest.raises(InputError, match=message):
        imported(tmp_path / source, tmp_path / "shards", PATHS)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("path", ["a\0b.jpg", "half \ud800.jpg"], ids=ascii)
def test_paths_that_cannot_be_stored_are_refused(tmp_path, path):
    torch.save({"features": torch.ones(2, 3), "paths": ["a.jpg", path]}, tmp_path / "a.pth")
    np.savez(tmp_path / "a.npz", features=np.ones((2, 3), np.float32), paths=np.array(["a.jpg", path]))
    for name in ("a.pth", "a.npz"):
        with pytest.raises(InputError, match=f"{name}: the path .* is not UTF-8 or holds a zero byte"):
            imported(tmp_path / name, tmp_path / "shards", ["a.jpg"])
    np.savez(tmp_path / "b.npz", features=np.ones((1, 3), np.float32), paths=np.array([b"\xff.jpg"]))
    with pytest.raises(InputError, match="b.npz: `paths` is not UTF-8"):
        imported(tmp_path / "b.npz", tmp_path / "shards", ["a.jpg"])


def test_the_list_beside_an_array_keeps_every_character(tmp_path):
    paths = ["a\u2028b.jpg", " c\x85.jpg", "d\re.jpg"]
    np.save(tmp_path / "a.npy", FEATURES[:3])
    (tmp_path / "a.txt").write_text("\n".join(paths), encoding="utf-8", newline="")
    features, found, _ = imported(tmp_path / "a.npy", tmp_path / "shards", paths[::-1])
    assert found == paths[::-1]
    np.testing.assert_array_equal(features, FEATURES[2::-1])
