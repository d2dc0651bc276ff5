"""Influence is that of the published formula: the reference's own values, and a brute force over all scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from attribench.formats.calibrator import BIAS_GAIN, Calibrator, read_calibrator
from attribench.formats.ranking import Ranking
from attribench.influence import influence_of
from attribench.rank.mappers import load_mappers
from attribench.rank.ranker import Ranker
from helpers.influences import by_brute_force, of_scores
from helpers.rankings import text

PART = Path(__file__).parents[1] / "data/abc-mini"
WHOLE = Path(__file__).parents[3] / "shared/golden/abc-mini"
GOLDEN = [(root, path.stem) for root in (PART, WHOLE) for path in sorted((root / "expected/influence").glob("*.json"))]
TOP = 20

pytestmark = pytest.mark.filterwarnings("error")
# Bias: weak candidates get less, none at all, or more than the exponential gives.
CALIBRATORS = {
    "positive bias": Calibrator(12.0, 3.0),
    "no bias": Calibrator(25.0, 0.0),
    "negative bias": Calibrator(9.0, -20.0),
    "nearly uniform": Calibrator(0.1, 0.0),
    "nearly all to the best": Calibrator(500.0, 0.0),
}
LENGTHS = [3, 3, 1, 1, 0, 6]  # exemplars of each query; one query is invalid


def golden_ranking(root, extractor):
    """Return the ranking and the histograms of test_artchive's gpt queries, with the tuned mappers."""
    database = torch.load(root / f"feats/{extractor}/laion_subset.pth")["feats"].float().numpy()
    split = torch.load(root / f"feats/{extractor}/test_artchive.pth")
    real, synth = load_mappers(root / f"weights/mapper/{extractor}_tuned.pth")
    query_entry = np.array(split["synth_ids"]["gpt"])
    exemplar_entry = np.repeat(np.arange(len(split["exemplar_chunks"])), [b - a for a, b in split["exemplar_chunks"]])
    queries, exemplars = split["synth_tensors"]["gpt"].float().numpy(), split["exemplar_tensors"].float().numpy()
    ranker = Ranker(synth(queries), query_entry, real(exemplars), exemplar_entry, top_k=TOP, histogram=True)
    for rows in np.array_split(real(database), 3):
        ranker.add(rows, None)
    names = {"split": "artchive", "extractor": extractor, "variant": "tuned"}
    n = len(queries)
    ranking = Ranking(
        **vars(ranker.finish()),
        **names,
        query_path=text(split["synth_paths"]["gpt"]),
        query_prompt_type=text(["gpt"] * n),
        query_entry=query_entry,
        exemplar_path=text(split["exemplar_paths"]),
        exemplar_entry=exemplar_entry,
        exemplar_valid=np.ones(len(exemplars), bool),
        class_id=text([""] * (exemplar_entry.max() + 1)),
        category=text([""] * (exemplar_entry.max() + 1)),
        neighbour_path=text([[""] * TOP] * n),
    )
    return ranking, ranker.histogram


@pytest.mark.parametrize(("root", "extractor"), GOLDEN, ids=[f"{root.parent.name}-{name}" for root, name in GOLDEN])
def test_the_references_influence(root, extractor):
    """The same images at the first 20 positions, and their influence to the 1e-4 that float32 allows."""
    ranking, histogram = golden_ranking(root, extractor)
    calibrator = read_calibrator(root / f"weights/calibrator/{extractor}_tuned.pth")
    influence = influence_of(ranking, histogram, calibrator)
    pair, neighbour = ranking.first_positions(TOP)
    expected = json.loads((root / f"expected/influence/{extractor}.json").read_text())
    assert (expected["bias_gain"], expected["inv_tau"], expected["bias"]) == (BIAS_GAIN, *calibrator)
    assert len(expected["queries"]) == 5
    for query in expected["queries"]:
        q = query["query_index"]
        of_database = ranking.neighbour_index[q, np.maximum(neighbour[q], 0)]
        index = np.where(
            pair[q] >= 0, ranking.n_database + ranking.exemplar[pair[q]] - query["exemplar_chunk"][0], of_database
        )
        assert index.tolist() == query["top_indices"]
        np.testing.assert_allclose(influence.top[q], query["top_values"], rtol=1e-4)
        np.testing.assert_allclose(influence.remaining[q], query["remaining_mass"], rtol=1e-4)


def test_the_references_influence_is_tested():
    assert (PART, "clip") in GOLDEN


def made_up(n_database=3000):
    """Return the scores of queries with the database, float64 [Q, N], and with their exemplars, falling."""
    rng = np.random.default_rng(5)
    database = np.clip(0.15 * rng.standard_normal((len(LENGTHS), n_database)), -1, 1)
    exemplars = [np.sort(np.clip(rng.normal(0.45, 0.15, n), -1, 1))[::-1] for n in LENGTHS]
    exemplars[3][0] = -0.3  # far below the best: with the negative bias it has no influence
    return database, exemplars


def influences(calibrator, n_database=3000, k=5):
    database, exemplars = made_up(n_database)
    ranking, histogram = of_scores(database, exemplars, [0, 0, 1, 2, 3, 4], ["gpt", "object"] * 3, k)
    influence = influence_of(ranking, histogram, calibrator)
    brute = {q: by_brute_force(database[q], exemplars[q], calibrator, k) for q in np.flatnonzero(ranking.query_valid)}
    return ranking, influence, brute


