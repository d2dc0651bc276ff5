"""Imported features go through the whole workflow, and a feature file that changes is imported anew."""

import csv
import json
from collections import Counter

import h5py
import numpy as np
import pytest
import torch
from helpers.clone import SUMMARY, Clone


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
    """A shard that is gone is made anew by a job of its own, once it is needed; one of another job is refused."""
    shard = clone.folder / "results/features/own_database/mine/00001-of-00003.h5"
    content = shard.read_bytes()
    clone.configure({**settings, "top_k": 8})
    assert clone.planned() == Counter(later)
    shard.unlink()
    assert clone.planned() == Counter(import_features=1, **later)
    clone.configure(settings)
    assert clone.planned() == Counter(), "what was made from it is current"
    clone.configure({**settings, "top_k": 8})
    clone.run()
    assert clone.planned() == Counter()
    assert shard.read_bytes() == content
    with h5py.File(shard, "r+") as file:
        file.attrs["key"] = "another"
    clone.configure({**settings, "top_k": 9})
    done = clone.run(check=False)
    assert done.returncode != 0
    assert "own_database/mine/00001-of-00003.h5: was made with other settings" in done.stdout
    shard.unlink()
    clone.run()
    assert shard.read_bytes() == content


def own_benchmark(database, shards):
    """Return the config of a benchmark of features alone: `database` is its feature file, in as many shards."""
    entry = {
        "splits": {"made": "dataset/json/test_made.json"},
        "database": {"features": f"feats/{{extractor}}/{database}"},
        "split_features": "feats/{extractor}/test_{split}.pth",
        "extractors": ["mine"],
    }
    return {
        "benchmark": "own",
        "benchmarks": {"own": entry},
        "database_shards": shards,
    }


@pytest.mark.workflow
def test_the_workflow_ranks_imported_features(tmp_path):
    settings = own_benchmark("laion_subset.pth", 3)
    clone = Clone(tmp_path / "clone", settings, targets=SUMMARY)
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
    later = dict(rank=1, metrics=1, tables=1)
    assert clone.planned() == Counter(manifest=1, fingerprint=1, import_features=3, **later)
    clone.run()
    assert clone.planned() == Counter()
    check_every_shard_counts(clone, settings, later)
    (root / "feats/mine/test_made.pth").unlink()
    done = clone.run("--forcerun", "import_features", check=False)
    assert done.returncode != 0
    assert "feats/mine/test_made.pth" in done.stdout


@pytest.mark.workflow
def test_the_list_of_paths_beside_a_npy_file_is_an_input(tmp_path):
    """Corrected paths are other features: all that was made from them is made again."""
    clone = Clone(tmp_path / "clone", own_benchmark("database.npy", 1))
    root = clone.folder / "resources/own"
    ranked_root(root)
    content = torch.load(root / "feats/mine/laion_subset.pth", weights_only=True)
    np.save(root / "feats/mine/database.npy", content["feats"].numpy())
    refused = clone.run("-n", check=False)
    assert refused.returncode != 0
    assert "feats/mine/database.txt: the list file does not exist" in refused.stdout
    listed = root / "feats/mine/database.txt"
    listed.write_text("\n".join(content["paths"]))
    clone.run("results/tables/made.csv")
    assert clone.planned(None, "results/tables/made.csv") == Counter()
    listed.write_text("\n".join(reversed(content["paths"])))
    again = dict(manifest=1, fingerprint=1, import_features=1, rank=1, metrics=1, tables=1)
    assert clone.planned(None, "results/tables/made.csv") == Counter(again)
