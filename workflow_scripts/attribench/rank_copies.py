"""Blocks of rows half of which, or more, are copies of others: the same image over and over.

Where a score ties with a threshold, so do those of all copies of its row, and each would be a pair in doubt. So only one of
them is multiplied, in float64, and counts as often as there are copies. Copies are looked for only where there is much doubt
(`rank_choice`), and where a block has been found to have many, in the next one.
"""

from concurrent.futures import Executor

import numpy as np

from attribench.compiled import compiled
from attribench.rank_filters import Float64Filter
from attribench.rank_kernels import dot, insert

_STEP = 1024  # rows that a thread looks at at a time
_MOST_LEFT = 0.5  # of the rows, that are no copies of others: of more, a float32 product of all takes less time

_U = np.uintp  # numba looks for negative positions in all others, which keeps SIMD away


def find_copies(units: np.ndarray, pool: Executor | None = None) -> tuple[np.ndarray, np.ndarray] | None:
    """An order [n] of the rows float64 [n, d] in which copies follow each other, those of a row as they come, and where the
    rows that differ begin in it, and n: int64 [D + 1]. None where many rows differ."""
    rows, digest = units.view(np.uint64), np.empty(len(units), np.uint64)
    parts = [slice(start, start + _STEP) for start in range(0, len(units), _STEP)]
    list((pool.map if pool else map)(lambda part: _digest(rows[part], digest[part]), parts))
    if len(np.unique(digest)) > _MOST_LEFT * len(units):
        return None
    order = np.argsort(digest, kind="stable")
    starts = np.append(np.flatnonzero(_differs(rows, order)), len(units))
    return (order, starts) if len(starts) - 1 <= _MOST_LEFT * len(units) else None


@compiled
def _digest(rows, digest):
    """Write to `digest` [n] a number for each of `rows` uint64 [n, d], the same one for equal rows."""
    for i in range(rows.shape[0]):
        total = np.uint64(0)
        for j in range(rows.shape[1]):
            total = (total ^ rows[i, j]) * np.uint64(0x9E3779B97F4A7C15)
            total ^= total >> np.uint64(32)  # multiplying carries upward only
        digest[i] = total


@compiled
def _differs(rows, order):
    """Whether each of `rows` [n, d], in this `order` [n], differs from the one before."""
    differs = np.ones(order.shape[0], np.bool_)
    for i in range(1, order.shape[0]):
        j = 0
        while j < rows.shape[1] and rows[order[i], j] == rows[order[i - 1], j]:
            j += 1
        differs[i] = j < rows.shape[1]
    return differs


@compiled
def scan_copies_tile(tile, pairs, bound, relative, rows, top_score, top_index):
    """`rank_scan.scan_tile` of a float64 tile [q, D]: row i stands for the database's `rows` from pairs.starts[i] to
    pairs.starts[i + 1], which rise."""
    starts, n_top = pairs.starts, top_score.shape[1]
    for q in range(tile.shape[0]):
        first, last = pairs.offsets[q], pairs.offsets[q + 1]
        threshold, margin = pairs.threshold[first:last], bound[q, 0]
        counts, reached = pairs.counts[first:last], np.zeros(last - first + 1, np.int64)
        for i in range(tile.shape[1]):
            score = tile[q, i]
            j = _first_reached(threshold, score)
            near = min(
                score - threshold[j] if j < threshold.shape[0] else np.inf,
                threshold[j - 1] - score if j > 0 else np.inf,
            )
            is_best = n_top > 0 and score + margin >= top_score[q, n_top - 1]
            if near <= margin or is_best:
                score = dot(pairs.queries[q], pairs.units[i])
                j = _first_reached(threshold, score)
            reached[j] += starts[i + 1] - starts[i]
            if is_best:
                for k in range(starts[i], min(starts[i + 1], starts[i] + n_top)):
                    insert(top_score[q], top_index[q], score, rows[k])
        total = 0
        for j in range(threshold.shape[0]):
            total += reached[j]
            counts[j] += total


@compiled
def _first_reached(threshold, score):
    """The first of the falling `threshold` [m] that `score` reaches, or m."""
    low, high = _U(0), _U(threshold.shape[0])
    while low < high:
        middle = (low + high) >> _U(1)
        if score >= threshold[middle]:
            high = middle
        else:
            low = middle + _U(1)
    return np.int64(low)


class CopiesFilter(Float64Filter):
    """The float64 product of the rows that differ, by NumPy's BLAS."""

    name = "copies"
    scan = staticmethod(scan_copies_tile)
