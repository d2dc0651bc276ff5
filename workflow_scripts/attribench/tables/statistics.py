"""Intervals and tests for means over queries, when queries of one entry are not independent.

The unit is the entry: a mean over queries is (sum of entry sums) / (sum of entry counts), and only the spread between
entries counts. Values come as sums [M, C] and counts [M, C] over M entries, one column per method.

In the sign-flip test, sums are rounded to whole steps, too small to show in a result, and large enough for float64 to add
them exactly (`_in_steps`). So a sum has the same bits in any order of addition, and a sign vector that reproduces the
observed value is always counted as such.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

LEAST_ENTRIES = 6  # fewer tell too little of the spread between entries for an interval that keeps its promise
NO_INTERVAL = f"no interval: fewer than {LEAST_ENTRIES} entries"
_CHUNK = 1 << 21  # numbers of sign vectors in memory at a time
_COLUMNS = 256  # columns whose sign-flipped means are in memory at a time
_SLACK = 1e-9
_SAME = 1e-12  # entries whose mean differences differ by less have the same one


@dataclass(frozen=True)
class Resampling:
    """Hold the `confidence` of intervals, in (0, 1), and the number and seed of the sign-flip test's random sign vectors."""

    samples: int = 10000
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Difference:
    """Hold a paired difference of two means, `value` = a - b, over the queries where both are known."""

    value: float
    ci_low: float
    ci_high: float
    p_value: float
    n_queries: int
    n_entries: int


