"""Score histograms hold the sums that influence needs, whatever the features, and however the work is cut up."""

from functools import cache

import numpy as np
import pytest
from attribench.rank.ranker import Ranker
from helpers.rank_cases import same, score_matrix

N_QUERIES, N_EXEMPLARS, N = 150, 12, 4000
# How near all rows are to one another, and their dimension: a float32 product has parts of 256.
CASES = {
    "all over the scale": (0, 48),
    "cosines of 0.9": (3, 48),
    "cosines of 0.999": (30, 48),
    "a product of two parts": (1, 300),
}
CUTS = {
    "as it comes": {},
    "three threads, small blocks": {"threads": 3, "block_rows": 257, "pieces": 3},
    "float32 alone": {"products": ["float32"]},
    "float64": {"threads": 2, "products": ["float64"]},
}


@cache
def made_up(name):
    """Return a split of two entries and a database, a tenth of its images and of the queries invalid."""
    closeness, dimension = CASES[name]
    rng = np.random.default_rng(7)
    rows = {"queries": N_QUERIES, "exemplars": N_EXEMPLARS, "database": N}
    made = {name: (closeness + rng.standard_normal((n, dimension))).astype(np.float32) for name, n in rows.items()}
    made["exemplars"][5] = 3 * made["queries"][5]  # one query's best exemplar is above all of the database
    return made | {"query_valid": rng.random(N_QUERIES) < 0.9, "valid": rng.random(N) < 0.9}


@cache
def all_scores(name):
    """Return the scores of the valid queries with the valid images of the database, float64 [q, n]."""
    made = made_up(name)
    return score_matrix(made["queries"][made["query_valid"]], made["database"][made["valid"]])


def ranked(name, pieces=1, **options):
    """Return the histogram and the ranks of the case `name`, whose database comes in `pieces`."""
    made, entries = made_up(name), [np.arange(n) % 2 for n in (N_QUERIES, N_EXEMPLARS)]
    options |= {"query_valid": made["query_valid"]}
    ranker = Ranker(made["queries"], entries[0], made["exemplars"], entries[1], **options)
    for rows in np.array_split(np.arange(N), pieces):
        ranker.add(made["database"][rows], made["valid"][rows])
    return ranker.histogram, ranker.finish()


@cache
def histogram_of(name):
    return ranked(name, histogram=True, threads=2)[0]


def sums_of(values, weights, best, inv_tau, less=0.0):
    return (weights * np.maximum(0, np.exp(inv_tau * (values - best[:, None])) - less)).sum(axis=1)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", CASES)
def test_every_score_counts_once(name, cut):
    histogram, ranks = ranked(name, histogram=True, **CUTS[cut])
    scores, valid = all_scores(name), made_up(name)["query_valid"]
    assert histogram.moments.shape[0] == valid.sum()
    assert (histogram.moments[..., 0].sum(axis=1) == scores.shape[1]).all()
    assert (histogram.anchor == ranks.scores[ranks.offsets[:-1][valid]]).all()
    values, weights = histogram.points()
    mean, square = ((weights * values**power).sum(axis=1) / scores.shape[1] for power in (1, 2))
    np.testing.assert_allclose(mean, scores.mean(axis=1), rtol=0, atol=1e-7)
    np.testing.assert_allclose(np.sqrt(square - mean**2), scores.std(axis=1), rtol=1e-6)


@pytest.mark.parametrize("less", [0.0, 0.005])
@pytest.mark.parametrize(("factor", "tolerance"), [(1, 1e-6), (5, 5e-5), (10, 5e-5)])
@pytest.mark.parametrize("name", CASES)
def test_sums_of_exponentials_are_those_of_all_scores(name, factor, tolerance, less):
    """At inverse temperatures of 1, 5 and 10 over the spread of scores. A kink inside a bin is not as exact."""
    scores = all_scores(name)
    best, inv_tau = scores.max(axis=1), factor / scores.std(axis=1).mean()
    found = sums_of(*histogram_of(name).points(), best, inv_tau, less)
    error = np.abs(found / sums_of(scores, 1, best, inv_tau, less) - 1)
    kink = 1e-4 if less else 0.0
    assert error.max() < tolerance + kink and np.sqrt(np.mean(error**2)) < (tolerance + kink) / 4


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", CASES)
def test_threads_blocks_and_products_hardly_matter(name, cut):
    """Products know a score to about 1e-7; the sharper the exponential, the more that is of its sum."""
    scores = all_scores(name)
    best, other = scores.max(axis=1), ranked(name, histogram=True, **CUTS[cut])[0]
    for factor, tolerance in ((1, 1e-6), (10, 1e-4)):
        inv_tau = factor / scores.std(axis=1).mean()
        sums = [sums_of(*histogram.points(), best, inv_tau) for histogram in (histogram_of(name), other)]
        np.testing.assert_allclose(*sums, rtol=tolerance)


def test_bfloat16_is_too_coarse_for_a_histogram():
    found, expected = (
        ranked("cosines of 0.9", histogram=True, products=products)[0]
        for products in (["bfloat16", "float64"], ["float64"])
    )
    assert found.moments.tobytes() == expected.moments.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_ranks_are_the_same_bytes_with_and_without(name):
    options = {"threads": 2, "block_rows": 500, "sizes": [1000], "top_k": 7}
    (nothing, without), (histogram, ranks) = ranked(name, **options), ranked(name, histogram=True, **options)
    assert nothing is None and histogram is not None
    same(without, ranks)
    np.testing.assert_array_equal(without.ranks_at, ranks.ranks_at)


def test_the_points_of_some_queries_are_theirs_alone():
    histogram, best = histogram_of("all over the scale"), all_scores("all over the scale").max(axis=1)
    some = np.array([3, 11, 12])
    expected = sums_of(*histogram.points(), best, 20.0)[some]
    np.testing.assert_allclose(sums_of(*histogram.points(some), best[some], 20.0), expected, rtol=1e-12)


def test_queries_that_go_on_with_a_finer_product_count_once(monkeypatch):
    """Half of the database ties with the exemplars of the last queries: float32 leaves too many pairs of these undecided."""
    monkeypatch.setattr("attribench.rank.ranker._TILES_PER_THREAD", 1)
    rng = np.random.default_rng(3)
    queries, exemplars, database = (rng.standard_normal((n, 16)) for n in (300, 2, 600))
    database[::2] = exemplars[1] * (1 + 1e-12 * rng.standard_normal((300, 1)))
    ranker = Ranker(queries, np.arange(300) // 150, exemplars, np.arange(2), histogram=True)
    ranker.add(database, None)
    moments = ranker.histogram.moments
    assert ranker._levels == [1] and (moments[..., 0].sum(axis=1) == 600).all()
    mean = (np.multiply(*ranker.histogram.points())).sum(axis=1) / 600
    np.testing.assert_allclose(mean, score_matrix(queries, database).mean(axis=1), rtol=0, atol=1e-7)
