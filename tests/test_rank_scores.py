"""Methods that give scores and no features: ranked as features are, however the file is laid out."""

import csv
import json
import re
from collections import Counter

import h5py
import numpy as np
import pytest
from attribench.errors import InputError
from attribench.manifest import Row, database_rows, write_manifest
from attribench.rank import rank
from attribench.rank_file import read_rank_file
from attribench.rank_scores import rank_scores
from attribench.rank_split import Options
from attribench.shards import feature_shard
from clone import REPOSITORY, TINY, Clone

N, ENTRIES, D = 300, 4, 16


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def made_up(seed=0):
    """Features whose scores are the file's: a database, 4 entries with 1 to 4 exemplars and 3 queries each."""
    rng = np.random.default_rng(seed)
    exemplar_entry, query_entry = np.repeat(np.arange(ENTRIES), [1, 2, 3, 4]), np.repeat(np.arange(ENTRIES), 3)
    exemplars = rng.standard_normal((10, D))
    queries = 0.6 * rng.standard_normal((12, D)) + np.array([exemplars[exemplar_entry == e][0] for e in query_entry])
    database = rng.standard_normal((N, D))
    database[5], database[9] = exemplars[3], database[8]  # ties
    return queries, query_entry, exemplars, exemplar_entry, database


def write_scores(path, made, order=None, dtype="float64", blank_others=False):
    """The score file; `order` permutes each axis."""
    queries, query_entry, exemplars, exemplar_entry, database = made
    order = order or (range(len(queries)), range(len(database)), range(len(exemplars)))
    q, x, e = (np.array(list(o)) for o in order)
    score = unit(queries) @ np.concatenate([unit(database), unit(exemplars)]).T
    # Equal rows have equal scores, which a matrix product does not promise.
    score[:, 9], score[:, 5] = score[:, 8], score[:, N + 3]
    x_score, e_score = score[:, :N].astype(dtype), score[:, N:].astype(dtype)
    if blank_others:
        e_score[query_entry[:, None] != exemplar_entry[None]] = np.nan
    with h5py.File(path, "w") as file:
        file["queries"] = [f"q/{i}.png" for i in q]
        file["database"] = [f"d/é{i}.png" for i in x]
        file["exemplars"] = [f"e/{i}.png" for i in e]
        file["database_scores"] = x_score[q][:, x]
        file["exemplar_scores"] = e_score[q][:, e]
    return path


def write_manifests(folder, made):
    _, query_entry, _, exemplar_entry, _ = made
    rows = [Row(f"e/{i}.png", "exemplar", int(entry)) for i, entry in enumerate(exemplar_entry)]
    rows += [Row(f"q/{i}.png", "query", int(entry), "gpt") for i, entry in enumerate(query_entry)]
    write_manifest(folder / "split.csv", rows)
    write_manifest(folder / "database.csv", database_rows("database", [f"d/é{i}.png" for i in range(N)]))


def ranked(folder, scores, **options):
    rank_scores(
        folder / "ranks.h5",
        scores,
        manifest=folder / "split.csv",
        database_manifest=folder / "database.csv",
        database="database",
        split="split",
        method="influence",
        options=Options(**options),
        threads=2,
    )
    return read_rank_file(folder / "ranks.h5")


SHUFFLED = [np.random.default_rng(1).permutation(n) for n in (12, N, 10)]


@pytest.mark.parametrize("order", [None, SHUFFLED], ids=["in order", "shuffled"])
@pytest.mark.parametrize("hard_negatives", [False, True])
def test_scores_rank_as_the_features_that_they_are_of(tmp_path, order, hard_negatives):
    made = made_up()
    write_manifests(tmp_path, made)
    scores = write_scores(tmp_path / "s.h5", made, order, blank_others=not hard_negatives)
    options = {"database_sizes": [6, 120], "hard_negatives": hard_negatives, "top_k": 7}
    found = ranked(tmp_path, scores, **options)
    expected = rank(*made[:4], [(made[4], None)], sizes=[6, 120], hard_negatives=hard_negatives, top_k=7)
    for name in ("offsets", "ranks", "exemplar", "neighbour_index", "ranks_at", "n_database_at"):
        assert np.array_equal(getattr(found.ranking, name), getattr(expected, name)), name
    np.testing.assert_allclose(found.ranking.scores, expected.scores, atol=1e-14)
    np.testing.assert_allclose(found.ranking.neighbour_score, expected.neighbour_score, atol=1e-14)
    assert found.neighbour_path[0, 0] == (
        f"d/é{expected.neighbour_index[0, 0]}.png"
        if expected.neighbour_index[0, 0] < N
        else f"e/{expected.neighbour_index[0, 0] - N}.png"
    )


def test_a_file_of_more_images_is_taken_by_path(tmp_path):
    """The manifest's database is shorter: the other columns are left out."""
    made = made_up()
    write_manifests(tmp_path, made)
    scores = write_scores(tmp_path / "s.h5", made, SHUFFLED, dtype="float32")
    write_manifest(tmp_path / "database.csv", database_rows("database", [f"d/é{i}.png" for i in range(50)]))
    found = ranked(tmp_path, scores)
    expected = rank(*made[:4], [(made[4][:50], None)])
    assert found.ranking.ranks.tolist() == expected.ranks.tolist()


