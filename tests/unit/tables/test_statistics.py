"""Intervals that cover, p-values that an independent implementation gives, and no dependence on float noise."""

import math
from dataclasses import replace

import numpy as np
import pytest
from attribench.tables import statistics
from scipy import stats

RESAMPLING = statistics.Resampling(samples=2000)


def clustered(rng, n_entries=30, n_queries=10, shift=0.0):
    """Values of queries whose entry matters as much as they themselves do; entry numbers."""
    entry = np.repeat(np.arange(n_entries), n_queries)
    return shift + rng.standard_normal(n_entries)[entry] + rng.standard_normal(len(entry)), entry


def interval(values, entry, **changes):
    sums, counts = statistics.column_sums(values[:, None], entry)
    return statistics.intervals(sums, counts, replace(RESAMPLING, **changes))[0]


def test_sums_of_entries():
    values = np.array([0.1, 0.2, 0.3, np.nan, 1.0, np.nan])
    sums, counts = statistics.entry_sums(values, np.array([2, 2, 2, 2, 0, 1]), 4)
    assert sums.tolist() == [1.0, 0.0, math.fsum([0.1, 0.2, 0.3]), 0.0] and counts.tolist() == [1, 0, 3, 0]
    sums, counts = statistics.column_sums(np.column_stack([values, np.ones(6)]), np.array([2, 2, 2, 2, 0, 1]))
    assert counts.tolist() == [[1, 1], [0, 1], [3, 4]] and sums[:, 1].tolist() == [1, 1, 4]


def test_intervals_cover_the_mean_when_entries_are_the_unit():
    rng = np.random.default_rng(0)
    hits, naive_hits, trials = 0, 0, 300
    for _ in range(trials):
        values, entry = clustered(rng)
        low, high = interval(values, entry, samples=400)
        hits += low <= 0 <= high
        low, high = interval(values, np.arange(len(values)), samples=400)
        naive_hits += low <= 0 <= high
    assert 0.89 <= hits / trials <= 0.98
    assert naive_hits / trials < 0.7  # as if queries were independent: far too narrow


def test_an_interval_is_that_of_scipy():
    rng = np.random.default_rng(1)
    values = rng.random(25)
    ours = interval(values, np.arange(25), samples=20000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=2).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.004)


def test_resamples_weigh_entries_by_their_queries():
    """Two entries, of 1 and of 3 queries: a resample's mean is one of three values."""
    means = statistics.bootstrap_means(np.array([[1.0], [0.0]]), np.array([[1], [3]]), 1000, 0)
    assert set(np.round(means[:, 0], 12)) == {0.0, 0.25, 1.0}


def test_columns_share_their_resamples():
    rng = np.random.default_rng(2)
    sums, counts = rng.random((12, 1)), np.full((12, 1), 4)
    both = statistics.bootstrap_means(np.hstack([sums, sums + 0.5]), np.hstack([counts, counts]), 500, 3)
    assert np.allclose(both[:, 1] - both[:, 0], 0.125, rtol=0, atol=1e-9)
    assert (both[:, :1] == statistics.bootstrap_means(sums, counts, 500, 3)).all()


def test_a_seed_gives_the_same_interval_and_another_seed_another():
    values, entry = clustered(np.random.default_rng(3))
    assert interval(values, entry).tolist() == interval(values, entry).tolist()
    assert interval(values, entry).tolist() != interval(values, entry, seed=1).tolist()
    assert (np.round(interval(values, entry), 6) == interval(values, entry)).all()


def test_resampled_means_do_not_depend_on_the_order_of_addition():
    """Sums are whole numbers that float64 holds: columns added alone or together, forward or backward."""
    rng = np.random.default_rng(4)
    whole, scale = statistics._in_steps(rng.random((600, 3)) * 40)
    weights = rng.multinomial(600, np.full(600, 1 / 600), size=50).astype(float)
    expected = [
        [int(sum(int(w) * int(x) for w, x in zip(row, column, strict=True))) for column in whole.T] for row in weights
    ]
    assert (weights @ whole == np.array(expected)).all()
    assert np.abs(whole / scale).sum(axis=0) == pytest.approx(np.abs(whole).sum(axis=0) / scale) and scale >= 2**30


