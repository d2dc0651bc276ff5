"""Counting and picking neighbours in a tile of filter scores: the compiled loops that follow the matrix product.

A tile [q, n] holds the scores of a filter (`rank_filters`): float32, or bfloat16 as uint16. What is certain within the
filter's bound is counted; the few other pairs are decided by `rank_kernels`. All functions release the interpreter lock.

Two ways to count, with equal results. Where few scores reach the lowest threshold, they are picked out and each is placed
among the thresholds. Where many do, they are counted in buckets of equal width; only the scores in the buckets that some
threshold's bounds touch are placed one by one. The bucket of a score is a monotone function of it, in float arithmetic
too. So all scores of a bucket that no bounds touch are on the same side of every threshold, whatever its edges are.

Pairs in doubt wait until there are many. Then they are decided in the order of their rows: reading rows from memory at
random takes four times as long as the arithmetic.
"""

import math

import numpy as np
from numba import njit

from attribench.rank_kernels import coarse_dot, dot, insert, quick_dot

_SCAN = 256
_BUCKETS = 4096
_SPARSE = 6  # one in so many scores above the lowest threshold: pick them out
_WAITING = 32  # rooms for as many pairs in doubt as a row of the tile has scores
_NEAR = 8  # 2^8 rows are near each other: they fit into a core's own cache
_FLOAT32, _TINY = 2.0**-22, 2.0**-140  # more than rounding to float32 can change

_U = np.uintp  # numba looks for negative positions in all others, which keeps SIMD away


@njit(cache=True, nogil=True)
def scan_tile(
    tile, queries, queries32, units, units32, rows, offsets, threshold, counts, bound, relative, top, margins
):
    """Add a float32 tile to `counts` and to `top`: best scores and their rows, [q, k] each.

    The exact score of a pair is within `bound` [q] of a number that is within `relative` times itself of the tile's.
    `margins` are the error bounds of `coarse_dot`, infinity if it is not worth while, and of `quick_dot`.
    """
    scratch, waiting = _scratch(tile.shape[1], offsets)
    pairs = (queries, queries32, units, units32, offsets, threshold, counts, margins)
    n = 0
    for q in range(tile.shape[0]):
        near = (bound[q], relative)
        n = _count_row(tile[q], q, near, pairs, scratch, waiting, n)
        _top_row(tile[q], q, near, pairs, rows, top[0][q], top[1][q], scratch[0])
    _decide(pairs, waiting, n)


@njit(cache=True, nogil=True)
def scan_bf16_tile(
    tile, queries, queries32, units, units32, rows, offsets, threshold, counts, bound, relative, top, margins
):
    """`scan_tile` of a bfloat16 tile, uint16 [q, n]."""
    scratch, waiting = _scratch(tile.shape[1], offsets)
    pairs = (queries, queries32, units, units32, offsets, threshold, counts, margins)
    word = np.empty(tile.shape[1], np.uint32)
    scores = word.view(np.float32)
    n = 0
    for q in range(tile.shape[0]):
        for i in range(tile.shape[1]):
            word[i] = np.uint32(tile[q, i]) << np.uint32(16)
        near = (bound[q], relative)
        n = _count_row(scores, q, near, pairs, scratch, waiting, n)
        _top_row(scores, q, near, pairs, rows, top[0][q], top[1][q], scratch[0])
    _decide(pairs, waiting, n)


@njit(cache=True, nogil=True)
def _scratch(n, offsets):
    """Room for a row's work: positions [n + 1]; low, high [m]; placed [m + 1]; bucket [_SCAN], hot, filled [_BUCKETS];
    scores, first and last threshold [n].

    And for pairs in doubt: query, row, first and last threshold [most, 4], and their order [most].
    """
    most = 1
    for q in range(offsets.shape[0] - 1):
        most = max(most, offsets[q + 1] - offsets[q])
    scratch = (
        np.empty(n + 1, np.int32),
        np.empty(most, np.float32),
        np.empty(most, np.float32),
        np.empty(most + 1, np.int64),
        np.empty(_SCAN, np.uint16),
        np.empty(_BUCKETS, np.uint8),
        np.empty(_BUCKETS, np.int32),
        np.empty(n, np.float32),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
    )
    return scratch, (np.empty((_WAITING * n + 1, 4), np.int32), np.empty(_WAITING * n, np.int32))


