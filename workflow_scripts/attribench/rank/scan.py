"""The scan of a product's scores: count what is certain, queue what is undecided, keep the candidates for neighbours.

For a query with falling thresholds, a score below `low` of a threshold certainly misses it, and one from `high` on certainly
reaches it; between them the pair is undecided and joins a queue. `ranker` gives each queued pair a float64 dot product, and
those that stay undecided the canonical score (`score`).

All loops are compiled and release the interpreter lock, so that threads may scan disjoint queries. Loops that call each
other stay in this one file: numba's cache looks at a function's own file only.
"""

import math

import numpy as np
from numba import njit

_BLOCK = 64  # scores that are compared with a limit before any of them is looked at by itself
_BUCKETS = 4096
_SPARSE_RATIO = 32  # one score in so many above the lowest threshold, or fewer: they are picked out one by one
_GROUP_BYTES = 1 << 18  # of rows that are multiplied with the queries of their undecided pairs
_QUERIES_BEFORE_CHECK = 128  # of several entries, that tell whether too many pairs are undecided
# More than rounding a limit to the type of the scores can change.
_ROUNDED32, _ROUNDED64, _TINY = 2.0**-22, 2.0**-50, 2.0**-140

_U = np.uintp  # numba checks all other positions for being negative, which keeps SIMD away


@njit(cache=True, nogil=True)
def scan(scores, start, max_undecided, offsets, threshold, counts, top_score, pairs, candidates):
    """Scan the scores of a tile from query `start` on: add to `counts`, and fill the queues.

    scores: a `products.Scores` of q queries with n rows. offsets int64 [q + 1]: query i has the falling thresholds
    offsets[i] to offsets[i + 1] of `threshold` float64, and these `counts` int64. top_score: float64 [q, k], falling, the
    best exact scores so far. pairs: int32 [., 4], undecided ones: query, row, and first and end of its open thresholds.
    candidates: int32 [., 2], query and row of what may be among the k best.

    Returns the next query, the lengths of both queues, and whether more than the share `max_undecided` of the pairs is
    undecided, at which it stops. It also stops when a queue may be too short for the next query.
    """
    tile, tilt, offset, bound, relative = scores
    n_queries, n = tile.shape[1:]
    most_thresholds = 1
    for q in range(n_queries):
        most_thresholds = max(most_thresholds, offsets[q + 1] - offsets[q])
    row = np.empty(n, tile.dtype)
    low, high = np.empty(most_thresholds, tile.dtype), np.empty(most_thresholds, tile.dtype)
    limit, best = np.empty((2, 1), tile.dtype), np.empty(max(1, top_score.shape[1]), tile.dtype)
    buffers = _buffers(n, most_thresholds)
    n_pairs = n_candidates = 0
    for q in range(start, n_queries + 1):
        is_full = n_pairs + n > pairs.shape[0] or n_candidates + n > candidates.shape[0]
        can_tell = is_full or q - start >= min(_QUERIES_BEFORE_CHECK, n_queries)
        has_too_many = can_tell and n_pairs > max_undecided * (q - start) * n
        if q == n_queries or is_full or has_too_many:
            break
        _add_up(tile, q, tilt, row)
        a, b = offsets[q], offsets[q + 1]
        margins = (offset[q], bound[q], relative)
        _limits(threshold[a:b], margins, low, high)
        n_pairs = _count(row, q, low[: b - a], high[: b - a], counts[a:b], buffers, pairs, n_pairs)
        if top_score.shape[1] > 0:
            _limits(top_score[q, -1:], margins, limit[0], limit[1])
            n_candidates = _find_candidates(row, q, limit[0, 0], margins, best, buffers, candidates, n_candidates)
    return q, n_pairs, n_candidates, has_too_many


@njit(cache=True, nogil=True)
def _buffers(n, most_thresholds):
    """Return memory for the work on a query.

    bucket uint16 [n]: of each score. first, begin uint16 [_BUCKETS]: the first threshold that the scores of a bucket
    certainly reach, and the first that they may reach. reached int32 [4, most_thresholds + 2]: scores by the first
    threshold that they certainly reach. positions int32 [n + 4]: positions of scores.
    """
    bucket, positions = np.zeros(n, np.uint16), np.empty(n + 4, np.int32)
    first, begin = np.empty(_BUCKETS, np.uint16), np.zeros(_BUCKETS, np.uint16)
    return bucket, first, begin, np.empty((4, most_thresholds + 2), np.int32), positions