def change(path, name, value):
    with h5py.File(path, "r+") as file:
        if isinstance(value, tuple):
            file[name][value[:-1]] = value[-1]
            return
        del file[name]
        if value is not None:
            file[name] = value


BAD = {
    "no dataset": (lambda path: change(path, "exemplars", None), "has no dataset exemplars; found"),
    "shape": (lambda path: change(path, "database_scores", np.zeros((3, 4))), r"database_scores is float64 \[3, 4\]"),
    "type": (lambda path: change(path, "exemplar_scores", np.zeros((12, 10), int)), "expected floating point"),
    "nan": (lambda path: change(path, "database_scores", (2, 7, np.nan)), "holds nan at row 2, column 7"),
    "inf": (lambda path: change(path, "exemplar_scores", (0, 0, np.inf)), "holds inf at row 0, column 0"),
    "lacks": (
        lambda path: change(path, "queries", [f"other/{i}.png" for i in range(12)]),
        "queries lacks 12 of 12 images:\n  q/0.png",
    ),
    "twice": (lambda path: change(path, "exemplars", ["e/0.png"] * 10), "exemplars lists 'e/0.png' more than once"),
    "text": (lambda path: path.write_text("no HDF5"), "not a readable HDF5 file"),
    "missing": (lambda path: path.unlink(), "the score file does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_and_nothing_is_written(tmp_path, name):
    spoil, message = BAD[name]
    made = made_up()
    write_manifests(tmp_path, made)
    spoil(write_scores(tmp_path / "s.h5", made))
    with pytest.raises(InputError, match=rf"(?s)s\.h5: .*{message}"):
        ranked(tmp_path, tmp_path / "s.h5")
    assert not (tmp_path / "ranks.h5").exists()


def scores_of_features(clone, split, extractor, path):
    """Write the cosines of features that a run has extracted as a score file, as a user's method would."""
    shards = clone.folder / "results/features"
    with (
        feature_shard(shards / f"{split}/{extractor}/00000-of-00001.h5") as images,
        feature_shard(shards / f"sample_database/{extractor}/00000-of-00001.h5") as database,
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


def test_the_documented_writer(tmp_path):
    """The function in docs/formats.md, block by block, writes what is read."""
    code = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs/formats.md").read_text(), re.DOTALL)[1]
    names: dict = {}
    exec(code, names)
    made = made_up()
    write_manifests(tmp_path, made)
    with h5py.File(write_scores(tmp_path / "expected.h5", made)) as file:
        axes = [file[axis].asstr()[:].tolist() for axis in ("queries", "database", "exemplars")]
        x, e = file["database_scores"][:], file["exemplar_scores"][:]
    blocks = [
        (r, c, x[r : r + 5, c : c + 70], None if c else e[r : r + 5]) for r in range(0, 12, 5) for c in range(0, N, 70)
    ]
    names["write_scores"](tmp_path / "s.h5", *axes, blocks)
    expected = rank(*made[:4], [(made[4], None)])
    assert ranked(tmp_path, tmp_path / "s.h5").ranking.ranks.tolist() == expected.ranks.tolist()
    names["write_scores"](tmp_path / "s.h5", *axes, blocks[:-1])
    with pytest.raises(InputError, match="database_scores holds nan at row 10, column 280"):
        ranked(tmp_path, tmp_path / "s.h5")


@pytest.mark.workflow
def test_the_workflow_ranks_scores_beside_features(finished_copy):
    """The cosines of an extractor, as a method of their own, stand in the same tables with the same metrics."""
    clone = finished_copy
    root = clone.folder / "resources/sample/scores"
    for split in ("sample_style", "sample_object"):
        scores_of_features(clone, split, "tiny", root / f"mine_{split}.h5")
    settings = {**TINY, "score_methods": ["mine"], "score_registry": {"mine": "scores/mine_{split}.h5"}}
    clone.configure(settings)
    results = dict(rank_scores=2, metrics=2, tables=1, plots=2, contact=2)
    assert clone.planned() == Counter(results)
    clone.run()
    assert clone.planned() == Counter()
    for split in ("sample_style", "sample_object"):
        with open(clone.folder / f"results/tables/{split}.csv", newline="") as file:
            rows = {row.pop("name"): row for row in csv.DictReader(file)}
        assert rows["mine_scores"].pop("feature") == "mine"
        assert rows["tiny_pretrained"].pop("feature") == "tiny"
        assert rows["mine_scores"] == rows["tiny_pretrained"]
    with h5py.File(root / "mine_sample_style.h5", "r+") as file:
        file["database_scores"][0, 0] = 2
    assert clone.planned() == Counter(rank_scores=1, metrics=1, tables=1, plots=2, contact=1)
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
        "database_source": "features",
        "split_source": "features",
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
    with open(clone.folder / "results/metrics/mine/influence_scores.csv", newline="") as file:
        best = [int(row["best_rank"]) for row in csv.DictReader(file)]
    expected = rank(*made[:4], [(made[4], None)])
    assert best == expected.ranks[expected.offsets[:-1]].tolist()