@njit(cache=True, nogil=True)
def _lowest(score, bound, relative):
    """A float32 number that the filter's score reaches wherever the exact one reaches `score`."""
    edge = score - bound
    if edge == -np.inf:
        return np.float32(-np.inf)
    return np.float32(edge - (relative + _FLOAT32) * abs(edge) - _TINY)


@njit(cache=True, nogil=True)
def _certain(score, bound, relative):
    """A float32 number such that the exact score reaches `score` wherever the filter's reaches it."""
    edge = score + bound
    if edge == np.inf:
        return np.float32(np.inf)
    return np.float32(edge + (relative + _FLOAT32) * abs(edge) + _TINY)


@njit(cache=True, nogil=True)
def _count_row(scores, q, near, pairs, scratch, waiting, n_waiting):
    """Add to the counts of query `q` the rows that reach its falling thresholds [m]; how many pairs are `waiting` now."""
    a, b = pairs[4][q], pairs[4][q + 1]
    threshold, counts = pairs[5][a:b], pairs[6][a:b]
    m = threshold.shape[0]
    if m == 0:
        return n_waiting
    found, low, high, placed = scratch[0], scratch[1][:m], scratch[2][:m], scratch[3][: m + 1]
    for j in range(m):
        low[j], high[j] = _lowest(threshold[j], near[0], near[1]), _certain(threshold[j], near[0], near[1])
    reaching = _count(scores, low[m - 1])
    if reaching == 0:
        return n_waiting
    if reaching * _SPARSE < scores.shape[0] or not math.isfinite(low[m - 1]) or not math.isfinite(high[0]):
        n = _pick(scores, low[m - 1], found)
    else:
        n = _fill_buckets(scores, low, high, counts, scratch)
    if n_waiting + n > waiting[1].shape[0]:
        _decide(pairs, waiting, n_waiting)
        n_waiting = 0
    placed[:] = 0
    n_waiting = _place(scores, q, found[:n], low, high, placed, scratch, waiting[0], n_waiting)
    total = 0
    for j in range(m):
        total += placed[j]
        counts[j] += total
    return n_waiting


@njit(cache=True, nogil=True)
def _count(scores, limit):
    above = np.int32(0)
    for i in range(scores.shape[0]):  # a 32-bit sum, as wide as the scores: SIMD keeps pace
        above = np.int32(above + np.int32(scores[i] >= limit))
    return above


@njit(cache=True, nogil=True)
def _pick(scores, limit, found):
    """Write to `found` the positions of the scores of at least `limit`, in order; how many there are."""
    n = _U(0)
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        if _count(block, limit) == 0:
            continue
        for i in range(block.shape[0]):
            found[n] = np.int32(start + i)  # overwritten by the next one when this score is below
            n = _U(n + _U(block[i] >= limit))
    return np.int64(n)


@njit(cache=True, nogil=True)
def _bucket(score, base, scale):
    return np.uint16(np.int32(min(max((score - base) * scale, np.float32(0)), np.float32(_BUCKETS - 1))))


@njit(cache=True, nogil=True)
def _fill_buckets(scores, low, high, counts, scratch):
    """Add to `counts` the scores whose bucket decides; write the other positions to scratch[0], and return their number."""
    found, bucket, hot, filled = scratch[0], scratch[4], scratch[5], scratch[6]
    m = low.shape[0]
    scale = min(np.float32(_BUCKETS - 6) / max(high[0] - low[m - 1], np.float32(1e-30)), np.float32(1e30))
    base = low[m - 1] - np.float32(2) / scale
    hot[:], filled[:] = 0, 0
    for j in range(m):
        hot[_bucket(low[j], base, scale) : np.int64(_bucket(high[j], base, scale)) + 1] = 1
    n = _U(0)
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        for i in range(block.shape[0]):
            bucket[i] = _bucket(block[i], base, scale)
        for i in range(block.shape[0]):
            b = _U(bucket[i])
            filled[b] += np.int32(1)
            found[n] = np.int32(start + i)
            n = _U(n + _U(hot[b]))
    for i in range(_BUCKETS):
        filled[i] = 0 if hot[i] else filled[i]
    total, top = 0, _BUCKETS
    for j in range(m):
        edge = np.int64(_bucket(high[j], base, scale))
        within = np.int32(0)
        for i in range(edge, top):
            within = np.int32(within + filled[_U(i)])
        total += within
        top = edge
        counts[j] += total
    return np.int64(n)


