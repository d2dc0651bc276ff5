"""The canonical score: one fixed sequence of float64 operations, which defines ranks.

A row x is scaled to unit length, u = x / max(|x|, 1e-12); the score of a query q and an image is the dot product of their
unit rows. Sums run in the order of the columns, and every operation is rounded by itself: no fused multiply-add, no other
order. The bits of a score therefore depend on neither block size, shards, threads, libraries nor the width of a processor's
registers. A row with a value beyond 2^500, whose squares would overflow, is first multiplied by 2^-600, which changes no
rounding.

Whatever is faster only skips scores whose comparison with a threshold is already certain (`bounds`).
"""

import math

import numpy as np
from numba import njit

_NORM_FLOOR = 1e-12  # shorter rows are not blown up to unit length
_HUGE, _SHRINK = 2.0**500, 2.0**-600


def row_norms(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the rows [n, d] (huge ones scaled down), norms float64 [n], and the number of the first bad row or -1.

    rows: float32 or float64. A bad row holds NaN or Inf. A row over its norm is its unit row.
    """
    norms = np.empty(len(rows))
    _write_norms(rows, norms)
    suspects = np.flatnonzero(~(norms < _HUGE))  # NaN and Inf too
    if not len(suspects):
        return rows, np.maximum(norms, _NORM_FLOOR), -1
    wide = rows[suspects].astype(np.float64)
    bad, huge = suspects[~np.isfinite(wide).all(axis=1)], suspects[(np.abs(wide) > _HUGE).any(axis=1)]
    if len(bad):
        return rows, norms, int(bad[0])
    rows, norms, shrunk = rows.copy(), np.maximum(norms, _NORM_FLOOR), np.empty(len(huge))
    rows[huge] *= _SHRINK
    _write_norms(rows[huge], shrunk)
    norms[huge] = shrunk
    return rows, norms, -1


@njit(cache=True, nogil=True)
def _write_norms(rows, norms):
    """Write the lengths of rows [n, d] to norms float64 [n], four at a time: their sums need not wait for each other."""
    n = rows.shape[0]
    for first in range(0, n, 4):
        i, j, k, m = first, min(first + 1, n - 1), min(first + 2, n - 1), min(first + 3, n - 1)
        s = t = u = v = 0.0
        for c in range(rows.shape[1]):
            s += np.float64(rows[i, c]) * np.float64(rows[i, c])
            t += np.float64(rows[j, c]) * np.float64(rows[j, c])
            u += np.float64(rows[k, c]) * np.float64(rows[k, c])
            v += np.float64(rows[m, c]) * np.float64(rows[m, c])
        norms[i], norms[j], norms[k], norms[m] = math.sqrt(s), math.sqrt(t), math.sqrt(u), math.sqrt(v)


@njit(cache=True, nogil=True, error_model="numpy")
def pair_scores(queries, rows, norms, pairs):
    """Return the scores float64 [n] of `pairs` int [n, 2 or more]: a row of `queries` and a row of `rows`.

    queries: unit rows float64 [Q, d]. rows: float32 or float64 [N, d], of length norms [N]. The terms of four pairs are
    added up at a time, since their sums need not wait for each other.
    """
    n, scores, terms = pairs.shape[0], np.empty(pairs.shape[0] + 3), np.empty((4, queries.shape[1]))
    for first in range(0, n, 4):
        for lane in range(4):
            p = min(first + lane, n - 1)
            q, r = np.uintp(pairs[p, 0]), np.uintp(pairs[p, 1])
            norm = norms[r]
            for c in range(np.uintp(queries.shape[1])):
                terms[lane, c] = queries[q, c] * (np.float64(rows[r, c]) / norm)
        s = t = u = v = 0.0
        for c in range(terms.shape[1]):
            s += terms[0, c]
            t += terms[1, c]
            u += terms[2, c]
            v += terms[3, c]
        scores[first], scores[first + 1], scores[first + 2], scores[first + 3] = s, t, u, v
    return scores[:n]
