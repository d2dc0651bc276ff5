"""Counting and picking neighbours in a tile of filter scores: the compiled loops that follow the matrix product.

A tile [q, n] holds the scores of a filter (`rank_filters`), lower than the exact ones by the query's shift: float32 or
float64, or bfloat16 as uint16. What is certain within the filter's bound is counted; the few other pairs are decided by
`rank_kernels`. All functions release the interpreter lock.

Two ways to count, with equal results. Where few scores reach the lowest threshold, they are picked out and each is placed
among the thresholds. Where many do, they are counted in buckets of equal width; only the scores in the buckets that some
threshold's bounds touch are placed one by one, among the thresholds that touch theirs. The bucket of a score is a monotone
function of it, in float arithmetic too. So all scores of a bucket that no bounds touch are on the same side of every
threshold, whatever its edges are.

Pairs in doubt wait until there are many. Then they are multiplied row by row, and counted query by query: reading from
memory at random takes four times as long as the arithmetic.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from attribench.rank_kernels import coarse_dot, dot, four_dots, insert, quick_dot

_SCAN = 256
_BUCKETS = 4096
_SPARSE = 32  # one in so many scores above the lowest threshold, or fewer: pick them out
_SOME = 1024  # scores that tell how many these are
_MOST = 2**16 - 1  # scores that a bucket can count
_WAITING = 32  # rooms for as many pairs in doubt as a row of the tile has scores
_FEW = 32  # scores that are looked at together where one of _SCAN is large
_FLOAT32, _FLOAT64, _TINY = 2.0**-22, 2.0**-50, 2.0**-140  # more than rounding to them can change

_U = np.uintp  # numba looks for negative positions in all others, which keeps SIMD away


class Pairs(NamedTuple):
    """The queries of a tile with a block of rows, and what is counted for them.

    queries float64 [q, d] and units float64 [n, d]; queries32 and rows32 float32, the same less their centres; shift [q] and
    tilt [n], what their dot products are to be raised by to be those of queries and units. Query q's falling thresholds are
    offsets[q] to offsets[q + 1] of threshold, and so are its counts. margins: the error bounds of `coarse_dot` and of
    `quick_dot` of a row of queries32 and one of rows32, infinity where one is not worth while.
    """

    queries: np.ndarray
    queries32: np.ndarray
    units: np.ndarray
    rows32: np.ndarray
    shift: np.ndarray
    tilt: np.ndarray
    offsets: np.ndarray
    threshold: np.ndarray
    counts: np.ndarray
    margins: tuple[float, float]


@njit(cache=True, nogil=True)
def scan_tile(tile, pairs, bound, relative, rows, top_score, top_index):
    """Add a float32 or float64 tile to the counts of `pairs`, and to the best scores and their `rows` [n], [q, k] each.

    The exact score of a pair, less its shift, is within `bound` [q] of a number that is within `relative` times itself of
    the tile's.
    """
    scratch, waiting = _scratch(tile[0], pairs.offsets)
    n = 0
    for q in range(tile.shape[0]):
        near = (bound[q], pairs.shift[q], relative)
        n = _count_row(tile[q], q, near, pairs, scratch, waiting, n)
        _top_row(tile[q], q, near, pairs, rows, top_score[q], top_index[q], scratch[0])
    _decide(pairs, waiting, n)


@njit(cache=True, nogil=True)
def scan_bf16_tile(tile, pairs, bound, relative, rows, top_score, top_index):
    """`scan_tile` of a bfloat16 tile, uint16 [q, n]."""
    word = np.empty(tile.shape[1], np.uint32)
    scores = word.view(np.float32)
    scratch, waiting = _scratch(scores, pairs.offsets)
    n = 0
    for q in range(tile.shape[0]):
        for i in range(tile.shape[1]):
            word[i] = np.uint32(tile[q, i]) << np.uint32(16)
        near = (bound[q], pairs.shift[q], relative)
        n = _count_row(scores, q, near, pairs, scratch, waiting, n)
        _top_row(scores, q, near, pairs, rows, top_score[q], top_index[q], scratch[0])
    _decide(pairs, waiting, n)


@njit(cache=True, nogil=True)
def _scratch(scores, offsets):
    """Room for the work of a row such as `scores` [n]: positions [n + 4]; low, high [m]; placed [m + 1].

    For buckets: those of some scores [_SCAN]; hot, filled [_BUCKETS and those below]; first and last threshold [_BUCKETS].
    And for pairs in doubt: query, row, first and last threshold [most, 4]; sorted: query, row, position [most, 3]; their dot
    products [most].
    """
    n, most = scores.shape[0], 1
    for q in range(offsets.shape[0] - 1):
        most = max(most, offsets[q + 1] - offsets[q])
    scratch = (
        np.empty(n + 4, np.int32),
        np.empty(most, scores.dtype),
        np.empty(most, scores.dtype),
        np.empty(most + 1, np.int64),
        np.empty(_SCAN, np.uint16),
        np.empty(_BUCKETS + _SCAN, np.uint8),
        np.empty(_BUCKETS + _SCAN, np.uint16),
        np.empty(_BUCKETS, np.int32),
        np.empty(_BUCKETS, np.int32),
    )
    most = _WAITING * n
    return scratch, (np.empty((most + 1, 4), np.int32), np.empty((most, 3), np.int32), np.empty(most, np.float64))


@njit(cache=True, nogil=True)
def _lowest(score, near, scores):
    """A number, of the type of `scores`, that the filter's score reaches wherever the exact one reaches `score`."""
    bound, shift, relative = near
    edge = score - shift - bound
    if edge == -np.inf:
        return scores.dtype.type(-np.inf)
    return scores.dtype.type(edge - (relative + _rounding(scores)) * abs(edge) - _TINY)