@njit(cache=True, nogil=True)
def _place(scores, q, found, low, high, placed, scratch, waiting, n_waiting):
    """Count the scores at the positions `found`, each in `placed` at the first threshold that it certainly reaches.

    Where it may reach others too, the pair joins the `waiting`; returns how many these are now.
    """
    n = found.shape[0]
    score, first, last = scratch[7][:n], scratch[8][:n], scratch[9][:n]
    for i in range(n):
        score[i] = scores[found[i]]
    first[:], last[:] = 0, 0
    for j in range(low.shape[0]):  # all of them, many scores at once: SIMD is quicker than a search
        low_j, high_j = low[j], high[j]
        for i in range(n):
            first[i] += np.int32(low_j > score[i])
            last[i] += np.int32(high_j > score[i])
    k = _U(n_waiting)
    for i in range(n):
        placed[_U(last[i])] += 1
        waiting[k, 0], waiting[k, 1], waiting[k, 2], waiting[k, 3] = q, found[i], first[i], last[i]
        # Minus infinity is no candidate of this query.
        k = _U(k + _U((first[i] < last[i]) & (score[i] > -np.inf)))
    return np.int64(k)


@njit(cache=True, nogil=True)
def _decide(pairs, waiting, n_waiting):
    """Count the first `n_waiting` of the `waiting` pairs at those of their thresholds that they reach."""
    queries, queries32, units, units32, offsets, threshold, counts, margins = pairs
    coarse_margin, quick_margin = margins
    pair, order = waiting
    ends = np.zeros((units.shape[0] >> _NEAR) + 2, np.int64)
    for i in range(n_waiting):
        ends[(pair[i, 1] >> _NEAR) + 1] += 1
    ends = np.cumsum(ends)
    for i in range(n_waiting):
        near = pair[i, 1] >> _NEAR
        order[ends[near]] = i
        ends[near] += 1
    for i in order[:n_waiting]:
        q, row = pair[i, 0], pair[i, 1]
        a, b = offsets[q] + pair[i, 2], offsets[q] + pair[i, 3]
        if coarse_margin < np.inf:
            coarse, in_doubt = coarse_dot(queries32[q], units32[row]), False
            for j in range(a, b):
                in_doubt |= abs(coarse - threshold[j]) <= coarse_margin
            if not in_doubt:
                for j in range(a, b):
                    counts[j] += coarse > threshold[j]
                continue
        quick = quick_dot(queries32[q], units32[row])
        for j in range(a, b):
            if abs(quick - threshold[j]) > quick_margin:
                counts[j] += quick > threshold[j]
            else:
                counts[j] += dot(queries[q], units[row]) >= threshold[j]


@njit(cache=True, nogil=True)
def _top_row(scores, q, near, pairs, rows, top_score, top_index, found):
    """Merge one query's row of scores into its best `top_score`, `top_index` [k], both in order.

    No row can be among the best k below the k-th best exact score so far; nor below the least exact score that the k
    largest of the filter's scores stand for, because the k rows with these beat it.
    """
    if top_score.shape[0] == 0:
        return
    query, query32, units, units32, margin = pairs[0][q], pairs[1][q], pairs[2], pairs[3], pairs[7][1]
    last = top_score.shape[0] - 1
    limit = _lowest(top_score[last], near[0], near[1])
    best = np.full(top_score.shape[0], np.float32(-np.inf))
    n = 0
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        if _count(block, limit) == 0:
            continue
        for i in range(block.shape[0]):
            if block[i] < limit or block[i] == -np.inf:
                continue
            found[n] = start + i
            n += 1
            if block[i] <= best[last]:
                continue
            place = last
            while place > 0 and block[i] > best[place - 1]:
                best[place] = best[place - 1]
                place -= 1
            best[place] = block[i]
            if best[last] == -np.inf:  # not yet k of them
                continue
            exact = best[last] - near[1] * 1.01 * abs(best[last]) - near[0]
            limit = max(limit, _lowest(exact, near[0], near[1]))
    for i in found[:n]:
        if scores[i] >= limit and quick_dot(query32, units32[i]) >= top_score[last] - margin:
            insert(top_score, top_index, dot(query, units[i]), rows[i])
