"""The published sizes: feature files far larger than a shard in little memory, and splits with all their queries."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from attribench.formats.manifest import manifest_paths, read_manifest, shard_names, write_manifest
from attribench.formats.rank_file import read_rank_file
from attribench.import_features import import_shard
from attribench.manifest import database_rows, read_split_file
from attribench.metrics import query_table
from attribench.rank.rank import Options, rank_split
from helpers.clone import REPOSITORY, Clone

MB = 1 << 20
ROWS, WIDE, SHARDS = 12800, 4096, 10  # 200 MB in shards of 20 MB
DIMENSION, DATABASE_ROWS = 16, 20000

IMPORT_AND_MEASURE = """
import random, sys, threading
from pathlib import Path
import psutil
from attribench.formats.manifest import shard_names
from attribench.import_features import import_shard

def memory():
    # Pages of a mapped file are not the process's own: the system takes them back when it needs them.
    info = psutil.Process().memory_info()
    return info.rss - getattr(info, "shared", 0)

def watch():
    global peak
    while not finished.wait(0.002):
        peak = max(peak, memory())

def run(feature_file, rows, n):
    paths = [f"d/{i}.png" for i in rows]
    for shard in shard_names(n):
        output = Path(feature_file).parent / "out" / f"{shard}.h5"
        import_shard(feature_file, output, paths, shard=shard, extractor="e", collection="c")

small, large, rows, shards = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
run(small, range(64), 1)
before = peak = memory()
finished, order = threading.Event(), list(range(rows))
threading.Thread(target=watch).start()
try:
    run(large, order, shards)
    random.Random(0).shuffle(order)
    run(large, order, shards)
finally:
    finished.set()
print(peak - before)
"""


def write_wide(path, rows):
    """A feature file of `rows` x WIDE float32, every value of row i being i + 1."""
    features = np.empty((rows, WIDE), np.float32)
    features[:] = np.arange(1, rows + 1)[:, None]
    paths = [f"d/{i}.png" for i in range(rows)]
    if path.suffix == ".pth":
        torch.save({"feats": torch.from_numpy(features), "paths": paths}, path)
    elif path.suffix == ".npy":
        np.save(path, features)
        path.with_suffix(".txt").write_text("\n".join(paths))
    elif path.suffix == ".npz":
        save = np.savez_compressed if path.stem.startswith("packed") else np.savez
        save(path, features=features, paths=np.array(paths))
    else:
        with h5py.File(path, "w") as file:
            file["features"], file["paths"] = features, paths


@pytest.mark.parametrize("name", ["a.pth", "a.npy", "a.npz", "packed.npz", "a.h5"])
def test_memory_is_that_of_a_shard_and_not_of_the_file(tmp_path, name):
    """So a machine with less memory than the file imports it, in whatever order its rows are."""
    small, large = tmp_path / f"small_{name}", tmp_path / name
    small = small.with_name(f"packed_{name}") if name.startswith("packed") else small
    write_wide(small, 64)
    write_wide(large, ROWS)
    arguments = ["-c", IMPORT_AND_MEASURE, str(small), str(large), str(ROWS), str(SHARDS)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow_scripts")}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    shard, grown = ROWS * WIDE * 4 / SHARDS, int(done.stdout)
    print(f"{name}: {grown / MB:.0f} MB")
    assert grown < 2.5 * shard, f"{grown / MB:.0f} MB for shards of {shard / MB:.0f} MB"


# --- splits ---------------------------------------------------------------------------------------------------------

REAL = sorted((Path(__file__).parents[3] / "shared/abc/json").glob("test_*.json"))
# Entries, exemplars in all, fewest and most exemplars of an entry, prompt types; 40 queries each.
SIZES = {
    "artchive": (255, 3081, 1, 67, ("gpt", "object")),
    "bamfg": (250, 1692, 4, 12, ("gpt", "object")),
    "observed_imagenet": (593, 593, 1, 1, ("media", "gpt")),
}
QUERIES = {"artchive": 20400, "bamfg": 20000, "observed_imagenet": 47440}


def made_up_split(name, path):
    """A split file of the published size and shape."""
    n_entries, n_exemplars, fewest, most, prompt_types = SIZES[name]
    counts = np.full(n_entries, fewest)
    generator = np.random.default_rng(0)
    counts[:2] = most, fewest
    while counts.sum() < n_exemplars:
        counts[generator.integers(2, n_entries)] += 1
    entries = [
        {
            "exemplar": [f"dataset/exemplar/{name}/{m:04d}/{i}.jpg" for i in range(count)],
            "synth": {k: [f"dataset/synth/{name}/{k}/{m:04d}/{i:05d}.png" for i in range(40)] for k in prompt_types},
            "class_id": f"{m:04d}",
            "category": None,
        }
        for m, count in enumerate(counts)
    ]
    path.write_text(json.dumps(entries))


def write_features(folder, rows):
    """Feature files in the published layouts: an entry's images lie about a point of its own, the database anywhere."""
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(1 + max(row.entry for row in rows), DIMENSION))
    features = centres[[row.entry for row in rows]] + generator.normal(size=(len(rows), DIMENSION))
    tensor = torch.from_numpy(features.astype(np.float32))
    groups = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.prompt_type, []).append(i)
    exemplars = groups.pop("")
    content = {
        "exemplar_paths": [rows[i].path for i in exemplars],
        "exemplar_tensors": tensor[exemplars],
        "synth_paths": {k: [rows[i].path for i in group] for k, group in groups.items()},
        "synth_tensors": {k: tensor[group] for k, group in groups.items()},
    }
    torch.save(content, folder / "split.pth")
    database = torch.from_numpy(generator.normal(size=(DATABASE_ROWS, DIMENSION)).astype(np.float32))
    paths = [f"dataset/laion_subset/{i:09d}.png" for i in range(DATABASE_ROWS)]
    torch.save({"feats": database, "paths": paths}, folder / "database.pth")
    write_manifest(folder / "database.csv", database_rows("database", paths))
    return tensor.numpy().astype(np.float64), database.numpy().astype(np.float64)


