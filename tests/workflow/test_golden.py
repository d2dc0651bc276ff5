"""The published protocol to the last digit: the reference's own results on made-up data in its formats.

`tests/data/abc-mini` has a part of that data; the whole is taken too where it lies beside the repository.
"""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.clone import Clone

PART = Path(__file__).parents[1] / "data/abc-mini"
WHOLE = Path(__file__).parents[3] / "shared/golden/abc-mini"
# Root, extractors, database shards, and how many queries x methods there are to compare.
RUNS = [(PART, ["clip"], 2, 4 * (64 + 61))] + [(WHOLE, ["clip", "dino"], 3, 6 * 261)] * WHOLE.exists()


def splits_of(root):
    return sorted(path.name for path in (root / "expected").glob("test_*"))


def settings(root, extractors, shards):
    return {
        "benchmark": "abc",
        "root": str(root),
        "splits": [name.removeprefix("test_") for name in splits_of(root)],
        "extractors": extractors,
        "variants": ["pretrained", "tuned", "channel", "mlp"],
        "database_source": "features",
        "split_source": "features",
        "database_shards": shards,
        "bootstrap": {"samples": 100},
    }


def compare_queries(results, root):
    """Every query's average precision and recall; how many were compared."""
    compared = 0
    for path in sorted((root / "expected").glob("test_*/*.json")):
        extractor, variant = path.stem.split("_")
        metrics = results / "metrics" / path.parent.name.removeprefix("test_") / extractor / f"{variant}.csv"
        with open(metrics, newline="") as file:
            found = list(csv.DictReader(file))
        for prompt_type, values in json.loads(path.read_text()).items():
            mine = [row for row in found if row["prompt_type"] == prompt_type]
            np.testing.assert_allclose([float(row["AP"]) for row in mine], values["all_maps"], rtol=0, atol=1e-9)
            recalls = [[float(row[f"recall@{k}"]) for k in values["recall_ks"]] for row in mine]
            np.testing.assert_allclose(recalls, values["all_recalls"], rtol=0, atol=1e-9)
            compared += len(mine)
    return compared


def compare_tables(results, root, extractors):
    """The reference's columns and values, in its order; its first column only numbers the rows."""
    for path in sorted((root / "expected").glob("table_*.csv")):
        with open(path, newline="") as file:
            expected = [row for row in csv.DictReader(file) if row["feature"] in extractors]
        with open(results / "tables" / path.name.removeprefix("table_"), newline="") as file:
            found = list(csv.DictReader(file))
        assert [name for name in expected[0] if name] == list(found[0])
        assert [(row["name"], row["feature"]) for row in expected] == [(row["name"], row["feature"]) for row in found]
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(
                [float(b[name]) for name in list(b)[2:]], [float(a[name]) for name in list(b)[2:]], atol=1e-9
            )


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("root", "extractors", "shards", "n_queries"), RUNS, ids=[str(run[0].parent.name) for run in RUNS]
)
def test_the_references_numbers(tmp_path, root, extractors, shards, n_queries):
    clone = Clone(tmp_path / "clone", settings(root, extractors, shards))
    if "dino" in extractors:
        refused = clone.run("-n", check=False)
        assert refused.returncode != 0
        assert f"dino_mlp: {root}/weights/mapper/dino_mlp.pth" in refused.stdout
        clone.configure({**settings(root, extractors, shards), "missing_variants": "skip"})
    clone.run("results/tables/summary.csv")
    assert compare_queries(clone.folder / "results", root) == n_queries
    compare_tables(clone.folder / "results", root, extractors)
    missing = [["dino", variant, f"weights/mapper/dino_{variant}.pth"] for variant in ("channel", "mlp")]
    with open(clone.folder / "results/tables/missing_variants.csv", newline="") as file:
        assert list(csv.reader(file))[1:] == (missing if "dino" in extractors else [])
    assert clone.planned(None, "results/tables/summary.csv") == Counter()
