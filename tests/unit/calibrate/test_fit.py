"""Calibration finds the calibrator that exemplars were drawn by, and no better one is to be had."""

import json
from functools import cache

import numpy as np
import pytest
from attribench.calibrate.fit import calibrate, fit
from attribench.common.errors import InputError
from attribench.formats.calibrator import Calibrator, read_calibrator
from attribench.formats.histogram import ScoreHistogram, write_histogram
from attribench.formats.rank_file import write_rank_file
from attribench.influence import in_blocks
from helpers.influences import influence_by_formula, of_scores

N_QUERIES, N_DATABASE = 400, 80
pytestmark = pytest.mark.filterwarnings("error")
CHI_SQUARED = 13.8  # with two degrees of freedom, exceeded once in a thousand times


def scores_of(rng, n_exemplars):
    """Return scores of queries with the database and exemplars, of few values: histograms with few bins are quick."""
    return np.round(0.15 * rng.standard_normal((N_QUERIES, N_DATABASE + n_exemplars)), 2)


@cache
def drawn(calibrator: Calibrator, n_exemplars: int = 1, seed: int = 0):
    """Return scores with the database, and of exemplars: candidates that are drawn as often as their influence says."""
    rng = np.random.default_rng(seed)
    scores = scores_of(rng, n_exemplars)
    database, exemplars = [], []
    for row in scores:
        p = influence_by_formula(row, calibrator)
        chosen = rng.choice(len(row), n_exemplars, replace=False, p=p)
        exemplars.append(np.sort(row[chosen])[::-1])
        database.append(np.delete(row, chosen))
    return np.array(database), exemplars


