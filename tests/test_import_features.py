"""Import: feature files of every format become shards, joined by path; and are ranked by the whole workflow."""

import csv
import json
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from attribench.errors import InputError
from attribench.import_features import import_shard
from attribench.shards import feature_shard
from clone import Clone

PATHS = [f"d/{i}.png" for i in range(10)]
FEATURES = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
ORDER = [7, 2, 9, 0, 5]
GOLDEN = Path(__file__).parents[2] / "shared/golden/abc-mini"


def write_source(folder, kind):
    path = folder / f"source.{kind}"
    if kind == "pth":
        torch.save({"feats": torch.from_numpy(FEATURES), "paths": PATHS}, path)
    elif kind == "npz":
        np.savez(path, features=FEATURES, paths=np.array(PATHS))
    elif kind == "npy":
        np.save(path, FEATURES)
        path.with_suffix(".txt").write_text("\n".join(PATHS))
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["features"], file["paths"] = FEATURES, PATHS
    elif kind == "split.pth":
        synthesized = {"gpt": PATHS[3:6], "object": PATHS[6:]}
        tensors = {"gpt": torch.from_numpy(FEATURES[3:6]), "object": torch.from_numpy(FEATURES[6:])}
        content = {"exemplar_paths": PATHS[:3], "exemplar_tensors": torch.from_numpy(FEATURES[:3])}
        torch.save({**content, "synth_paths": synthesized, "synth_tensors": tensors}, path)
    return path


def run_import(source, output, paths):
    import_shard(source, output, paths, extractor="clip", collection="c", first_row=0)


@pytest.mark.parametrize("kind", ["pth", "split.pth", "npz", "npy", "h5"])
def test_rows_are_joined_by_path(tmp_path, kind):
    run_import(write_source(tmp_path, kind), tmp_path / "s.h5", [PATHS[i] for i in ORDER])
    with feature_shard(tmp_path / "s.h5") as shard:
        np.testing.assert_array_equal(shard.read(), FEATURES[ORDER])
        assert shard.rows.paths == [PATHS[i] for i in ORDER]
        assert (shard.identity.extractor, shard.identity.dimension) == ("clip", 4)


def test_float16_stays_float16(tmp_path):
    np.savez(tmp_path / "a.npz", features=FEATURES.astype(np.float16), paths=np.array(PATHS))
    run_import(tmp_path / "a.npz", tmp_path / "s.h5", PATHS)
    with feature_shard(tmp_path / "s.h5") as shard:
        assert shard.read().dtype == np.float16


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
        lambda folder: torch.save({"feats": Counter(a=1), "x": Path("a")}, folder / "source.pth"),
        "source.pth",
        "source.pth: not a file of plain tensors and lists",
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
        run_import(tmp_path / source, tmp_path / "s.h5", PATHS)
    assert not (tmp_path / "s.h5").exists()


def test_missing_images_are_listed(tmp_path):
    source = write_source(tmp_path, "npz")
    with pytest.raises(InputError, match="has no feature of 2 of 3 images:\n  d/x.png\n  d/y.png"):
        run_import(source, tmp_path / "s.h5", ["d/x.png", PATHS[0], "d/y.png"])


def ranked_root(folder):
    """A root with feature files of a made-up benchmark in the published layout, and no image at all."""
    rng = np.random.default_rng(1)
    entries = [
        {"exemplar": [f"dataset/e{m}.jpg"], "synth": {"gpt": [f"dataset/q{m}{i}.jpg" for i in range(2)]}}
        for m in range(3)
    ]
    exemplars = rng.normal(size=(3, 8)).astype(np.float32)
    queries = np.repeat(exemplars, 2, axis=0) + 0.1 * rng.normal(size=(6, 8)).astype(np.float32)
    (folder / "dataset/json").mkdir(parents=True)
    (folder / "dataset/json/test_made.json").write_text(json.dumps(entries))
    (folder / "feats/mine").mkdir(parents=True)
    paths = {"exemplar_paths": [e["exemplar"][0] for e in entries]}
    synthesized = {"gpt": [path for e in entries for path in e["synth"]["gpt"]]}
    tensors = {"exemplar_tensors": torch.from_numpy(exemplars), "synth_tensors": {"gpt": torch.from_numpy(queries)}}
    torch.save({**paths, **tensors, "synth_paths": synthesized}, folder / "feats/mine/test_made.pth")
    database = {"feats": torch.from_numpy(rng.normal(size=(50, 8)).astype(np.float32))}
    torch.save(
        {**database, "paths": [f"dataset/db/{i}.png" for i in range(50)]}, folder / "feats/mine/laion_subset.pth"
    )


@pytest.mark.workflow
def test_the_workflow_ranks_imported_features(tmp_path):
    entry = {
        "splits": {"made": "dataset/json/test_made.json"},
        "database": {"features": "feats/{extractor}/laion_subset.pth"},
        "split_features": "feats/{extractor}/test_{split}.pth",
        "extractors": ["mine"],
    }
    settings = {
        "benchmark": "own",
        "benchmarks": {"own": entry},
        "extractor_registry": {"mine": {"library": "color"}},
        "database_source": "features",
        "split_source": "features",
        "database_shards": 3,
    }
    clone = Clone(tmp_path / "clone", settings)
    root = clone.folder / "resources/own"
    ranked_root(root)
    clone.run()
    with open(clone.folder / "results/tables/made.csv", newline="") as file:
        assert [float(row["gpt-mAP"]) for row in csv.DictReader(file)] == [1.0]
    assert clone.planned() == Counter()
    path = root / "feats/mine/laion_subset.pth"
    content = torch.load(path, weights_only=True)
    content["feats"][0] += 1
    torch.save(content, path)
    later = dict(rank=1, metrics=1, tables=1, plots=1, contact=1)
    assert clone.planned() == Counter(manifest=1, feature_source=1, import_features=3, **later)
    (root / "feats/mine/test_made.pth").unlink()
    done = clone.run("--forcerun", "import_features", check=False)
    assert done.returncode != 0
    assert "feats/mine/test_made.pth" in done.stdout


@pytest.mark.workflow
@pytest.mark.skipif(not GOLDEN.exists(), reason=f"{GOLDEN} is not there")
def test_the_published_protocol_on_its_own_features(tmp_path):
    """All four published splits, two extractors, no mapper: the reference's average precision and recall, per query."""
    settings = {
        "benchmark": "abc",
        "root": str(GOLDEN),
        "extractors": ["clip", "dino"],
        "database_source": "features",
        "split_source": "features",
        "database_shards": 3,
        "bootstrap": {"samples": 100},
    }
    clone = Clone(tmp_path / "clone", settings)
    clone.run()
    compared = 0
    for split in ("artchive", "bamfg", "observed_imagenet", "unobserved_imagenet"):
        for extractor in ("clip", "dino"):
            name = f"{extractor}_pretrained"
            expected = json.loads((GOLDEN / f"expected/test_{split}/{name}.json").read_text())
            with open(clone.folder / f"results/metrics/{split}/{name}.csv", newline="") as file:
                found = list(csv.DictReader(file))
            for prompt_type, values in expected.items():
                mine = [row for row in found if row["prompt_type"] == prompt_type]
                np.testing.assert_allclose([float(row["AP"]) for row in mine], values["all_maps"], atol=1e-9)
                recalls = [[float(row[f"recall@{k}"]) for k in values["recall_ks"]] for row in mine]
                np.testing.assert_allclose(recalls, values["all_recalls"], atol=1e-9)
                compared += len(mine)
    assert compared == 2 * 261
