"""A split's rank files: from shards on disk, with and without mappers."""

import numpy as np
import pytest
import torch
from attribench import rank as stage
from attribench.common.errors import InputError
from attribench.formats.histogram import read_histogram
from attribench.formats.manifest import ManifestRow, shard_names, write_manifest
from attribench.formats.rank_file import read_rank_file
from attribench.formats.shards import FeatureIdentity, Rows, feature_attributes, write_shard
from attribench.manifest import database_rows
from attribench.rank.mappers import load_mappers
from attribench.rank.rank import Options, rank_split
from attribench.rank.ranker import Ranker
from helpers import golden_bytes
from helpers.rank_cases import rank, score_matrix

DIMENSION, N_DATABASE = 12, 300
IDENTITY = FeatureIdentity("e", DIMENSION, "w", "p", "float32")
OPTIONS = Options(top_k=3, database_sizes=(20, 150), hard_negatives=True, near_duplicates=0.6)


def write_collection(folder, name, rows, values, n_shards):
    """A manifest, and feature shards in which every 17th image is invalid; the shards' paths."""
    write_manifest(folder / f"{name}.csv", rows)
    shards, cuts = [], np.linspace(0, len(rows), n_shards + 1).astype(int)
    for shard, first, last in zip(shard_names(n_shards), cuts, cuts[1:], strict=False):
        valid = np.arange(first, last) % 17 != 16
        content = Rows([row.path for row in rows[first:last]], valid, ["" if v else "broken" for v in valid])
        shards.append(folder / f"{name}/{shard}.h5")
        attributes = feature_attributes(IDENTITY, name, first, "key", {})
        with write_shard(shards[-1], "features", (last - first, DIMENSION), "float32", content, attributes) as writer:
            writer.append(values[first:last])
    return shards


