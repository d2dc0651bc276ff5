"""Intervals that cover and promise no more than they know, p-values that an independent implementation gives, exact sums."""

import math

import numpy as np
import pytest
from attribench.tables import statistics
from helpers import interval_coverage as coverage
from scipy import stats

RESAMPLING = statistics.Resampling(samples=2000)


def clustered(rng, n_entries=30, n_queries=10, shift=0.0):
    """Values of queries whose entry matters as much as they themselves do; entry numbers."""
    entry = np.repeat(np.arange(n_entries), n_queries)
    return shift + rng.standard_normal(n_entries)[entry] + rng.standard_normal(len(entry)), entry


def interval(values, entry, bound=1.0, confidence=0.95, **options):
    sums, counts = statistics.column_sums(values[:, None], entry)
    return statistics.intervals(sums, counts, np.array([bound]), confidence, **options)[0]


def sign_flip_p(sums, *, samples):
    resampling = statistics.Resampling(samples=samples)
    return statistics.sign_flips(sums, np.ones_like(sums), resampling)[0]


def test_sums_of_entries():
    values = np.array([0.1, 0.2, 0.3, np.nan, 1.0, np.nan])
    sums, counts = statistics.entry_sums(values, np.array([2, 2, 2, 2, 0, 1]), 4)
    assert sums.tolist() == [1.0, 0.0, math.fsum([0.1, 0.2, 0.3]), 0.0] and counts.tolist() == [1, 0, 3, 0]
    sums, counts = statistics.column_sums(np.column_stack([values, np.ones(6)]), np.array([2, 2, 2, 2, 0, 1]))
    assert counts.tolist() == [[1, 1], [0, 1], [3, 4]] and sums[:, 1].tolist() == [1, 1, 4]


@pytest.mark.parametrize("n_entries", [6, 8, 12, 24, 50])
@pytest.mark.parametrize("metric", coverage.SAMPLE)
def test_intervals_hold_the_mean_of_the_samples_entries(metric, n_entries):
    populations = coverage.sample_populations(metric).values()
    shares = [coverage.coverage(population, n_entries, 300)[0] for population in populations]
    assert len(shares) >= 10 and 0.92 <= np.mean(shares) <= 0.98
    assert min(shares) >= 0.85


@pytest.mark.parametrize("n_entries", [6, 12, 24, 50])
@pytest.mark.parametrize("name", coverage.MADE_UP)
def test_intervals_hold_means_near_their_ends_too(name, n_entries):
    """Also where many draws have only values of 1: no interval of such draws can come nearer to 95 %, so more is right."""
    share, width = coverage.coverage(coverage.MADE_UP[name], n_entries, 1000)
    assert 0.9 <= share <= 0.995 and width < 0.8


@pytest.mark.parametrize("n_entries", [6, 8, 12, 24])
def test_intervals_hold_the_samples_differences(n_entries):
    """The test supposes that differences are as often above as below their mean; for AP they are lopsided."""
    means = []
    for metric in coverage.SAMPLE:
        populations = coverage.sample_differences(metric).values()
        shares = [coverage.coverage_of_differences(p, n_entries, 100, samples=999)[0] for p in populations]
        assert len(shares) >= 10 and 0.88 <= np.mean(shares) <= 0.985
        means.append(np.mean(shares))
    assert 0.92 <= np.mean(means) <= 0.98


def test_queries_of_an_entry_do_not_count_as_independent():
    population = coverage.skewed(0.5, 2)
    rng = np.random.default_rng(0)
    means = np.repeat(population[0](rng, (12, 200)), 10, axis=0)  # ten queries of an entry that are all alike
    ones = np.ones_like(means)
    ends = statistics.intervals(means, ones, np.ones(200), 0.95)
    assert ((ends[:, 0] <= 0.5) & (0.5 <= ends[:, 1])).mean() < 0.7, "as if each were an entry: far too narrow"


def test_with_many_entries_an_interval_is_students():
    rng = np.random.default_rng(1)
    values = rng.beta(4, 6, 2000)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values, np.arange(2000)) == pytest.approx([theirs.low, theirs.high], abs=2e-4)


def test_of_0_and_1_an_interval_is_wilsons_with_students_t():
    values = np.array([1.0] * 15 + [0.0] * 5)
    t = stats.t.ppf(0.975, 19)
    p, n = 0.75, 19  # the variance divides by one less than the number of entries
    ends = (p + t**2 / (2 * n) + np.array([-1, 1]) * t * np.sqrt(p * (1 - p) / n + t**2 / (4 * n**2))) / (1 + t**2 / n)
    assert interval(values, np.arange(20), unseen=0.0) == pytest.approx(ends, abs=1e-12)