@njit(cache=True, nogil=True)
def _add_up(tile, q, tilt, row):
    """Write the sums of the parts and the tilt to `row` [n]."""
    for i in range(row.shape[0]):
        row[i] = tile[0, q, i] + tilt[i]
    for part in range(1, tile.shape[0]):
        for i in range(row.shape[0]):
            row[i] += tile[part, q, i]


@njit(cache=True, nogil=True)
def _limits(threshold, margins, low, high):
    """Write the limits of thresholds [m] in the type of the scores: `low`, below which a score certainly misses one, and
    `high`, from which on it certainly reaches it."""
    offset, bound, relative = margins
    factor = relative + (_ROUNDED32 if low.itemsize == 4 else _ROUNDED64)
    for j in range(threshold.shape[0]):
        below, above = threshold[j] - offset - bound, threshold[j] - offset + bound
        low[j], high[j] = below - factor * abs(below) - _TINY, above + factor * abs(above) + _TINY


@njit(cache=True, nogil=True)
def _count_from(row, limit):
    """Return how many scores are at least `limit`."""
    n = np.int32(0)  # as wide as the scores: SIMD keeps pace
    for i in range(row.shape[0]):
        n = np.int32(n + np.int32(row[i] >= limit))
    return n


@njit(cache=True, nogil=True)
def _positions_from(row, limit, positions):
    """Write the positions of scores of at least `limit` to `positions`; return how many there are."""
    n, end = _U(0), _U(row.shape[0])
    for start in range(_U(0), end, _U(_BLOCK)):
        block = row[start : start + _U(_BLOCK)]
        if _count_from(block, limit) > 0:
            for i in range(_U(block.shape[0])):
                positions[n] = start + i  # overwritten by the next one when this score is below
                n += _U(block[i] >= limit)
    return np.int64(n)


@njit(cache=True, nogil=True)
def _count(row, q, low, high, counts, buffers, pairs, n_pairs):
    """Count the scores of query q at its thresholds [m], and queue what is undecided; return the queue's new length."""
    bucket, _, begin, reached, positions = buffers
    m, n = low.shape[0], row.shape[0]
    reached[:, : m + 2] = 0
    if _count_from(row, low[m - 1]) * _SPARSE_RATIO < n:
        bucket[:], begin[0] = 0, 0
        n_positions = _positions_from(row, low[m - 1], positions)
    else:
        n_positions = _count_in_buckets(row, low, high, buffers)
    for p in range(n_positions):
        score, j = row[_U(positions[p])], _U(begin[_U(bucket[_U(positions[p])])])
        # No branch for the first step: a processor could only guess it.
        may_reach, reaches = j + _U(low[j] > score), j + _U(high[j] > score)
        while may_reach < m and low[may_reach] > score:
            may_reach += _U(1)
        reaches = max(reaches, may_reach)
        while reaches < m and high[reaches] > score:
            reaches += _U(1)
        reached[0, reaches] += 1
        pairs[n_pairs, 0], pairs[n_pairs, 1], pairs[n_pairs, 2], pairs[n_pairs, 3] = q, positions[p], may_reach, reaches
        n_pairs += may_reach < reaches
    total = 0
    for j in range(m):  # who reaches a threshold reaches all lower ones
        total += reached[0, j] + reached[1, j] + reached[2, j] + reached[3, j]
        counts[j] += total
    return n_pairs


@njit(cache=True, nogil=True)
def _count_in_buckets(row, low, high, buffers):
    """Count the scores in buckets of equal width; return how many are in a bucket that contains a limit.

    The positions of these are written to `positions`; the others are added to `reached`. A score's bucket is a monotone
    function of it, in float arithmetic too: so scores in a bucket without a limit are on one side of every threshold.
    Bucket 0 is that of all scores below the lowest limit.
    """
    bucket, first, begin, reached, positions = buffers
    m, n = low.shape[0], _U(row.shape[0])
    base, one, top = low[m - 1], row.dtype.type(1), row.dtype.type(_BUCKETS - 1)
    scale = row.dtype.type(_BUCKETS - 2) / max(high[0] - base, row.dtype.type(1e-30))
    for i in range(row.shape[0]):
        number = np.int32(max(min((row[i] - base) * scale + one, top), row.dtype.type(0)))
        bucket[i] = np.uint16(number) if row[i] >= base else np.uint16(0)
    end = _BUCKETS
    undecided = np.uint16(m + 1)
    for j in range(m):
        b = np.int64(min((low[j] - base) * scale + one, top))
        last = np.int64(min((high[j] - base) * scale + one, top))
        first[last + 1 : end] = j
        last = min(last + 1, end)
        first[b:last], begin[b:last] = undecided, j
        end = min(end, b)
    first[:end] = m
    k = _U(0)
    for i in range(n):  # four counters for each threshold: they need not wait for each other
        reach = first[_U(bucket[i])]
        reached[i & _U(3), _U(reach)] += 1
        positions[k] = i
        k += _U(reach == undecided)
    return np.int64(k)