def images():
    """Return the manifest rows and features of a split of 5 entries, and of a database."""
    rng = np.random.default_rng(5)
    rows = [ManifestRow(f"e{i}.jpg", "exemplar", i // 2, "", "", "") for i in range(10)]
    rows += [ManifestRow(f"q{i}.jpg", "query", i // 4, ("gpt", "object")[i % 2], "", "") for i in range(20)]
    database = database_rows("database", [f"d/{i}.jpg" for i in range(N_DATABASE)])
    return {
        name: (r, rng.standard_normal((len(r), DIMENSION)).astype(np.float32))
        for name, r in (("split", rows), ("database", database))
    }


@pytest.fixture(params=[images])
def ranked(tmp_path, request):
    """Rank the images by a variant; the path of the rank file."""
    rng = np.random.default_rng(6)
    shards = {name: write_collection(tmp_path, name, *request.param()[name], n) for name, n in SHARDS.items()}
    mappers = {"plain": None, "channel": tmp_path / "channel.pth", "linear": tmp_path / "linear.pth"}
    for name, state in {"channel": (1, DIMENSION), "linear": (5, DIMENSION)}.items():
        tensors = [{STATE[name]: torch.from_numpy(rng.standard_normal(state))} for _ in range(2)]
        torch.save(dict(zip(("real_mapper", "synth_mapper"), tensors, strict=True)), mappers[name])

    def rank(variant, options=OPTIONS, threads=2, histogram=None):
        rank_split(
            tmp_path / f"ranks/{variant}.h5",
            manifest=tmp_path / "split.csv",
            database_manifest=tmp_path / "database.csv",
            split_shards=shards["split"],
            database_shards=shards["database"],
            mapper=mappers[variant],
            database="database",
            split="split",
            extractor="e",
            variant=variant,
            options=options,
            threads=threads,
            histogram=histogram,
        )
        return tmp_path / f"ranks/{variant}.h5"

    return rank


SHARDS = {"split": 2, "database": 3}
STATE = {"channel": "weights", "linear": "weight"}


@pytest.mark.parametrize("variant", ["plain", "channel", "linear"])
@pytest.mark.parametrize("options", [OPTIONS, Options()], ids=["all options", "none"])
def test_a_rank_file_is_the_ranking_of_the_mapped_features_of_valid_images(ranked, tmp_path, variant, options):
    found = read_rank_file(ranked(variant, options))
    rows, values = images()["split"]
    database = images()["database"][1]
    real, synth = load_mappers(tmp_path / f"{variant}.pth") if variant != "plain" else (lambda features: features,) * 2
    entry = np.array([row.entry for row in rows])
    valid, database_valid = (np.arange(n) % 17 != 16 for n in (30, N_DATABASE))  # as `write_collection` has it
    expected = rank(
        *(synth(values[10:]), entry[10:], real(values[:10]), entry[:10]),
        [(real(database), database_valid)],
        query_valid=valid[10:],
        exemplar_valid=valid[:10],
        sizes=options.database_sizes,
        top_k=options.top_k,
        hard_negatives=options.hard_negatives,
    )
    for name in ("ranks", "scores", "exemplar", "neighbour_index", "neighbour_score", "ranks_at", "n_database_at"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    assert (found.split, found.extractor, found.variant) == ("split", "e", variant)
    assert found.query_path.tolist() == [f"q{i}.jpg" for i in range(20)]
    first = found.neighbour_index[0]
    of_database = [f"d/{i}.jpg" if i < N_DATABASE else f"e{i - N_DATABASE}.jpg" for i in first]
    assert found.neighbour_path[0].tolist() == of_database
    assert len(found.invalid) == (~valid).sum() + (~database_valid).sum()


def shared_images():
    """Return `images`, but the exemplars 0, 2 and 8, of three entries, are one image."""
    made = images()
    rows, values = made["split"]
    for row in (2, 8):
        rows[row], values[row] = rows[row]._replace(path=rows[0].path), values[0]
    return {**made, "split": (rows, values)}


@pytest.mark.parametrize("ranked", [shared_images], indirect=True)
def test_an_exemplar_of_several_entries_is_ranked_by_each_and_is_one_hard_negative(ranked):
    found = read_rank_file(ranked("plain", Options(top_k=400, hard_negatives=True, near_duplicates=0.0)))
    rows, values = (part[:30] for part in shared_images()["split"])
    exemplars, database = values[:10], images()["database"][1]
    valid = np.arange(N_DATABASE) % 17 != 16
    for q in np.flatnonzero(found.query_valid):
        own = np.array([i for i in range(10) if rows[i].entry == rows[10 + q].entry])
        own_paths = {rows[i].path for i in own}
        others = {rows[i].path: i for i in reversed(range(10)) if rows[i].path not in own_paths}
        candidates = np.concatenate([database[valid], exemplars[list(others.values())]]).astype(np.float64)
        query = values[10 + q].astype(np.float64)
        score = candidates @ query / np.linalg.norm(candidates, axis=1)
        own_score = np.sort(exemplars[own] @ query / np.linalg.norm(exemplars[own], axis=1))[::-1]
        ranks = [i + 1 + (score >= s - 1e-9).sum() for i, s in enumerate(own_score)]
        assert found.ranks[found.pairs(q)].tolist() == ranks
        neighbours = found.neighbour_path[q][found.neighbour_index[q] >= N_DATABASE].tolist()
        assert sorted(neighbours) == sorted(others)
        assert found.n_candidates[q] == len(candidates) + len(own)
    near = [pair[:2] for pair in found.near_duplicates]
    assert len(near) == len(set(near)) and "e0.jpg" in {exemplar for exemplar, _ in near}


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.9, 1.0])
def test_near_duplicates_are_a_share_of_the_extractors_own_similarities(ranked, quantile):
    everything, found = (
        read_rank_file(ranked("plain", Options(top_k=3, near_duplicates=q))).near_duplicates for q in (0.0, quantile)
    )
    assert len(everything) == 3 * 10  # three neighbours of each exemplar, of which none is invalid
    kept = sorted(everything, key=lambda row: -row[2])
    assert sorted(found, key=lambda row: -row[2]) == kept[: len(found)]
    assert len(found) == {0.0: 30, 0.5: 15, 0.9: 3, 1.0: 1}[quantile]


def test_every_copy_is_a_near_duplicate(ranked, tmp_path):
    """Eight of ten exemplars have a copy in the database; the quantile alone would list one of them."""
    rows, values = images()["database"]
    values[:8] = 3 * images()["split"][1][:8]
    write_collection(tmp_path, "database", rows, values, SHARDS["database"])
    found = read_rank_file(ranked("plain", Options(top_k=3, near_duplicates=1.0))).near_duplicates
    assert [(exemplar, path) for exemplar, path, _ in found] == [(f"e{i}.jpg", f"d/{i}.jpg") for i in range(8)]


def test_golden_bytes_of_ranks(ranked):
    """Scores and mappers as stated in docs/methods.md, on features whose arithmetic any other order would change."""
    content = {}
    for variant in ("plain", "channel", "linear"):
        found = read_rank_file(ranked(variant))
        for name in ("ranks", "scores", "exemplar", "neighbour_index", "neighbour_score", "ranks_at", "neighbour_path"):
            content[f"{variant}: {name}"] = getattr(found, name)
        content[f"{variant}: near duplicates"] = [list(map(str, row)) for row in found.near_duplicates]
    golden_bytes.check("rank", stage.VERSION, content)


def test_threads_do_not_change_the_file(ranked):
    files = [ranked("linear", threads=threads).read_bytes() for threads in (1, 2, 3)]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("variant", ["plain", "linear"])
def test_histograms_are_of_mapped_features_and_leave_the_rank_file_as_it_is(ranked, tmp_path, variant):
    expected = ranked(variant, Options(top_k=3)).read_bytes()
    path = ranked(variant, Options(top_k=3), histogram=tmp_path / "h.h5")
    assert path.read_bytes() == expected
    ranking, (rows, values) = read_rank_file(path), images()["split"]
    histogram = read_histogram(tmp_path / "h.h5", len(ranking.query_valid))
    real, synth = load_mappers(tmp_path / "linear.pth") if variant == "linear" else (lambda features: features,) * 2
    database = images()["database"][1][np.arange(N_DATABASE) % 17 != 16]
    queries = values[[row.role == "query" for row in rows]]
    scores = score_matrix(synth(queries), real(database))
    points, weights = histogram.points()
    assert weights.sum(axis=1).tolist() == np.where(ranking.query_valid, ranking.n_database, 0).tolist()
    assert not ranking.query_valid.all()
    for q in np.flatnonzero(ranking.query_valid):
        best = histogram.anchor[q]
        assert best == ranking.scores[ranking.pairs(q)][0]
        found = (weights[q] * np.exp(5 * (points[q] - best))).sum()
        assert found == pytest.approx(np.exp(5 * (scores[q] - best)).sum(), rel=1e-5)


def test_a_mapper_that_does_not_fit_stops_before_the_pass(ranked, tmp_path, monkeypatch):
    tensors = {"weights": torch.ones(1, DIMENSION + 1)}
    torch.save({"real_mapper": tensors, "synth_mapper": tensors}, tmp_path / "linear.pth")
    monkeypatch.setattr(Ranker, "add", lambda *_: pytest.fail("ranked a block"))
    with pytest.raises(InputError, match=r"linear\.pth: real_mapper: maps 13 dimensions; the features have 12"):
        ranked("linear")
    assert not (tmp_path / "ranks").exists()