@njit(cache=True, nogil=True)
def _certain(score, near, scores):
    """A number, of the type of `scores`, such that the exact score reaches `score` wherever the filter's reaches it."""
    bound, shift, relative = near
    edge = score - shift + bound
    if edge == np.inf:
        return scores.dtype.type(np.inf)
    return scores.dtype.type(edge + (relative + _rounding(scores)) * abs(edge) + _TINY)


@njit(cache=True, nogil=True)
def _rounding(scores):
    return _FLOAT32 if scores.itemsize == 4 else _FLOAT64


@njit(cache=True, nogil=True)
def _count_row(scores, q, near, pairs, scratch, waiting, n_waiting):
    """Add to the counts of query `q` the rows that reach its falling thresholds [m]; how many pairs are `waiting` now."""
    a, b = pairs.offsets[q], pairs.offsets[q + 1]
    threshold, counts = pairs.threshold[a:b], pairs.counts[a:b]
    m = threshold.shape[0]
    if m == 0:
        return n_waiting
    found, low, high, placed = scratch[0], scratch[1][:m], scratch[2][:m], scratch[3][: m + 1]
    for j in range(m):
        low[j], high[j] = _lowest(threshold[j], near, scores), _certain(threshold[j], near, scores)
    some = scores[:_SOME]
    is_sparse = _count(some, low[m - 1]) * _SPARSE < some.shape[0]
    if is_sparse or not math.isfinite(low[m - 1]) or not math.isfinite(high[0]) or scores.shape[0] > _MOST:
        n, grid = _pick(scores, low[m - 1], found), (scores.dtype.type(0), scores.dtype.type(0))
    else:
        grid = _grid(low, high)
        n = _fill_buckets(scores, grid, low, high, counts, scratch)
    if n_waiting + n > waiting[1].shape[0]:
        _decide(pairs, waiting, n_waiting)
        n_waiting = 0
    placed[:] = 0
    n_waiting = _place(scores, q, found[:n], grid, low, high, placed, scratch, waiting[0], n_waiting)
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
        if _count(scores[start : start + _SCAN], limit) == 0:
            continue
        for few in range(start, min(start + _SCAN, scores.shape[0]), _FEW):
            block = scores[few : few + _FEW]
            if _count(block, limit) == 0:
                continue
            for i in range(block.shape[0]):
                found[n] = np.int32(few + i)  # overwritten by the next one when this score is below
                n = _U(n + _U(block[i] >= limit))
    return np.int64(n)