def split_of(database, exemplars, **changes):
    n = len(database)
    return of_scores(database, exemplars, np.arange(n) // 4, ["gpt"] * n, **changes)


def fit_to(database, exemplars):
    ranking, histogram = split_of(database, exemplars)
    return fit([candidates for _, _, candidates in in_blocks(ranking, histogram)], ranking.n_candidates)


@cache
def fit_to_drawn(*options):
    return fit_to(*drawn(*options))


def mean_likelihood(database, exemplars, calibrator):
    """Return the mean over queries of the mean logarithm of their exemplars' influence, from all scores."""
    of_queries = []
    for row, own in zip(database, exemplars, strict=True):
        p = influence_by_formula(np.concatenate([own, row]), calibrator)
        of_queries.append(np.mean(np.log(p[: len(own)])))
    return np.mean(of_queries)


KNOWN = {
    "a bias": Calibrator(20.0, 5.0),
    "a large bias": Calibrator(40.0, 30.0),
    "no bias": Calibrator(12.0, 0.0),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_calibrator_that_exemplars_were_drawn_by_is_found(name):
    known, scores = KNOWN[name], drawn(KNOWN[name])
    found = fit_to_drawn(known)
    assert found.calibrator.inv_tau == pytest.approx(known.inv_tau, rel=0.2)
    assert found.calibrator.bias == pytest.approx(known.bias, rel=0.4, abs=1)
    gain = found.log_likelihood - mean_likelihood(*scores, known)
    assert 0 <= 2 * N_QUERIES * gain < CHI_SQUARED
    assert found.n_queries == N_QUERIES and found.uniform == pytest.approx(-np.log(N_DATABASE + 1))


@pytest.mark.parametrize("n_exemplars", [1, 3])
def test_no_calibrator_of_a_dense_grid_is_better(n_exemplars):
    options = KNOWN["a bias"], n_exemplars
    found, scores = fit_to_drawn(*options), drawn(*options)
    inv_tau, bias = found.calibrator
    grid = [(t, b) for t in np.geomspace(5, 80, 9) for b in (0.0, *np.geomspace(0.5, 50, 5))]
    grid += [(inv_tau * 1.05, bias), (inv_tau / 1.05, bias), (inv_tau, bias * 1.1), (inv_tau, bias / 1.1)]
    likelihoods = [mean_likelihood(*scores, Calibrator(*point)) for point in grid]
    assert max(likelihoods) < found.log_likelihood < max(likelihoods) + 0.01
    assert found.log_likelihood == pytest.approx(mean_likelihood(*scores, found.calibrator), abs=1e-5)


@pytest.mark.parametrize("scale", [0.5, 0.001])
def test_scores_that_are_nearer_to_each_other_need_a_larger_inverse_temperature(scale):
    """Also those about 0.99, as some networks have them."""
    expected = fit_to_drawn(KNOWN["a bias"])
    database, exemplars = drawn(KNOWN["a bias"])
    found = fit_to(0.99 - scale * (1 - database), [0.99 - scale * (1 - own) for own in exemplars])
    assert found.calibrator.inv_tau * scale == pytest.approx(expected.calibrator.inv_tau, rel=1e-3)
    assert found.calibrator.bias == pytest.approx(expected.calibrator.bias, rel=2e-3)
    assert found.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-5)


def test_the_bias_is_never_negative():
    """Though exemplars were drawn by a negative one: another query's exemplar may be one that it rules out."""
    found = fit_to_drawn(Calibrator(10.0, -50.0))
    assert found.calibrator.bias == 0 and found.calibrator.inv_tau > 10


def test_exemplars_that_are_always_first():
    """The best inverse temperature has no end; a finite one is found that leaves nothing to be gained."""
    database, _ = drawn(KNOWN["no bias"])
    found = fit_to(database, [[1.0]] * len(database))
    assert np.isfinite(found.calibrator).all()
    assert found.log_likelihood == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_scores_without_any_relation_gain_no_more_than_chance(seed):
    scores = scores_of(np.random.default_rng(seed), 1)
    found = fit_to(scores[:, 1:], scores[:, :1])
    assert 2 * N_QUERIES * (found.log_likelihood - found.uniform) < CHI_SQUARED


def write_split(folder, name, database, exemplars):
    """Write the rank file and the histograms of a split; return both paths."""
    ranking, histogram = split_of(database, exemplars, split=name)
    valid, paths = ranking.query_valid, (folder / f"{name}.h5", folder / f"{name}.histogram.h5")
    write_rank_file(paths[0], ranking)
    write_histogram(paths[1], ScoreHistogram(histogram.anchor[valid], histogram.moments[valid]), valid)
    return paths


def calibrate_on(folder, **splits):
    ranks, histograms = zip(*(write_split(folder, name, *scores) for name, scores in splits.items()), strict=True)
    calibrate(folder / "c.pth", folder / "c.json", ranks=ranks, histograms=histograms, benchmark="b")


def test_a_split_that_trained_the_mappers_calibrates_nothing(tmp_path):
    """Where a checkpoint is given, its file alone says so."""
    trained_on = json.dumps({"extractor": "made", "benchmark": "b", "train": ["seen"], "val": ["chose"]})
    database, exemplars = drawn(KNOWN["a bias"])
    for name in ("chose", "seen"):
        ranking, histogram = split_of(database[:40], exemplars[:40], split=name, trained_on=trained_on)
        write_rank_file(tmp_path / "r.h5", ranking)
        write_histogram(tmp_path / "h.h5", histogram, ranking.query_valid)
        files = {"ranks": [tmp_path / "r.h5"], "histograms": [tmp_path / "h.h5"]}
        if name == "chose":
            calibrate(tmp_path / "c.pth", tmp_path / "c.json", **files, benchmark="b")
    calibrate(tmp_path / "c.pth", tmp_path / "c.json", **files, benchmark="another")
    with pytest.raises(
        InputError, match="config key calibration_splits: seen trained the mappers of .*; expected other"
    ):
        calibrate(tmp_path / "c.pth", tmp_path / "c.json", **files, benchmark="b")


def test_a_calibrator_is_fitted_to_several_splits_and_written_with_its_record(tmp_path):
    expected, (database, exemplars) = fit_to_drawn(KNOWN["a bias"]), drawn(KNOWN["a bias"])
    # Queries that are not valid take no part.
    part = database[:100], [own if q % 4 else [] for q, own in enumerate(exemplars[:100])]
    rest = (np.concatenate([database[:100:4], database[100:]]), [*exemplars[:100:4], *exemplars[100:]])
    calibrate_on(tmp_path, style_val=part, object_val=rest)
    found = read_calibrator(tmp_path / "c.pth")
    np.testing.assert_allclose(found, expected.calibrator, rtol=1e-4)
    record = json.loads((tmp_path / "c.json").read_text())
    assert (record["splits"], record["n_queries"]) == (["style_val", "object_val"], N_QUERIES)
    assert (np.float32(record["inv_tau"]), np.float32(record["bias"])) == found
    assert record["log_likelihood"] == pytest.approx(expected.log_likelihood, abs=1e-7)
    assert record["log_likelihood_uniform"] == pytest.approx(expected.uniform)


SOME = np.linspace(-0.5, 0.5, 160).reshape(8, 20)
NOTHING_TO_FIND = {
    "exemplars below the other images": (SOME, [[-0.9]] * 8),
    "equal scores": (np.full((8, 20), 0.5), [[0.5]] * 8),
}


@pytest.mark.parametrize("name", NOTHING_TO_FIND)
def test_scores_that_tell_nothing_give_even_influence_and_the_log_says_so(tmp_path, caplog, name):
    """A baseline that finds nothing does not stop the comparison that it is part of."""
    calibrate_on(tmp_path, style_val=NOTHING_TO_FIND[name])
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["log_likelihood"] == pytest.approx(record["log_likelihood_uniform"], abs=1e-2)
    assert "no calibrator makes the exemplars of style_val more likely" in caplog.text


NOTHING_TO_CALIBRATE_ON = {
    "no valid query": (SOME, [[]] * 8),
    "no image in the database": (SOME[:, :0], [[0.5]] * 8),
}


@pytest.mark.parametrize("name", NOTHING_TO_CALIBRATE_ON)
def test_where_there_is_nothing_to_calibrate_on_the_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=r"style_val\.h5: no valid query of style_val"):
        calibrate_on(tmp_path, style_val=NOTHING_TO_CALIBRATE_ON[name])
    assert not (tmp_path / "c.pth").exists() and not (tmp_path / "c.json").exists()
