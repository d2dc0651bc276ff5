"""Feature files of every format are read alike, whatever the order; and what cannot be read is refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from attribench.errors import InputError
from attribench.import_features import import_features
from attribench.manifest import shard_names
from attribench.shards import feature_shard

PATHS = [f"d/{i}.png" for i in range(10)]
FEATURES = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
ORDER = [7, 2, 9, 0, 5]
ONE = "00000-of-00001.h5"


def write_source(folder, kind):
    path = folder / f"source.{kind}"
    if kind in ("pth", "old.pth"):
        content = {"feats": torch.from_numpy(FEATURES), "paths": PATHS}
        torch.save(content, path, _use_new_zipfile_serialization=kind == "pth")
    elif kind == "t.pth":
        torch.save({"features": torch.from_numpy(FEATURES.T.copy()).T, "paths": tuple(PATHS)}, path)
    elif kind in ("npz", "packed.npz"):
        save = np.savez if kind == "npz" else np.savez_compressed
        save(path, features=FEATURES, paths=np.array(PATHS))
    elif kind == "bytes.npz":
        np.savez(path, paths=np.array([name.encode() for name in PATHS]), features=FEATURES)
    elif kind == "columns.npy":
        np.save(path, np.asfortranarray(FEATURES))
        path.with_suffix(".txt").write_text("\n".join(PATHS))
    elif kind == "npy":
        np.save(path, FEATURES)
        path.with_suffix(".txt").write_text("\n".join(PATHS))
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["features"], file["paths"] = FEATURES, PATHS
    elif kind == "packed.h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=FEATURES, chunks=(3, 2), compression="gzip")
            file["paths"] = np.array([name.encode() for name in PATHS])
    elif kind == "split.pth":
        synthesized = {"gpt": PATHS[3:6], "object": PATHS[6:]}
        tensors = {"gpt": torch.from_numpy(FEATURES[3:6]), "object": torch.from_numpy(FEATURES[6:])}
        content = {"exemplar_paths": PATHS[:3], "exemplar_tensors": torch.from_numpy(FEATURES[:3])}
        torch.save({**content, "synth_paths": synthesized, "synth_tensors": tensors}, path)
    return path


def run_import(source, output, paths):
    import_features(source, [output], paths, extractor="clip", collection="c")


def read_shards(shards):
    """Features, paths and first rows of the shards."""
    features, paths, first_rows = [], [], []
    for path in shards:
        with feature_shard(path) as shard:
            features.append(shard.read())
            paths += shard.rows.paths
            assert (shard.identity.extractor, shard.identity.dimension) == ("clip", FEATURES.shape[1])
        with h5py.File(path) as file:
            first_rows.append(int(file.attrs["first_row"]))
    return np.concatenate(features), paths, first_rows


KINDS = [
    "pth",
    "t.pth",
    "old.pth",
    "split.pth",
    "npz",
    "packed.npz",
    "bytes.npz",
    "npy",
    "columns.npy",
    "h5",
    "packed.h5",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [ORDER, range(10), range(3, 9), [2, 3, 7]], ids=["mixed", "all", "run", "gaps"])
def test_rows_are_joined_by_path(tmp_path, monkeypatch, kind, order):
    monkeypatch.setattr("attribench.feature_rows.READ_BYTES", 48)  # three rows
    monkeypatch.setattr("attribench.import_features.READ_BYTES", 48)
    wanted, shards = [PATHS[i] for i in order], [tmp_path / f"{name}.h5" for name in shard_names(2)]
    source = write_source(tmp_path, kind)
    import_features(source, shards, iter(wanted), extractor="clip", collection="c")
    features, paths, first_rows = read_shards(shards)
    np.testing.assert_array_equal(features, FEATURES[list(order)])
    assert paths == wanted
    assert first_rows == [0, len(wanted) // 2]
    assert {path.name for path in tmp_path.iterdir()} <= {source.name, source.stem + ".txt", *(s.name for s in shards)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("float16", np.float16), ("bfloat16", np.float32), ("float32", np.float32), ("float64", np.float32)],
)
def test_a_tensor_of_each_type(tmp_path, kind, expected):
    tensor = torch.from_numpy(FEATURES * 1.1).to(getattr(torch, kind))
    torch.save({"feats": tensor, "paths": PATHS}, tmp_path / "a.pth")
    run_import(tmp_path / "a.pth", tmp_path / ONE, PATHS)
    features, _, _ = read_shards([tmp_path / ONE])
    assert features.dtype == expected
    np.testing.assert_array_equal(features, tensor.to(getattr(torch, expected.__name__)).numpy())


def test_float16_arrays_stay_float16_and_byte_order_does_not_matter(tmp_path):
    for kind, expected in (("<f2", np.float16), (">f4", np.float32), (">f8", np.float32)):
        np.savez(tmp_path / "a.npz", features=FEATURES.astype(np.float16).astype(kind), paths=np.array(PATHS))
        run_import(tmp_path / "a.npz", tmp_path / ONE, PATHS)
        features, _, _ = read_shards([tmp_path / ONE])
        assert features.dtype == expected
        np.testing.assert_array_equal(features, FEATURES.astype(np.float16))


def test_what_cannot_be_mapped_is_loaded_and_the_log_says_so(tmp_path, caplog):
    run_import(write_source(tmp_path, "pth"), tmp_path / ONE, PATHS)
    assert not caplog.records
    run_import(write_source(tmp_path, "old.pth"), tmp_path / ONE, PATHS)
    assert "source.old.pth: all of its 0 MB are loaded: torch's old format cannot be mapped" in caplog.text


def test_a_given_file_is_not_changed(tmp_path):
    for kind in KINDS:
        source = write_source(tmp_path, kind)
        before = source.read_bytes()
        run_import(source, tmp_path / ONE, PATHS)
        assert source.read_bytes() == before


class Foreign:
    """An object that a feature file has no need of, and that could run any code."""


def spoil_nan(folder):
    bad = FEATURES.copy()
    bad[4, 1] = np.inf
    np.savez(folder / "source.npz", features=bad, paths=np.array(PATHS))


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


def spoil_packed(folder):
    """Spoil a byte in the middle of the packed features, which begin the file."""
    features = np.random.default_rng(0).normal(size=(10, 10000))
    np.savez_compressed(folder / "source.npz", features=features, paths=np.array(PATHS))
    content = bytearray((folder / "source.npz").read_bytes())
    content[300000] ^= 0xFF
    (folder / "source.npz").write_bytes(content)


BAD = {
    "nan": (spoil_nan, "source.npz", "source.npz: the feature of d/4.png holds NaN or Inf"),
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
        r"source.pth: not a file of plain tensors \(Unsupported global: GLOBAL pathlib.* was not .*\); exp",
    ),
    "object": (
        lambda folder: torch.save(
            {"feats": torch.zeros(10, 4), "paths": PATHS, "by": Foreign()}, folder / "source.pth"
        ),
        "source.pth",
        r"source.pth: not a file of plain tensors \(Unsupported global: GLOBAL .*Foreign",
    ),
    "numpy": (
        lambda folder: torch.save({"feats": FEATURES, "paths": PATHS}, folder / "source.pth"),
        "source.pth",
        r"source.pth: not a file of plain tensors \(Unsupported global: GLOBAL numpy",
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
        lambda folder: (folder / "source.pth").write_bytes(write_source(folder, "t.pth").read_bytes()[:-100]),
        "source.pth",
        "source.pth: cut off or damaged",
    ),
    "cut off array": (
        lambda folder: (folder / "source.npy").write_bytes(write_source(folder, "columns.npy").read_bytes()[:-1]),
        "source.npy",
        "source.npy: cannot be mapped",
    ),
    "damaged": (spoil_packed, "source.npz", "source.npz: features.npy is damaged"),
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
    "ending": (
        lambda folder: (folder / "a.bin").write_bytes(b"x"),
        "a.bin",
        "unknown ending '.bin'; expected one of .pth",
    ),
    "missing": (lambda folder: None, "none.pth", "none.pth: the feature file does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_feature_files_are_refused_and_nothing_is_written(tmp_path, name):
    spoil, source, message = BAD[name]
    spoil(tmp_path)
    with pytest.raises(InputError, match=message):
        run_import(tmp_path / source, tmp_path / ONE, PATHS)
    assert not (tmp_path / ONE).exists()