@njit(cache=True, nogil=True)
def _find_candidates(row, q, limit, margins, best, buffers, candidates, n_candidates):
    """Queue the rows that may be among the k best of query q; return the new length of the queue.

    Their scores are at least `limit`, below which none can join the k best so far. Rows that k others of this block
    certainly beat are left out too. best: memory for k scores.
    """
    positions, k = buffers[4], best.shape[0]
    _, bound, relative = margins
    slack, factor = row.dtype.type(2.04 * bound + _TINY), row.dtype.type(2.1 * relative + 4 * _ROUNDED32)
    n = _positions_from(row, limit, positions)
    best[:] = -np.inf
    for p in range(n):
        score, j = row[positions[p]], k
        while j > 0 and score > best[j - 1]:
            j -= 1
            if j + 1 < k:
                best[j + 1] = best[j]
        if j < k:
            best[j] = score
    limit = max(limit, best[k - 1] - slack - factor * abs(best[k - 1]))
    for p in range(n):
        if row[positions[p]] >= limit and row[positions[p]] > -np.inf:  # minus infinity is no candidate
            candidates[n_candidates, 0], candidates[n_candidates, 1] = q, positions[p]
            n_candidates += 1
    return n_candidates


@njit(cache=True, nogil=True)
def keep_best(scores, pairs, rows, top_score, top_index):
    """Put the exact `scores` [n] of `pairs` (query, row) into the best k of each query, falling; equal scores by row.

    rows int64: the number of each row in the database. top_score, top_index: [q, k], changed in place.
    """
    for p in range(scores.shape[0]):
        score, row, best, index = scores[p], rows[pairs[p, 1]], top_score[pairs[p, 0]], top_index[pairs[p, 0]]
        j = best.shape[0]
        while j > 0 and (score > best[j - 1] or (score == best[j - 1] and row < index[j - 1])):
            j -= 1
            if j + 1 < best.shape[0]:
                best[j + 1], index[j + 1] = best[j], index[j]
        if j < best.shape[0]:
            best[j], index[j] = score, row


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def dot_pairs(queries, rows, norms, pairs):
    """Return a float64 dot product for each of `pairs` (query, row), over the row's norm: the score, summed in any order.

    It goes through the rows in groups that fit into the cache, and within a group through pairs as they come, query by
    query: reading from memory at random takes longer than the arithmetic.
    """
    n, shift = pairs.shape[0], 0
    while (rows.shape[1] * rows.itemsize) << (shift + 1) <= _GROUP_BYTES:
        shift += 1
    start = np.zeros((rows.shape[0] >> shift) + 2, np.int64)
    for p in range(n):
        start[(pairs[p, 1] >> shift) + 1] += 1
    for group in range(start.shape[0] - 1):
        start[group + 1] += start[group]
    order, dots = np.empty(n, np.int64), np.empty(n)
    for p in range(n):
        order[start[pairs[p, 1] >> shift]] = p
        start[pairs[p, 1] >> shift] += 1
    for p in order:
        q, r, total = _U(pairs[p, 0]), _U(pairs[p, 1]), 0.0
        for c in range(_U(queries.shape[1])):
            total += queries[q, c] * np.float64(rows[r, c])
        dots[p] = total / norms[r]
    return dots


@njit(cache=True, nogil=True)
def count_pairs(scores, pairs, margin, offsets, threshold, counts):
    """Count `pairs` at their thresholds by `scores` [n] that are within `margin` of the exact ones.

    Those that stay undecided become the first of `pairs`; their number is returned. With a margin of -1, none is left.
    """
    n_left = 0
    for p in range(scores.shape[0]):
        first, last = offsets[pairs[p, 0]] + pairs[p, 2], offsets[pairs[p, 0]] + pairs[p, 3]
        nearest = math.inf
        for j in range(first, last):
            nearest = min(nearest, abs(scores[p] - threshold[j]))
        if nearest <= margin:
            pairs[n_left] = pairs[p]
            n_left += 1
            continue
        for j in range(first, last):
            counts[j] += scores[p] >= threshold[j]
    return n_left