@njit(cache=True, nogil=True)
def _grid(low, high):
    """Where the buckets begin, and how many there are in 1: all of `low` and `high` lie within, with a few to spare."""
    last = low[low.shape[0] - 1]
    scale = min(np.float32(_BUCKETS - 6) / max(high[0] - last, np.float32(1e-30)), np.float32(1e30))
    return last - np.float32(2) / scale, scale


@njit(cache=True, nogil=True)
def _bucket(score, grid):
    return np.uint16(np.int32(min(max((score - grid[0]) * grid[1], np.float32(0)), np.float32(_BUCKETS - 1))))


@njit(cache=True, nogil=True)
def _fill_buckets(scores, grid, low, high, counts, scratch):
    """Add to `counts` the scores whose bucket decides; write the other positions to scratch[0], and return their number."""
    found, bucket, hot, filled, begin, end = scratch[0], scratch[4], scratch[5], scratch[6], scratch[7], scratch[8]
    m = low.shape[0]
    hot[:], filled[:] = 0, 0
    for j in range(m):
        for b in range(_bucket(low[j], grid), np.int64(_bucket(high[j], grid)) + 1):
            begin[b] = begin[b] if hot[b] else j
            hot[b], end[b] = 1, j + 1
    n = _U(0)
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        for i in range(block.shape[0]):
            # Most scores may be below: counted in one place, each would wait for the one before.
            below = np.uint16(_BUCKETS + i)
            bucket[i] = below if block[i] < grid[0] else _bucket(block[i], grid)
        for i in range(block.shape[0]):
            b = _U(bucket[i])
            filled[b] += np.uint16(1)
            found[n] = np.int32(start + i)
            n = _U(n + _U(hot[b]))
    for i in range(_BUCKETS):
        filled[i] = np.uint16(0) if hot[i] else filled[i]
    total, top = 0, _BUCKETS
    for j in range(m):
        edge = np.int64(_bucket(high[j], grid))
        within = np.int32(0)
        for i in range(edge, top):
            within = np.int32(within + np.int32(filled[_U(i)]))
        total += within
        top = edge
        counts[j] += total
    return np.int64(n)


@njit(cache=True, nogil=True)
def _place(scores, q, found, grid, low, high, placed, scratch, waiting, n_waiting):
    """Count the scores at the positions `found`, each in `placed` at the first threshold that it certainly reaches.

    Where it may reach others too, the pair joins the `waiting`; returns how many these are now. A `grid` of scale 0 is none.
    """
    begin, end, k = scratch[7], scratch[8], _U(n_waiting)
    a, b = 0, low.shape[0]
    for i in range(found.shape[0]):
        score = scores[found[i]]
        if grid[1] > 0:
            bucket = _U(_bucket(score, grid))
            a, b = begin[bucket], end[bucket]
        first = last = a
        for j in range(a, b):
            first += low[j] > score
            last += high[j] > score
        placed[_U(last)] += 1
        waiting[k, 0], waiting[k, 1], waiting[k, 2], waiting[k, 3] = q, found[i], first, last
        # Minus infinity is no candidate of this query.
        k = _U(k + _U((first < last) & (score > -np.inf)))
    return np.int64(k)


