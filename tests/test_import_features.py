"""Import: images are joined by path, what is missing is listed; and the whole workflow ranks what was imported."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
import torch
from attribench.errors import InputError
from attribench.identity import record_key, recorded_key
from clone import Clone
from test_feature_files import FEATURES, ONE, PATHS, run_import, write_source


def test_missing_images_are_listed(tmp_path):
    source = write_source(tmp_path, "npz")
    with pytest.raises(InputError, match="has no feature of 2 of 3 images:\n  d/x.png\n  d/y.png"):
        run_import(source, tmp_path / ONE, ["d/x.png", PATHS[0], "d/y.png"])
    with pytest.raises(InputError, match=r"has no feature of 30 of 30 images:(\n  x/\d+.png){20}\n  … and 10 more$"):
        run_import(source, tmp_path / ONE, [f"x/{i}.png" for i in range(30)])


@pytest.mark.parametrize(
    ("theirs", "ours", "hint"),
    [
        ("", "dataset/", "'' where 'dataset/' is expected"),
        ("dataset/", "", "'dataset/' where '' is expected"),
        ("a/b/", "a/c/", "'a/b/' where 'a/c/' is expected"),
    ],
)
def test_another_beginning_is_pointed_out(tmp_path, theirs, ours, hint):
    names = [f"{i % 3}/{i // 3}.png" for i in range(10)]
    np.savez(tmp_path / "a.npz", features=FEATURES, paths=np.array([theirs + name for name in names]))
    with pytest.raises(InputError, match="has no feature of 10 of 10 images") as error:
        run_import(tmp_path / "a.npz", tmp_path / ONE, [ours + name for name in names])
    assert str(error.value).endswith(f"\nIt has them all under another beginning: {hint}")
    with pytest.raises(InputError) as error:
        run_import(tmp_path / "a.npz", tmp_path / ONE, [*(ours + name for name in names), f"{ours}4/4.png"])
    assert "another beginning" not in str(error.value)


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


def check_every_shard_counts(clone, settings, later):
    """One job makes all shards, and Snakemake is told of the first: another that is gone, or of another job, is seen."""
    shard = clone.folder / "results/features/own_database/mine/00001-of-00003.h5"
    key, content = recorded_key(shard), shard.read_bytes()
    assert key
    clone.configure({**settings, "top_k": 8})
    assert clone.planned() == Counter(later)
    record_key(shard, "another")
    assert clone.planned() == Counter(import_features=1, **later)
    record_key(shard, key)
    shard.unlink()
    assert clone.planned() == Counter(import_features=1, **later)
    clone.configure(settings)
    assert clone.planned() == Counter(), "what was made from it is current"
    clone.configure({**settings, "top_k": 8})
    clone.run()
    assert clone.planned() == Counter()
    assert shard.read_bytes() == content


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
    assert clone.planned() == Counter(manifest=1, feature_source=1, import_features=1, **later)
    clone.run()
    assert clone.planned() == Counter()
    check_every_shard_counts(clone, settings, later)
    (root / "feats/mine/test_made.pth").unlink()
    done = clone.run("--forcerun", "import_features", check=False)
    assert done.returncode != 0
    assert "feats/mine/test_made.pth" in done.stdout
