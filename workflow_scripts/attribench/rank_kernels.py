"""The compiled loops of `rank.py`, whose text defines the score and derives the bounds used here.

Only `quick_dot` may be reassociated or fused by the compiler; every other function is compiled to strict IEEE
operations in the order written. All release the interpreter lock, so threads may run them on disjoint queries.
"""

import math

import numpy as np
from numba import njit

NORM_FLOOR = 1e-12  # rows shorter than this are not blown up to unit length
_SCAN = 256  # scores looked at together: small enough to rescan, large enough for SIMD


@njit(cache=True, nogil=True, error_model="numpy")
def normalize(rows):
    """Scale rows [n, d] to unit length in place; the first row with NaN or Inf, or -1."""
    for i in range(rows.shape[0]):
        row = rows[i]
        finite, huge = True, False
        for j in range(row.shape[0]):
            finite &= abs(row[j]) < np.inf
            huge |= abs(row[j]) > 2.0**500
        if not finite:
            return i
        if huge:  # its squares would overflow; a power of two changes no rounding
            for j in range(row.shape[0]):
                row[j] *= 2.0**-600
        norm = math.sqrt(dot(row, row))
        if not huge and norm < NORM_FLOOR:
            norm = NORM_FLOOR
        for j in range(row.shape[0]):
            row[j] /= norm
    return -1


@njit(cache=True, nogil=True)
def dot(a, b):
    """The canonical dot product: float64, index order, each operation rounded."""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def quick_dot(a, b):
    """A float64 dot product of a float64 and a float32 row, in any order: only a filter."""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True)
def pair_scores(queries, exemplars, offsets, pairs):
    scores = np.empty(pairs.shape[0])
    for q in range(queries.shape[0]):
        for p in range(offsets[q], offsets[q + 1]):
            scores[p] = dot(queries[q], exemplars[pairs[p]])
    return scores


@njit(cache=True, nogil=True)
def _count_between(scores, low, high):
    """How many float32 scores are at least `low`, and how many at least `high`."""
    above_low = above_high = np.int32(0)
    for i in range(scores.shape[0]):  # 32-bit sums, as wide as the scores: SIMD keeps pace
        above_low = np.int32(above_low + np.int32(scores[i] >= low))
        above_high = np.int32(above_high + np.int32(scores[i] >= high))
    return above_low, above_high


@njit(cache=True, nogil=True)
def _positions_between(scores, low, high, found):
    """Write to `found` the positions of the scores in [low, high); how many there are. Free of branches."""
    n = 0
    for i in range(scores.shape[0]):
        found[n] = i  # overwritten by the next one when this score is outside
        n += (low <= scores[i]) & (scores[i] < high)
    return n


@njit(cache=True, nogil=True)
def scan_tile(
    scores, queries, units, units32, rows, offsets, threshold, low, high, counts, bound, top_score, top_index, margin
):
    for q in range(scores.shape[0]):
        a, b = offsets[q], offsets[q + 1]
        _count_row(scores[q], queries[q], units, units32, threshold[a:b], low[a:b], high[a:b], counts[a:b], margin)
        if top_score.shape[1] > 0:
            _top_row(scores[q], queries[q], units, units32, rows, bound[q], top_score[q], top_index[q], margin)


@njit(cache=True, nogil=True)
def _count_row(scores, query, units, units32, threshold, low, high, counts, margin):
    """Add to `counts` [m] the rows that reach each of the falling `threshold` [m] of one query."""
    found = np.empty(_SCAN, np.int64)
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        for j in range(threshold.shape[0] - 1, -1, -1):
            possible, certain = _count_between(block, low[j], high[j])
            if possible == 0:  # then the better exemplars are out of reach too
                break
            counts[j] += certain
            if possible == certain:
                continue
            n = _positions_between(block, low[j], high[j], found)
            for i in found[:n]:
                if block[i] == -np.inf:  # no candidate of this query
                    continue
                quick = quick_dot(query, units32[start + i])
                if abs(quick - threshold[j]) > margin:
                    counts[j] += quick > threshold[j]
                else:
                    counts[j] += dot(query, units[start + i]) >= threshold[j]


@njit(cache=True, nogil=True)
def _top_row(scores, query, units, units32, rows, bound, top_score, top_index, margin):
    """Merge one query's row of scores into its best `top_score`, `top_index` [k], both in order."""
    limit = _candidate_limit(scores, top_score, bound)
    last = top_score.shape[0] - 1
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        if _count_between(block, limit, limit)[0] == 0:
            continue
        for i in range(block.shape[0]):
            if block[i] < limit or block[i] == -np.inf:
                continue
            if quick_dot(query, units32[start + i]) < top_score[last] - margin:
                continue
            insert(top_score, top_index, dot(query, units[start + i]), rows[start + i])


@njit(cache=True, nogil=True)
def insert(top_score, top_index, score, row):
    """Put (score, row) into its place among the best k, falling; equal scores by row."""
    last = top_score.shape[0] - 1
    if score < top_score[last] or (score == top_score[last] and row > top_index[last]):
        return
    place = last
    while place > 0 and (
        score > top_score[place - 1] or (score == top_score[place - 1] and row < top_index[place - 1])
    ):
        top_score[place], top_index[place] = top_score[place - 1], top_index[place - 1]
        place -= 1
    top_score[place], top_index[place] = score, row


@njit(cache=True, nogil=True)
def scan_scores(scores, query, rows, offsets, threshold, counts, top_score, top_index):
    """Count, and keep neighbours, from exact float64 `scores` [n, r] of the queries `query` [n] and the rows `rows` [r].

    A negative query or row is none, and -inf is no candidate.
    """
    for i in range(scores.shape[0]):
        q = query[i]
        if q < 0:
            continue
        for r in range(scores.shape[1]):
            score = scores[i, r]
            if rows[r] < 0 or score == -np.inf:
                continue
            for j in range(offsets[q + 1] - 1, offsets[q] - 1, -1):  # from the lowest threshold on
                if score < threshold[j]:
                    break
                counts[j] += 1
            if top_score.shape[1] > 0:
                insert(top_score[q], top_index[q], score, rows[r])


@njit(cache=True, nogil=True)
def _candidate_limit(scores, top_score, bound):
    """A float32 score below which no row can be among the query's best k.

    Below the k-th best exact score by more than `bound` it cannot; nor below the k-th largest float32 score of this row
    by more than twice `bound`, because the k rows with the larger scores beat it.
    """
    last = top_score.shape[0] - 1
    below = np.float32(-np.inf)
    limit = np.nextafter(np.float32(top_score[last] - bound), below)
    best = np.full(top_score.shape[0], below)
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        if _count_between(block, limit, limit)[0] == 0:
            continue
        for i in range(block.shape[0]):
            if block[i] < limit or block[i] <= best[last]:
                continue
            place = last
            while place > 0 and block[i] > best[place - 1]:
                best[place] = best[place - 1]
                place -= 1
            best[place] = block[i]
            limit = max(limit, np.nextafter(np.float32(best[last] - 2 * bound), below))
    return limit
