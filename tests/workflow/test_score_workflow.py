"""Methods that give scores and no features, in whole runs."""

import csv
import json
from collections import Counter

import h5py
import numpy as np
import pytest
from attribench.formats.shards import open_feature_shard
from helpers.clone import SUMMARY, TINY, Clone
from helpers.rank_cases import rank
from helpers.scores import ENTRIES, N, made_up, unit, write_scores


def scores_of_features(clone, split, extractor, path):
    """Write the cosines of features that a run has extracted as a score file, as a user's method would."""
    shards = clone.folder / "results/features"
    with (
        open_feature_shard(shards / f"{split}/{extractor}/00000-of-00001.h5") as images,
        open_feature_shard(shards / f"sample_database/{extractor}/00000-of-00001.h5") as database,
    ):
        names, rows = np.array(images.rows.paths), unit(images.read().astype(np.float64))
        others, other_rows = database.rows.paths, unit(database.read().astype(np.float64))
    is_query = np.array(["/synth/" in name for name in names])
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["queries"], file["exemplars"], file["database"] = (
            names[is_query].tolist(),
            names[~is_query].tolist(),
            others,
        )
        file["database_scores"] = rows[is_query] @ other_rows.T
        file["exemplar_scores"] = rows[is_query] @ rows[~is_query].T


@pytest.mark.workflow
def test_the_workflow_ranks_scores_beside_features(finished_copy):
    """The cosines of an extractor, as a method of their own, stand in the same tables with the same metrics."""
    clone, finished_copy.targets = finished_copy, SUMMARY
    root = clone.folder / "resources/sample/scores"
    for split in ("sample_style", "sample_object"):
        scores_of_features(clone, split, "tiny", root / f"mine_{split}.h5")
    settings = {**TINY, "score_methods": ["mine"], "score_registry": {"mine": "scores/mine_{split}.h5"}}
    clone.configure(settings)
    results = dict(rank_scores=2, metrics=2, tables=1)
    assert clone.planned() == Counter(results)
    clone.run()
    assert clone.planned() == Counter()
    for split in ("sample_style", "sample_object"):
        with open(clone.folder / f"results/tables/{split}.csv", newline="") as file:
            rows = {row.pop("name"): row for row in csv.DictReader(file)}
        assert rows["mine_scores"].pop("feature") == "mine"
        assert rows["tiny_pretrained"].pop("feature") == "tiny"
        assert rows["mine_scores"] == rows["tiny_pretrained"]
    labelled = {"scores": "scores/mine_{split}.h5", "label": "Mine"}
    clone.configure({**settings, "score_registry": {"mine": labelled}})
    assert clone.planned() == Counter(tables=1)
    clone.configure(settings)
    with h5py.File(root / "mine_sample_style.h5", "r+") as file:
        file["database_scores"][0, 0] = 2
    assert clone.planned() == Counter(rank_scores=1, metrics=1, tables=1)
    clone.configure({**settings, "score_registry": {"mine": "scores/none_{split}.h5"}})
    done = clone.run(check=False)
    assert done.returncode != 0
    assert "scores/none_sample_" in done.stdout


@pytest.mark.workflow
def test_scores_alone_need_no_image_and_no_extractor(tmp_path):
    made = made_up()
    entry = {
        "splits": {"mine": "mine.json"},
        "database": {"list": "database.txt"},
        "extractors": ["color"],
    }
    settings = {
        "benchmark": "own",
        "benchmarks": {"own": entry},
        "extractors": [],
        "score_methods": ["influence"],
        "score_registry": {"influence": "influence.h5"},
        "bootstrap": {"samples": 100},
    }
    clone = Clone(tmp_path / "clone", settings)
    root = clone.folder / "resources/own"
    root.mkdir(parents=True)
    write_scores(root / "influence.h5", made)
    entries = [
        {
            "exemplar": [f"e/{i}.png" for i in np.flatnonzero(made[3] == e)],
            "synth": {"gpt": [f"q/{i}.png" for i in np.flatnonzero(made[1] == e)]},
        }
        for e in range(ENTRIES)
    ]
    (root / "mine.json").write_text(json.dumps(entries))
    (root / "database.txt").write_text("".join(f"d/é{i}.png\n" for i in range(N)))
    clone.run("results/tables/mine.csv")
    with open(clone.folder / "results/metrics/mine/influence/scores.csv", newline="") as file:
        best = [int(row["best_rank"]) for row in csv.DictReader(file)]
    expected = rank(*made[:4], [(made[4], None)])
    assert best == expected.ranks[expected.offsets[:-1]].tolist()