@pytest.mark.parametrize("n_entries", [6, 20, 200])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_entries_that_are_all_alike_leave_a_width(value, n_entries):
    low, high = interval(np.full(n_entries, value), np.arange(n_entries))
    assert 0 <= low <= value <= high <= 1 and high - low > 0.4 / n_entries
    if value in (0.0, 1.0):  # an exact interval of so many hits or misses, one-sided at 95 %
        exact = 1 - 0.05 ** (1 / n_entries)
        assert exact <= high - low < 2.5 * exact


def test_an_interval_stays_between_0_and_the_bound_and_holds_the_mean():
    rng = np.random.default_rng(2)
    for bound in (1.0, 0.625):
        for n in (6, 7, 30):
            values = bound * rng.beta(0.1, 0.05, n)
            low, high = interval(values, np.arange(n), bound)
            assert 0 <= low <= values.mean() <= high <= bound
    assert interval(np.full(8, 0.625), np.arange(8), 0.625)[1] == 0.625


def test_entries_weigh_as_their_queries():
    """An interval depends on entries' sums and counts alone, and an entry of no queries is none."""
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, 12)
    means = rng.random(12)
    entry = np.repeat(np.arange(12), counts)
    expected = interval(means[entry], entry)
    sums, counts = np.append(means * counts, 0.0)[:, None], np.append(counts, 0)[:, None]
    assert statistics.intervals(sums, counts, np.ones(1), 0.95)[0] == pytest.approx(expected, abs=1e-12)
    assert expected[0] < np.average(means, weights=counts[:12, 0]) < expected[1]
    assert interval(means[entry], entry, confidence=0.8)[0] > expected[0]


def test_fewer_than_six_entries_have_no_interval():
    for n in range(1, 8):
        assert np.isnan(interval(np.ones(n), np.arange(n))).tolist() == [n < statistics.LEAST_ENTRIES] * 2
        assert statistics.note(n) == ("" if n >= 6 else "no interval: fewer than 6 entries")
    sums, counts = np.ones((7, 2)), np.array([[1, 1]] * 5 + [[1, 0]] * 2)
    _, ends = statistics.sign_flips(sums, counts, RESAMPLING)
    assert np.isnan(ends).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("m", [2, 5, 10])
def test_exact_p_values_are_those_of_scipy(m, shift):
    sums = np.random.default_rng(m).standard_normal(m) + shift
    theirs = stats.permutation_test((sums, np.zeros(m)), lambda a, b: (a - b).sum(), permutation_type="samples")
    assert sign_flip_p(sums[:, None], samples=1024)[0] == pytest.approx(theirs.pvalue)


def test_random_p_values_are_near_the_exact_ones():
    sums = np.random.default_rng(9).standard_normal((12, 1)) + 0.5
    exact = sign_flip_p(sums, samples=4096)[0]
    random = sign_flip_p(sums, samples=4095)[0]
    assert random == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4095)) and random != exact
    clear = sign_flip_p(np.full((40, 1), 0.3), samples=999)[0]
    assert clear == 1 / 1000


@pytest.mark.parametrize("tenths", [[1, 2, -3, 6], [1, 2, 3, -6, 5], [-1, -2, -3, 6, 5]])
@pytest.mark.parametrize("unit", [0.1, 1 / 3, 1 / 7])
def test_float_noise_flips_no_tie(tenths, unit):
    """0.1 + 0.2 is not 0.3 in floats, and 1/3 lies on no grid: equal sums of different sign vectors still tie."""
    sums = np.array(tenths, float)[:, None]
    parts = np.sign(sums) * np.repeat(unit, len(sums))[:, None]  # every entry as so many single parts
    single = np.repeat(parts, np.abs(sums[:, 0]).astype(int), axis=0)[:11]
    for values in (sums, single / unit):
        exact = sign_flip_p(np.round(values), samples=5000)[0]
        assert sign_flip_p(np.round(values) * unit, samples=5000)[0] == exact


def test_noise_alone_is_no_difference():
    noise = 1e-16 * np.random.default_rng(0).standard_normal((10, 1))
    assert sign_flip_p(noise, samples=2000)[0] == 1