@njit(cache=True, nogil=True)
def _decide(pairs, waiting, n_waiting):
    """Count the first `n_waiting` of the `waiting` pairs at those of their thresholds that they reach."""
    pair, product = waiting[0], waiting[2]
    coarse_margin, quick_margin = pairs.margins
    is_coarse = coarse_margin < np.inf
    _multiply(pairs, waiting, n_waiting, is_coarse)
    for i in range(n_waiting):
        q, row = pair[i, 0], pair[i, 1]
        a, b = pairs.offsets[q] + pair[i, 2], pairs.offsets[q] + pair[i, 3]
        threshold, counts = pairs.threshold[a:b], pairs.counts[a:b]
        raised = pairs.tilt[row] + pairs.shift[q]
        score, margin = product[i] + raised, coarse_margin if is_coarse else quick_margin
        if is_coarse and _is_near(score, threshold, margin):
            score, margin = quick_dot(pairs.queries32[q], pairs.rows32[row]) + raised, quick_margin
        if _is_near(score, threshold, margin):
            score = dot(pairs.queries[q], pairs.units[row])
        for j in range(b - a):
            counts[j] += score >= threshold[j]


@njit(cache=True, nogil=True)
def _multiply(pairs, waiting, n_waiting, is_coarse):
    """Write the `coarse_dot`, or the `quick_dot`, of the `waiting` pairs to waiting[2], going from row to row."""
    pair, by_row, product = waiting
    queries32, rows32 = pairs.queries32, pairs.rows32
    place = np.zeros(rows32.shape[0] + 1, np.int32)
    for i in range(n_waiting):
        place[pair[i, 1] + 1] += 1
    for row in range(rows32.shape[0]):
        place[row + 1] += place[row]
    for i in range(n_waiting):
        row = pair[i, 1]
        k = place[row]
        by_row[k, 0], by_row[k, 1], by_row[k, 2] = pair[i, 0], row, i
        place[row] = k + 1
    for k in range(n_waiting):
        q, row, i = by_row[k, 0], by_row[k, 1], by_row[k, 2]
        if is_coarse:
            product[i] = coarse_dot(queries32[q], rows32[row])
        else:
            product[i] = quick_dot(queries32[q], rows32[row])


@njit(cache=True, nogil=True)
def _is_near(score, threshold, margin):
    for j in range(threshold.shape[0]):
        if abs(score - threshold[j]) <= margin:
            return True
    return False


@njit(cache=True, nogil=True)
def _top_row(scores, q, near, pairs, rows, top_score, top_index, found):
    """Merge one query's row of scores into its best `top_score`, `top_index` [k], both in order.

    No row can be among the best k below the k-th best exact score so far; nor below the least exact score that the k
    largest of the filter's scores stand for, because the k rows with these beat it.
    """
    if top_score.shape[0] == 0:
        return
    query32, rows32, tilt, margin = pairs.queries32[q], pairs.rows32, pairs.tilt, pairs.margins[1]
    last = top_score.shape[0] - 1
    limit = _lowest(top_score[last], near, scores)
    best = np.full(top_score.shape[0], -np.inf, scores.dtype)
    n = 0
    for start in range(0, scores.shape[0], _SCAN):
        if _count(scores[start : start + _SCAN], limit) == 0:
            continue
        for few in range(start, min(start + _SCAN, scores.shape[0]), _FEW):
            block = scores[few : few + _FEW]
            if _count(block, limit) == 0:
                continue
            for i in range(block.shape[0]):
                if block[i] < limit or block[i] == -np.inf:
                    continue
                found[n] = few + i
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
                exact = best[last] - near[2] * 1.01 * abs(best[last]) - near[0]
                limit = max(limit, _lowest(exact + near[1], near, scores))
    units, n_near = pairs.units, 0
    for i in found[:n]:
        if scores[i] >= limit and quick_dot(query32, rows32[i]) + tilt[i] + near[1] >= top_score[last] - margin:
            found[n_near] = i
            n_near += 1
    found[n_near : n_near + 3] = found[n_near - 1]
    for i in range(0, n_near, 4):
        four = found[i : i + 4]
        exact = four_dots(pairs.queries[q], units[four[0]], units[four[1]], units[four[2]], units[four[3]])
        for j in range(min(4, n_near - i)):
            insert(top_score, top_index, exact[j], rows[four[j]])
