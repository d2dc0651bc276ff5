"""Intervals and tests for means over queries, when queries of one entry are not independent.

The unit of resampling is the entry: a mean over queries is (sum of entry sums) / (sum of entry counts), and a resample
draws whole entries with replacement. Values come as sums [M, C] and counts [M, C] over M entries, one column per method.

Sums are rounded to whole steps, too small to show in a result, and large enough for float64 to add them exactly
(`_in_steps`). So a resample's mean has the same bits in any order of addition, and a permutation that reproduces the
observed value is always counted as such.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

DIGITS = 6  # of an interval's ends: more would be noise of the resampling
_CHUNK = 1 << 21  # resampled numbers in memory at a time


@dataclass(frozen=True)
class Resampling:
    """Hold the settings of the bootstrap and of the permutation test; `confidence`, of the intervals, is in (0, 1)."""

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
    sums = np.array([sums for sums, _ in pairs]).reshape(-1, n_entries).T
    counts = np.array([counts for _, counts in pairs], np.int64).reshape(-1, n_entries).T
    used = (counts > 0).any(axis=1)
    return sums[used], counts[used]


def mean(values: np.ndarray) -> float:
    """Return the mean of the known (not NaN) values, from their correctly rounded sum; NaN when there is none."""
    known = values[~np.isnan(values)]
    return math.fsum(known.tolist()) / len(known) if len(known) else math.nan


def bootstrap_means(sums: np.ndarray, counts: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Return the means over queries of `samples` resamples of the entries: float64 [samples, C].

    sums, counts: [M, C]. The resamples depend on M, `samples` and `seed` only, and every column sees the same ones. NaN
    where a resample has no query.
    """
    whole, scale = _in_steps(sums)
    columns = whole.shape[1]
    stacked = np.concatenate([whole, counts.astype(np.float64)], axis=1)
    totals = np.concatenate([weights @ stacked for weights in _resamples(len(sums), samples, seed)])
    with np.errstate(invalid="ignore"):
        return totals[:, :columns] / scale / totals[:, columns:]


def intervals(sums: np.ndarray, counts: np.ndarray, resampling: Resampling) -> np.ndarray:
    """Return percentile bootstrap intervals of the means over queries: float64 [C, 2], rounded to 6 decimals.

    NaN for a column with fewer than two entries that have queries: resampling a single entry always gives that entry,
    so its interval would have no width and claim a certainty that one entry cannot give.
    """
    tail = (1 - resampling.confidence) / 2
    ends = np.full((sums.shape[1], 2), np.nan)
    enough = (counts > 0).sum(axis=0) >= 2
    if enough.any():
        means = bootstrap_means(sums[:, enough], counts[:, enough], resampling.samples, resampling.seed)
        ends[enough] = np.nanquantile(means, [tail, 1 - tail], axis=0).T
    return np.round(ends, DIGITS) + 0.0  # no negative zero


def paired_differences(a: np.ndarray, b: np.ndarray, entry: np.ndarray, resampling: Resampling) -> list[Difference]:
    """Return the differences of the means over queries of `a` and `b`, column by column, where neither is NaN.

    a, b: float64 [Q, C]; entry: int64 [Q], from 0. Intervals resample entries as `intervals` does, p-values are those
    of `sign_flip_p` over the entries' sums of differences; all columns share resamples and sign vectors. Without any
    query, every number of a column is NaN.
    """
    sums, counts = column_sums(a - b, entry)
    ends = intervals(sums, counts, resampling)
    p_values = sign_flip_p(sums, samples=resampling.samples, seed=resampling.seed)
    return [_difference(a[:, c], b[:, c], ends[c], p_values[c], counts[:, c]) for c in range(sums.shape[1])]


def _difference(a: np.ndarray, b: np.ndarray, ends: np.ndarray, p_value: float, counts: np.ndarray) -> Difference:
    both = ~np.isnan(a - b)
    n_entries = int((counts > 0).sum())
    if n_entries == 0:
        p_value = math.nan
    value = mean(a[both]) - mean(b[both])
    return Difference(value, float(ends[0]), float(ends[1]), float(p_value), int(both.sum()), n_entries)


def sign_flip_p(sums: np.ndarray, *, samples: int, seed: int) -> np.ndarray:
    """Return two-sided p-values, float64 [C], of the hypothesis that each entry's sum is as likely as its negative.

    sums: float64 [M, C]. The statistic is |sum over entries|. Exact over all 2^M sign vectors when these are at most
    `samples`; else (1 + hits) / (1 + samples) over `samples` random ones (Phipson and Smyth 2010), which is never zero.
    With one entry, or none that differs, it is 1.
    """
    whole, _ = _in_steps(sums)
    # Each entry's sum is off by half a step at most, plus float noise far below one: totals that close are ties.
    least = np.abs(whole.sum(axis=0)) - (len(whole) + 1)
    exact = 2 ** len(whole) <= samples
    signs = _all_signs(len(whole)) if exact else _random_signs(len(whole), samples, seed)
    hits, total = np.zeros(whole.shape[1], np.int64), 0
    for chunk in signs:
        hits += (np.abs(chunk @ whole) >= least).sum(axis=0)
        total += len(chunk)
    return hits / total if exact else (1 + hits) / (1 + total)


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


def _resamples(n_entries: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each entry is drawn in each resample: float64 [chunk, M] until `samples` rows are out."""
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(n_entries, 1))
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        drawn = generator.integers(0, n_entries, size=(rows, n_entries))
        flat = (drawn + np.arange(rows)[:, None] * n_entries).ravel()
        yield np.bincount(flat, minlength=rows * n_entries).reshape(rows, n_entries).astype(np.float64)


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