def compare(ranking, influence, brute, name, **tolerance):
    values = getattr(influence, name)
    for q, expected in brute.items():
        found = values[ranking.pairs(q) if name in ("exemplar", "above") else q]
        np.testing.assert_allclose(found, expected[name], err_msg=f"{name} of query {q}", **tolerance)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_influence_is_that_of_a_brute_force(name):
    found = influences(CALIBRATORS[name])
    for field in ("exemplar", "top", "effective_number"):
        compare(*found, field, rtol=1e-4)
    for field in ("remaining", "above", "log_likelihood"):
        compare(*found, field, rtol=0, atol=1e-4)
    for field in ("log_likelihood_uniform", "log_likelihood_uncalibrated"):
        compare(*found, field, rtol=0, atol=1e-6)
    compare(*found, "observed", rtol=0, atol=1e-12)
    # Two points stand for a bin of scores, so some candidates are on the other side of an edge.
    compare(*found, "predicted", rtol=0, atol=0.02)
    compare(*found, "in_bin", rtol=0, atol=30)
    compare(*found, "set_size", rtol=0.005, atol=1)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_influence_sums_to_one_and_every_candidate_is_in_a_bin(name):
    ranking, influence, brute = influences(CALIBRATORS[name])
    valid = [*brute]
    assert influence.observed.sum(axis=1)[valid] == pytest.approx(1, abs=1e-12)
    assert influence.predicted.sum(axis=1)[valid] == pytest.approx(1, abs=1e-4)
    assert influence.top.sum(axis=1)[valid] + influence.remaining[valid] == pytest.approx(1, abs=1e-12)
    assert influence.in_bin.sum(axis=1)[valid].tolist() == ranking.n_candidates[valid].tolist()
    assert (influence.remaining[valid] >= 0).all()


@pytest.mark.parametrize("inv_tau", [1e3, 1e5, 1e30])
def test_however_sharp_no_influence_is_above_1_or_no_number(inv_tau):
    _, influence, brute = influences(Calibrator(inv_tau, 0.0))
    valid = [*brute]
    assert influence.top[valid].max() <= 1 and (influence.top.sum(axis=1)[valid] <= 1 + 1e-12).all()
    assert np.isfinite(influence.exemplar).all() and (influence.effective_number[valid] > 0.9).all()


def test_a_query_that_is_not_valid_has_no_influence():
    ranking, influence, _ = influences(CALIBRATORS["no bias"])
    assert np.flatnonzero(~ranking.query_valid).tolist() == [LENGTHS.index(0)]
    for name, values in vars(influence).items():
        of_pairs = name in ("exemplar", "above")
        assert (
            not np.isnan(values).any() if of_pairs else np.isnan(values[4]).all() and not np.isnan(values[5]).any()
        ), name


def test_an_exemplar_without_influence_is_impossible():
    ranking, influence, _ = influences(CALIBRATORS["negative bias"])
    assert influence.exemplar[ranking.pairs(3)].tolist() == [0] and influence.log_likelihood[3] == -np.inf
    assert np.isfinite(influence.log_likelihood[[0, 1, 2, 5]]).all()
    assert influence.observed[3].tolist() == [1.0] + [0.0] * (influence.observed.shape[1] - 1)


@pytest.mark.parametrize("n_database", [0, 1, 4])
def test_a_database_of_few_images(n_database):
    found = influences(CALIBRATORS["positive bias"], n_database)
    for field in vars(found[1]):
        compare(*found, field, rtol=0, atol=1e-6)


def test_queries_whose_scores_lie_far_apart():
    """With one inverse temperature, as cosines need it that are all about 0.999."""
    database = np.array([[0.2, 0.1999, 0.1], [0.9, 0.8999, 0.8]])
    exemplars, calibrator = [[0.19995], [0.89995]], Calibrator(20_000.0, 0.001)
    ranking, histogram = of_scores(database, exemplars, [0, 0], ["gpt"] * 2, k=2)
    influence = influence_of(ranking, histogram, calibrator)
    brute = {q: by_brute_force(database[q], exemplars[q], calibrator, 2) for q in range(2)}
    for field in vars(influence):
        compare(ranking, influence, brute, field, rtol=0, atol=1e-3)


@pytest.mark.parametrize("inv_tau", [2000.0, 1e6])
def test_a_likelihood_may_be_smaller_than_a_float64_tells(inv_tau):
    """One exemplar is an outlier, and cosines that lie close together need a large inverse temperature."""
    database, exemplars = np.array([[0.9, 0.5, 0.4]]), [[0.9, 0.1]]
    ranking, histogram = of_scores(database, exemplars, [0], ["gpt"], k=2)
    influence = influence_of(ranking, histogram, Calibrator(inv_tau, 0.0))
    expected = inv_tau * (0.1 - 0.9) / 2 - np.log(2)
    assert influence.exemplar[1] == 0 and influence.log_likelihood[0] == pytest.approx(expected, rel=1e-6)


def test_more_queries_than_are_computed_at_a_time(monkeypatch):
    expected = influences(CALIBRATORS["no bias"])[1]
    monkeypatch.setattr("attribench.influence._QUERIES", 2)
    for name, values in vars(influences(CALIBRATORS["no bias"])[1]).items():
        np.testing.assert_allclose(values, getattr(expected, name), rtol=1e-9, err_msg=name)
