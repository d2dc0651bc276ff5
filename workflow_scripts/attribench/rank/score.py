"""The canonical score: one fixed sequence of float64 operations, which defines ranks.

A row x is scaled to unit length, u = x / max(|x|, 1e-12); the score of a query q and an image is the dot product of their
unit rows. Sums run in the order of the columns, and every operation is rounded by itself: no fused multiply-add, no other
order. The bits of a score therefore depend on neither block size, shards, threads, libraries nor the width of a processor's
registers.

Whatever is faster only skips scores whose comparison with a threshold is already certain (`bounds`).
"""

import math

import numpy as np
from numba import njit

from attribench.formats.shards import NORM_FLOOR


def row_norms(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Return norms float64 [n] of rows [n, d], float32 or float64, and the number of the first bad row or -1.

    A row over its norm is its unit row. A bad row holds NaN or Inf, or is longer than float64 can tell (1.3e154).
    """
    norms = np.empty(len(rows))
    _write_norms(rows, norms)
    bad = np.flatnonzero(~np.isfinite(norms))
    return np.maximum(norms, NORM_FLOOR), int(bad[0]) if len(bad) else -1


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