def brute_force(rows, features, database, query):
    """The ranks of the exemplars of `query`, a row, in plain float64 arithmetic."""
    units = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (features, database)]
    own = [i for i, row in enumerate(rows) if row.role == "exemplar" and row.entry == rows[query].entry]
    scores = np.sort(units[0][own] @ units[0][query])[::-1]
    among = units[1] @ units[0][query]
    return [i + int((among >= score - 1e-9).sum()) for i, score in enumerate(scores, start=1)]


def check_split(folder, split_file, n_queries):
    started = time.perf_counter()
    rows = read_split_file(split_file)
    write_manifest(folder / "split.csv", rows)
    features, database = write_features(folder, rows)
    shards = {"split": shard_names(2), "database": shard_names(4)}
    files = {name: [folder / name / f"{shard}.h5" for shard in shards[name]] for name in shards}
    for name, outputs in files.items():
        paths = list(manifest_paths(folder / f"{name}.csv"))
        for shard, output in zip(shards[name], outputs, strict=True):
            import_shard(folder / f"{name}.pth", output, paths, shard=shard, extractor="e", collection=name)
    imported = time.perf_counter()
    rank_split(
        folder / "ranks.h5",
        manifest=folder / "split.csv",
        database_manifest=folder / "database.csv",
        mapper=None,
        split_shards=files["split"],
        database_shards=files["database"],
        database="database",
        split="split",
        extractor="e",
        variant="pretrained",
        options=Options(),
        threads=2,
    )
    ranked = time.perf_counter()
    found = read_rank_file(folder / "ranks.h5")
    table = query_table(found, [5, 10, 100])
    print(f"{split_file.name}: import {imported - started:.1f} s, rank {ranked - imported:.1f} s", end=", ")
    print(f"read and measure {time.perf_counter() - ranked:.1f} s")
    assert read_manifest(folder / "split.csv") == rows
    assert len(table) == n_queries and table["valid"].all()
    queries = [i for i, row in enumerate(rows) if row.role == "query"]
    offsets = found.offsets
    for q in np.random.default_rng(2).choice(n_queries, 40, replace=False):
        expected = brute_force(rows, features, database, queries[q])
        assert found.ranks[offsets[q] : offsets[q + 1]].tolist() == expected


# No case where the published files are not there: a skipped check would be a failed one.
@pytest.mark.parametrize("case", [*SIZES, *REAL], ids=[*SIZES, *(path.name for path in REAL)])
def test_a_split_of_the_published_size_is_ranked(tmp_path, case):
    path = tmp_path / "test_split.json"
    if case in SIZES:
        made_up_split(case, path)
    else:
        path.write_bytes(case.read_bytes())
    check_split(tmp_path, path, QUERIES[case if case in SIZES else case.stem.removeprefix("test_")])


@pytest.mark.workflow
def test_a_split_of_the_published_size_goes_through_the_workflow(tmp_path):
    entry = {
        "splits": {"made": "test_split.json"},
        "database": {"features": "feats/{extractor}/database.pth"},
        "split_features": "feats/{extractor}/split.pth",
        "extractors": ["e"],
    }
    settings = {
        "benchmark": "own",
        "benchmarks": {"own": entry},
        "extractor_registry": {"e": {"library": "color"}},
        "database_source": "features",
        "split_source": "features",
        "database_shards": 4,
        "split_shards": 2,
    }
    clone = Clone(tmp_path / "clone", settings)
    root = clone.folder / "resources/own"
    (root / "feats/e").mkdir(parents=True)
    made_up_split("bamfg", root / "test_split.json")
    rows = read_split_file(root / "test_split.json")
    features, database = write_features(root / "feats/e", rows)
    clone.run("results/tables/summary.csv")
    with open(clone.folder / "results/metrics/made/e/pretrained.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == QUERIES["bamfg"]
    row_of = {row.path: i for i, row in enumerate(rows)}
    for query in found[:: QUERIES["bamfg"] // 20]:
        ranks = brute_force(rows, features, database, row_of[query["query"]])
        assert float(query["AP"]) == pytest.approx(np.mean(np.arange(1, len(ranks) + 1) / ranks), abs=1e-12)