def entry_sums(values: np.ndarray, entry: np.ndarray, n_entries: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sum and number of the known (not NaN) values of each entry: float64 [M] and int64 [M].

    values: float64 [Q]; entry: int64 [Q], 0 to `n_entries` - 1. Sums are correctly rounded.
    """
    known = ~np.isnan(values)
    order = np.argsort(entry[known], kind="stable")
    counts = np.bincount(entry[known], minlength=n_entries)
    sorted_values = values[known][order].tolist()
    stops = np.cumsum(counts).tolist()
    sums = [math.fsum(sorted_values[stop - n : stop]) for stop, n in zip(stops, counts.tolist(), strict=True)]
    return np.array(sums, dtype=np.float64), counts.astype(np.int64)


def column_sums(values: np.ndarray, entry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the `entry_sums` of each column of `values` [Q, C], for the entries with a known value in any: both [M, C]."""
    n_entries = int(entry.max()) + 1 if len(entry) else 0
    pairs = [entry_sums(column, entry, n_entries) for column in values.T]
    sums = np.array([sums for sums, _ in pairs]).reshape(len(pairs), n_entries).T
    counts = np.array([counts for _, counts in pairs], np.int64).reshape(len(pairs), n_entries).T
    used = (counts > 0).any(axis=1)
    return sums[used], counts[used]


def mean(values: np.ndarray) -> float:
    """Return the mean of the known (not NaN) values, from their correctly rounded sum; NaN when there is none."""
    known = values[~np.isnan(values)]
    return math.fsum(known.tolist()) / len(known) if len(known) else math.nan


def intervals(
    sums: np.ndarray, counts: np.ndarray, bounds: np.ndarray, confidence: float, unseen: float | None = None
) -> np.ndarray:
    """Return intervals of the means over queries of values from 0 to each column's bound: float64 [C, 2], within these.

    sums, counts: [M, C]; bounds: float64 [C]. This is Wilson's score interval at the effective number of entries, with
    Student's t (docs/methods.md, "Intervals"). One more entry, which was not seen, takes part with the weight `unseen`
    (None: 1 - confidence), half of it at 0 and half at the bound: else entries that are all alike would leave no width.
    NaN for a column with fewer than LEAST_ENTRIES entries that have queries.
    """
    weight = 1 - confidence if unseen is None else unseen
    columns = zip(sums.T, counts.T, bounds, strict=True)
    return np.array([_interval(*column, confidence, weight) for column in columns]).reshape(-1, 2)


def _interval(sums: np.ndarray, counts: np.ndarray, bound: float, confidence: float, weight: float) -> tuple:
    sums, counts = sums[counts > 0], counts[counts > 0]
    m = len(sums)
    if m < LEAST_ENTRIES:
        return math.nan, math.nan
    if not bound > 0:
        return 0.0, 0.0
    size = math.fsum(counts) / m
    shares = sums / (size * bound)  # of an entry of mean size: its mean, from 0 to 1
    value = math.fsum(shares) / m
    p = (math.fsum(shares) + weight / 2) / (m + weight)
    squares = math.fsum((shares - p * counts / size) ** 2) + weight / 2 * (p**2 + (1 - p) ** 2)
    variance = squares / (m - 1) / (m + weight)
    if variance == 0:
        return value * bound, value * bound
    # The library's last bits may differ between machines.
    t = round(float(stdtrit(m - 1, (1 + confidence) / 2)), 10)
    n = p * (1 - p) / variance
    middle, half = p + t**2 / (2 * n), t * math.sqrt(variance + (t / (2 * n)) ** 2)
    low, high = ((middle + sign * half) / (1 + t**2 / n) for sign in (-1, 1))
    # The entry that was not seen must not push the observed mean out.
    return min(max(low, 0.0), value) * bound, max(min(high, 1.0), value) * bound


def t_interval(values: np.ndarray, entry: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return Student's interval of the mean over queries of `values` [Q], which have no bounds, of entries [Q].

    The standard error is that of a ratio of sums, by linearization: an entry's residual is its sum less mean times count.
    NaN with fewer than LEAST_ENTRIES entries, and for values that are not finite.
    """
    [sums], [counts] = (part.T for part in column_sums(values[:, None], entry))
    m, n = len(sums), counts.sum()
    if m < LEAST_ENTRIES or not np.isfinite(sums).all():
        return math.nan, math.nan
    value = math.fsum(sums) / n
    error = math.sqrt(m / (m - 1) * math.fsum((sums - value * counts) ** 2)) / n
    t = round(float(stdtrit(m - 1, (1 + confidence) / 2)), 10)
    return value - t * error, value + t * error


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], n_entries: int, resampling: Resampling
) -> tuple[np.ndarray, np.ndarray]:
    """Return percentile intervals of a `statistic`, low and high, from entries drawn with replacement.

    statistic: takes how often each entry was drawn, float64 [S, M], and returns values [S, …]. The percentiles lie further
    out than the confidence says, as Student's t does for so few entries ("expanded percentiles", Hesterberg 2015): plain
    ones of six entries with normal means hold the mean in 84 % of cases, not in 95 %. NaN with fewer than LEAST_ENTRIES.
    """
    if n_entries < LEAST_ENTRIES:
        nothing = np.full(statistic(np.ones((1, n_entries))).shape[1:], math.nan)
        return nothing, nothing
    rng, chances, step = (
        np.random.default_rng(resampling.seed),
        [1 / n_entries] * n_entries,
        max(1, _CHUNK // n_entries),
    )
    sizes = [min(step, resampling.samples - start) for start in range(0, resampling.samples, step)]
    values = np.concatenate([statistic(rng.multinomial(n_entries, chances, n).astype(np.float64)) for n in sizes])
    t = stdtrit(n_entries - 1, (1 + resampling.confidence) / 2)
    outside = round(float(ndtr(-t * math.sqrt(n_entries / (n_entries - 1)))), 10)
    low, high = np.nanquantile(values, [outside, 1 - outside], axis=0)
    return low, high


def paired_differences(a: np.ndarray, b: np.ndarray, entry: np.ndarray, resampling: Resampling) -> list[Difference]:
    """Return the differences of the means over queries of `a` and `b`, column by column, where neither is NaN.

    a, b: float64 [Q, C], from 0 to 1; entry: int64 [Q], from 0. p-values and intervals are those of `sign_flips`, with the
    same sign vectors for all columns. Without any query, every number of a column is NaN.
    """
    sums, counts = column_sums(a - b, entry)
    p_values, ends = sign_flips(sums, counts, resampling)
    return [_difference(a[:, c], b[:, c], ends[c], p_values[c], counts[:, c]) for c in range(sums.shape[1])]


def _difference(a: np.ndarray, b: np.ndarray, ends: np.ndarray, p_value: float, counts: np.ndarray) -> Difference:
    both = ~np.isnan(a - b)
    n_entries = int((counts > 0).sum())
    if n_entries == 0:
        p_value = math.nan
    value = mean(a[both]) - mean(b[both])
    return Difference(value, float(ends[0]), float(ends[1]), float(p_value), int(both.sum()), n_entries)


def sign_flips(sums: np.ndarray, counts: np.ndarray, resampling: Resampling) -> tuple[np.ndarray, np.ndarray]:
    """Return two-sided p-values, float64 [C], and intervals, float64 [C, 2], of mean differences over queries.

    sums, counts: [M, C]. The hypothesis of a p-value is that each entry's sum is as likely as its negative; the statistic
    is |sum over entries|. Exact over all 2^M sign vectors when these are at most `resampling.samples`; else
    (1 + hits) / (1 + samples) over so many random ones (Phipson and Smyth 2010), which is never zero. With one entry, or
    none that differs, it is 1.

    An interval holds each difference that the same test does not reject, so it leaves out 0 just where the p-value is at
    most 1 - confidence. Where all entries have the same difference, and so show no spread, the interval is what other
    entries could make of it (`_without_spread`). NaN for a column with fewer than LEAST_ENTRIES entries that have queries.
    """
    blocks = [slice(first, first + _COLUMNS) for first in range(0, sums.shape[1], _COLUMNS)]
    found = [_sign_flips(sums[:, block], counts[:, block].astype(np.float64), resampling) for block in blocks]
    p_values = np.concatenate([p for p, _ in found]) if found else np.empty(0)
    return p_values, np.concatenate([ends for _, ends in found]) if found else np.empty((0, 2))


def _sign_flips(sums: np.ndarray, counts: np.ndarray, resampling: Resampling) -> tuple[np.ndarray, np.ndarray]:
    """Return p-values and intervals of the columns of one block."""
    (m, columns), alpha = sums.shape, 1 - resampling.confidence
    is_exact = 2**m <= resampling.samples
    hits, lows, highs = _flipped(sums, counts, resampling, is_exact)
    n = len(lows)
    p_values = hits / n if is_exact else (1 + hits) / (1 + n)
    # So many hits, and no more, make the p-value at most alpha; -1: none can. The slack is for alphas such as 1 - 0.8.
    few = math.floor(alpha * n + _SLACK) if is_exact else math.floor(alpha * (1 + n) + _SLACK) - 1
    ends = np.tile([-1.0, 1.0], (columns, 1))
    if few >= 0:
        ends[:, 0] = np.partition(lows, few, axis=0)[few]
        ends[:, 1] = np.partition(highs, n - 1 - few, axis=0)[n - 1 - few]
    for c in range(columns):
        known = counts[:, c] > 0
        if known.sum() < LEAST_ENTRIES:
            ends[c] = math.nan
        elif np.ptp(sums[known, c] / counts[known, c]) < _SAME:
            value = math.fsum(sums[:, c]) / math.fsum(counts[:, c])
            ends[c] = _without_spread(value, int(known.sum()), alpha, hits[c] <= few)
    return p_values, ends


def _flipped(sums: np.ndarray, counts: np.ndarray, resampling: Resampling, is_exact: bool) -> tuple[np.ndarray, ...]:
    """Return the number of sign vectors that are hits, int64 [C], and for each the ds between which it is: both [n, C].

    The test of a difference d compares |sum of s_i - d n_i| with its value after flips. Both are equal at two ds: the means
    over the entries whose sign is + and over those whose sign is -. Between these, this sign vector is a hit. So the
    interval's ends are quantiles of the smaller and of the larger of the two means (Hartigan 1969).
    """
    m, columns = sums.shape
    steps, scale = _in_steps(sums)
    total, n_queries = steps.sum(axis=0), counts.sum(axis=0)
    signs = _all_signs(m) if is_exact else _random_signs(m, resampling.samples, resampling.seed)
    hits, lows, highs = np.zeros(columns, np.int64), [], []
    for chunk in signs:
        flipped, weights = chunk @ steps, chunk @ counts
        # Each entry's sum is off by half a step at most, plus float noise far below one: totals that close are ties.
        hits += (np.abs(flipped) >= np.abs(total) - (m + 1)).sum(axis=0)
        means = np.stack([_steps_to_mean(total + s * flipped, n_queries + s * weights, m, scale) for s in (-1, 1)])
        unknown = np.isnan(means).any(axis=0)  # one of the two sides has no queries: a hit whatever d is
        lows.append(np.where(unknown, -1.0, means.min(axis=0)))
        highs.append(np.where(unknown, 1.0, means.max(axis=0)))
    return hits, np.concatenate(lows), np.concatenate(highs)


def _steps_to_mean(steps: np.ndarray, weights: np.ndarray, m: int, scale: float) -> np.ndarray:
    """Return the means of sums in steps, exactly 0 where the steps are a tie with it; NaN where there are no queries."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(np.abs(steps) <= m + 1, 0.0, steps) / scale / weights
    return np.where(weights > 0, means, np.nan)


def _without_spread(value: float, m: int, alpha: float, is_significant: bool) -> tuple[float, float]:
    """Return an interval of a difference that all m entries have alike.

    Up to a share 1 - (alpha / 2)^(1 / m) of all entries could be otherwise, from -1 to 1, and none of them be among m
    (Hanley and Lippman-Hand 1983, the "rule of three"). It stops at 0 where the
    difference is significant.
    """
    share = 1 - (alpha / 2) ** (1 / m)
    low, high = value - share * (1 + value), value + share * (1 - value)
    if is_significant:
        low, high = (max(low, 0.0), high) if value > 0 else (low, min(high, 0.0))
    return low, high


def note(n_entries: int) -> str:
    """Return why a row of a table has no interval; nothing where it has one."""
    return "" if n_entries >= LEAST_ENTRIES else NO_INTERVAL


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return Holm's step-down adjustment of the p-values [n] of one family, at most 1; NaNs stay and do not count."""
    p_values = np.asarray(p_values, np.float64)
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def _in_steps(sums: np.ndarray) -> tuple[np.ndarray, float]:
    """Return `sums` [M, C] in whole steps, and the steps in 1: sums of M of them, in any order and signs, stay below 2^53.

    A step is never below 2^-36, because the noise in sums of metrics, which are 1 at most, must stay far below a step.
    """
    peak = float(np.abs(sums).max(initial=0.0)) * max(len(sums), 1)
    scale = 2.0 ** min(36, 51 - math.frexp(peak)[1])
    return np.round(sums * scale), scale


def _all_signs(n: int) -> Iterator[np.ndarray]:
    step = max(1, _CHUNK // max(n, 1))
    for start in range(0, 2**n, step):
        numbers = np.arange(start, min(start + step, 2**n))
        yield 1.0 - 2.0 * (numbers[:, None] >> np.arange(n) & 1)


def _random_signs(n: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(n, 1))
    for start in range(0, samples, step):
        yield 1.0 - 2.0 * generator.integers(0, 2, size=(min(step, samples - start), n))