def test_one_entry_has_no_interval():
    assert np.isnan(interval(np.array([0.2, 0.9]), np.array([5, 5]))).all()
    assert np.isnan(interval(np.array([0.2, np.nan]), np.array([0, 1]))).all()
    assert np.isfinite(interval(np.array([0.2, 0.9]), np.array([5, 6]))).all()


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("m", [2, 5, 10])
def test_exact_p_values_are_those_of_scipy(m, shift):
    sums = np.random.default_rng(m).standard_normal(m) + shift
    theirs = stats.permutation_test((sums, np.zeros(m)), lambda a, b: (a - b).sum(), permutation_type="samples")
    assert statistics.sign_flip_p(sums[:, None], samples=1024, seed=0)[0] == pytest.approx(theirs.pvalue)


def test_random_p_values_are_near_the_exact_ones():
    sums = np.random.default_rng(9).standard_normal((12, 1)) + 0.5
    exact = statistics.sign_flip_p(sums, samples=4096, seed=0)[0]
    random = statistics.sign_flip_p(sums, samples=4095, seed=0)[0]
    assert random == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4095)) and random != exact
    clear = statistics.sign_flip_p(np.full((40, 1), 0.3), samples=999, seed=0)[0]
    assert clear == 1 / 1000


@pytest.mark.parametrize("tenths", [[1, 2, -3, 6], [1, 2, 3, -6, 5], [-1, -2, -3, 6, 5]])
@pytest.mark.parametrize("unit", [0.1, 1 / 3, 1 / 7])
def test_float_noise_flips_no_tie(tenths, unit):
    """0.1 + 0.2 is not 0.3 in floats, and 1/3 lies on no grid: equal sums of different sign vectors still tie."""
    sums = np.array(tenths, float)[:, None]
    parts = np.sign(sums) * np.repeat(unit, len(sums))[:, None]  # every entry as so many single parts
    single = np.repeat(parts, np.abs(sums[:, 0]).astype(int), axis=0)[:11]
    for values in (sums, single / unit):
        exact = statistics.sign_flip_p(np.round(values), samples=5000, seed=0)[0]
        assert statistics.sign_flip_p(np.round(values) * unit, samples=5000, seed=0)[0] == exact


def test_noise_alone_is_no_difference():
    noise = 1e-16 * np.random.default_rng(0).standard_normal((10, 1))
    assert statistics.sign_flip_p(noise, samples=2000, seed=0)[0] == 1


def test_entries_without_a_difference_tell_nothing():
    assert statistics.sign_flip_p(np.zeros((5, 1)), samples=100, seed=0)[0] == 1
    assert statistics.sign_flip_p(np.array([[0.7]]), samples=100, seed=0)[0] == 1


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(5)
    sums = rng.standard_normal((9, 400))
    p_values = statistics.sign_flip_p(sums, samples=512, seed=0)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_a_paired_difference():
    rng = np.random.default_rng(6)
    a, entry = clustered(rng)
    b = a - 0.1 - 0.01 * rng.standard_normal(len(a))
    b[3], a[20:30] = np.nan, np.nan  # a query, and all of entry 2
    (found,) = statistics.paired_differences(a[:, None], b[:, None], entry, RESAMPLING)
    assert found.value == pytest.approx(np.nanmean(a - b), abs=1e-14)
    assert 0.095 < found.ci_low < found.value < found.ci_high < 0.105  # paired: what entries share cancels
    assert found.p_value == 1 / 2001 and (found.n_queries, found.n_entries) == (289, 29)


def test_paired_differences_by_columns_are_those_one_by_one():
    rng = np.random.default_rng(7)
    entry = np.repeat(np.arange(6), 5)
    a, b = rng.random((30, 4)), rng.random((30, 4))
    together = statistics.paired_differences(a, b, entry, RESAMPLING)
    for c in range(4):
        assert [together[c]] == statistics.paired_differences(a[:, [c]], b[:, [c]], entry, RESAMPLING)


def test_a_difference_of_nothing_and_of_one_entry():
    a, b = np.full((4, 2), np.nan), np.ones((4, 2))
    a[:, 1] = 2
    nothing, one = statistics.paired_differences(a, b, np.zeros(4, int), RESAMPLING)
    assert np.isnan([nothing.value, nothing.ci_low, nothing.p_value]).all() and nothing.n_entries == 0
    assert (one.value, one.p_value, one.n_entries) == (1.0, 1.0, 1) and math.isnan(one.ci_low)


def test_holm_by_hand():
    adjusted = statistics.holm(np.array([0.04, 0.01, np.nan, 0.03, 0.9]))
    assert adjusted[[0, 1, 3, 4]] == pytest.approx([0.09, 0.04, 0.09, 0.9]) and math.isnan(adjusted[2])
    assert statistics.holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert statistics.holm(np.array([])).shape == (0,)