def test_entries_without_a_difference_tell_nothing():
    assert sign_flip_p(np.zeros((5, 1)), samples=100)[0] == 1
    assert sign_flip_p(np.array([[0.7]]), samples=100)[0] == 1


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(5)
    sums = rng.standard_normal((9, 400))
    p_values = sign_flip_p(sums, samples=512)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_resampled_sums_do_not_depend_on_the_order_of_addition():
    """Sums are whole numbers that float64 holds: columns added alone or together, forward or backward."""
    rng = np.random.default_rng(4)
    whole, scale = statistics._in_steps(rng.random((600, 3)) * 40)
    signs = 1.0 - 2.0 * rng.integers(0, 2, (50, 600))
    expected = [
        [int(sum(int(s) * int(x) for s, x in zip(row, column, strict=True))) for column in whole.T] for row in signs
    ]
    assert (signs @ whole == np.array(expected)).all()
    assert np.abs(whole / scale).sum(axis=0) == pytest.approx(np.abs(whole).sum(axis=0) / scale) and scale >= 2**30


def test_an_interval_of_a_difference_holds_what_the_test_does_not_reject():
    """By trying: the test of the difference d is that of the entries' sums less d for each query."""
    rng = np.random.default_rng(8)
    counts = rng.integers(1, 6, (9, 1))
    sums = (rng.standard_normal((9, 1)) + 0.4) * counts / 5
    p_value, ((low, high),) = statistics.sign_flips(sums, counts, RESAMPLING)
    for d, inside in ((low - 1e-6, False), (low + 1e-6, True), (high - 1e-6, True), (high + 1e-6, False)):
        p, _ = statistics.sign_flips(sums - d * counts, counts, RESAMPLING)
        assert (p[0] > 0.05) == inside
    assert (p_value[0] > 0.05) == (low <= 0 <= high)


@pytest.mark.parametrize("m", [6, 9, 40])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_an_interval_leaves_out_0_just_where_the_p_value_is_small(m, confidence):
    rng = np.random.default_rng(m)
    sums = np.round(rng.standard_normal((m, 300)) + rng.choice([0, 0.3, 0.6, 1], 300), 1) / 8  # ties, and sums of 0
    resampling = statistics.Resampling(samples=999, confidence=confidence)
    p_values, ends = statistics.sign_flips(sums, np.ones_like(sums), resampling)
    outside = (ends[:, 0] > 0) | (ends[:, 1] < 0)
    possible = 2.0 ** (1 - m) <= 1 - confidence
    assert (outside == (p_values <= 1 - confidence + 1e-12)).all() and outside.any() == possible
    assert (ends[:, 0] <= sums.mean(axis=0) + 1e-9).all() and (sums.mean(axis=0) - 1e-9 <= ends[:, 1]).all()


def test_a_difference_that_all_entries_have_alike_is_no_certainty():
    for m in (6, 30):
        for value in (0.0, 0.2, -1.0):
            p_values, ((low, high),) = statistics.sign_flips(np.full((m, 1), value), np.ones((m, 1)), RESAMPLING)
            assert -1 <= low <= value <= high <= 1 and high - low >= (1 - 0.025 ** (1 / m)) * 0.8
            assert low < 0 < high if p_values[0] > 0.05 else low >= 0 or high <= 0


def test_a_paired_difference():
    rng = np.random.default_rng(6)
    a, entry = clustered(rng)
    b = a - 0.1 - 0.01 * rng.standard_normal(len(a))
    b[3], a[20:30] = np.nan, np.nan  # a query, and all of entry 2
    (found,) = statistics.paired_differences(a[:, None], b[:, None], entry, RESAMPLING)
    assert found.value == pytest.approx(np.nanmean(a - b), abs=1e-14)
    assert 0.095 < found.ci_low < found.value < found.ci_high < 0.105  # paired: what entries share cancels
    assert found.p_value == 1 / 2001 and (found.n_queries, found.n_entries) == (289, 29)


def test_paired_differences_by_columns_are_those_one_by_one(monkeypatch):
    rng = np.random.default_rng(7)
    entry = np.repeat(np.arange(6), 5)
    a, b = rng.random((30, 5)), rng.random((30, 5))
    monkeypatch.setattr(statistics, "_COLUMNS", 2)
    together = statistics.paired_differences(a, b, entry, RESAMPLING)
    assert len(together) == 5
    for c in range(5):
        assert [together[c]] == statistics.paired_differences(a[:, [c]], b[:, [c]], entry, RESAMPLING)


def test_a_seed_gives_the_same_interval_and_another_seed_another():
    values, entry = clustered(np.random.default_rng(3))
    first, again, other = (
        statistics.paired_differences(
            values[:, None], 0 * values[:, None], entry, statistics.Resampling(999, 0.95, seed)
        )
        for seed in (0, 0, 1)
    )
    assert first == again != other


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
