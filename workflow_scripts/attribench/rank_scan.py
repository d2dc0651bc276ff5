"""Counting and picking neighbours in a tile of filter scores: the compiled loops that follow the matrix product.

A tile [q, n] holds the scores of a filter (`rank_filters`): float32 or float64, or bfloat16 as uint16. The exact ones are
near these times a scale, raised by a shift. What is certain within the filter's bound is counted; the few other pairs are
decided by `rank_kernels`. All functions release the interpreter lock.

Three ways to count, with equal results. Where few scores reach the lowest threshold, they are picked out and each is placed
among the thresholds. Where many do, they are counted in buckets of equal width; only the scores in the buckets that some
threshold's bounds touch are placed one by one, among the thresholds that touch theirs. The bucket of a score is a monotone
function of it, in float arithmetic too. So all scores of a bucket that no bounds touch are on the same side of every
threshold, whatever its edges are.

Where there are few edges between thresholds that the scores are near, they are counted from each of them on: so in a small
group of rows, whose scores are all within a narrow range; and in float64, which leaves hardly any doubt. The pairs in doubt
are those of `rank_doubt`.
"""

import math

import numpy as np

from attribench.compiled import compiled
from attribench.rank_doubt import FEW, await_between, count_from, decide_waiting, waiting_room
from attribench.rank_kernels import four_dots, insert, quick_dot

_SCAN = 256
_BUCKETS = 4096
_FEW_EDGES = 4  # or fewer: count at one after the other
_SURE, _FEW_SURE_EDGES = 1e-10, 64  # where the filter's bound is less than this, hardly any doubt is left
_SMALL = 1024  # rows of a group, or fewer: see first which thresholds its scores may reach
_SPARSE = 32  # one in so many scores above the lowest threshold, or fewer: pick them out
_SOME = 1024  # scores that tell how many these are
_MOST = 2**16 - 1  # scores that a bucket can count
_FLOAT32, _FLOAT64, _TINY = 2.0**-22, 2.0**-50, 2.0**-140  # more than rounding to them can change

_U = np.uintp  # numba looks for negative positions in all others, which keeps SIMD away


@compiled
def scan_tile(tile, pairs, bound, relative, rows, top_score, top_index):
    """Add a float32 or float64 tile to the counts of `pairs`, and to the best scores and their `rows` [n], [q, k] each.

    The exact score of a pair, less its shift, is within `bound` [q, G] of its scale times a number that is within `relative`
    times itself of the tile's.
    """
    scratch, waiting = _scratch(tile[0], pairs.offsets)
    n = 0
    for q in range(tile.shape[0]):
        n = _scan_row(tile[q], q, bound[q], relative, pairs, rows, top_score[q], top_index[q], scratch, waiting, n)
    decide_waiting(pairs, waiting, n)


@compiled
def scan_bf16_tile(tile, pairs, bound, relative, rows, top_score, top_index):
    """`scan_tile` of a bfloat16 tile, uint16 [q, n]."""
    word = np.empty(tile.shape[1], np.uint32)
    scores = word.view(np.float32)
    scratch, waiting = _scratch(scores, pairs.offsets)
    n = 0
    for q in range(tile.shape[0]):
        for i in range(tile.shape[1]):
            word[i] = np.uint32(tile[q, i]) << np.uint32(16)
        n = _scan_row(scores, q, bound[q], relative, pairs, rows, top_score[q], top_index[q], scratch, waiting, n)
    decide_waiting(pairs, waiting, n)


@compiled
def _scan_row(scores, q, bound, relative, pairs, rows, top_score, top_index, scratch, waiting, n_waiting):
    """Count, and merge into the best, the `scores` [n] of query `q`; how many pairs are `waiting` now."""
    # Groups can be small, so what is not needed for each of them is not done for each of them.
    starts, shift, scale, all_reach = pairs.starts, pairs.shift[q], pairs.scale[q], scratch[9]
    low, high, first = scratch[1], scratch[2], scratch[10]
    threshold = pairs.threshold[pairs.offsets[q] : pairs.offsets[q + 1]]
    counts = pairs.counts[pairs.offsets[q] : pairs.offsets[q + 1]]
    all_reach[: threshold.shape[0] + 1] = 0
    for g in range(starts.shape[0] - 1):
        a, b = starts[g], starts[g + 1]
        near, part = (bound[g], shift[g], relative, scale[g]), scores[a:b]
        extent = _extent(part)
        begin, end = _undecided(threshold, extent, near)
        all_reach[end] += b - a
        m = _edges(threshold, begin, end, near, pairs.is_whole, low, high, first)
        if m > (_FEW_SURE_EDGES if bound[g] < _SURE else _FEW_EDGES):
            n_waiting = _count_row(part, (q, a), m, counts, pairs, scratch, waiting, n_waiting)
        elif m > 0:
            if n_waiting + b - a > waiting.by_row.shape[0]:
                decide_waiting(pairs, waiting, n_waiting)
                n_waiting = 0
            n_waiting = _count_few(part, (q, a), m, low, high, first, counts, waiting.pair, n_waiting)
        if top_score.shape[0] and extent[1] >= _lowest(top_score[-1], near, scores):
            _top_row(scores, (a, b), q, g, near, pairs, rows, top_score, top_index, scratch[0])
    total = 0
    for j in range(threshold.shape[0]):
        total += all_reach[j]
        counts[j] += total
    return n_waiting


@compiled
def _extent(scores):
    """The smallest and the largest of `scores`; of many, nothing is known, for they reach nearly everywhere anyway."""
    if scores.shape[0] > _SMALL:
        return scores.dtype.type(-np.inf), scores.dtype.type(np.inf)
    low = high = scores[0]
    for i in range(scores.shape[0]):
        low, high = min(low, scores[i]), max(high, scores[i])
    return low, high


@compiled
def _scratch(scores, offsets):
    """Room for the work of a row such as `scores` [n]: positions [n + 4]; low, high [m]; placed [m + 1].

    For buckets: those of some scores [_SCAN]; hot, filled [_BUCKETS and those below]; first and last threshold [_BUCKETS].
    How many rows reach all thresholds from one on [m + 1]; first [m + 1] and sure [m] of edges.
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
        np.empty(most + 1, np.int64),
        np.empty(most + 1, np.int64),
        np.empty(most, np.int64),
    )
    return scratch, waiting_room(n)


@compiled
def _lowest(score, near, scores):
    """A number, of the type of `scores`, that the filter's score reaches wherever the exact one reaches `score`."""
    bound, shift, relative, scale = near
    edge = (score - shift - bound) / scale
    if edge == -np.inf:
        return scores.dtype.type(-np.inf)
    return scores.dtype.type(edge - (relative + _rounding(scores)) * abs(edge) - _TINY)


@compiled
def _certain(score, near, scores):
    """A number, of the type of `scores`, such that the exact score reaches `score` wherever the filter's reaches it."""
    bound, shift, relative, scale = near
    edge = (score - shift + bound) / scale
    if edge == np.inf:
        return scores.dtype.type(np.inf)
    return scores.dtype.type(edge + (relative + _rounding(scores)) * abs(edge) + _TINY)


@compiled
def _certain_whole(score, near):
    """The least whole number such that the exact score reaches `score` wherever the filter's is that or more."""
    bound, shift, _, scale = near
    edge = (score - shift + bound) / scale
    return np.ceil(edge + _FLOAT64 * abs(edge) + _TINY)


@compiled
def _rounding(scores):
    return _FLOAT32 if scores.itemsize == 4 else _FLOAT64


@compiled
def _undecided(threshold, extent, near):
    """Of the falling thresholds, the first that a score of this `extent` may reach, and the first that all do reach."""
    bound, shift, relative, scale = near
    low, high = scale * np.float64(extent[0]), scale * np.float64(extent[1])
    most = shift + high + (bound + 1.01 * relative * abs(high) + 4 * _FLOAT64)
    least = shift + low - (bound + 1.01 * relative * abs(low) + 4 * _FLOAT64)
    begin = reached = 0
    for j in range(threshold.shape[0]):  # quicker than a search, with SIMD
        begin += threshold[j] > most
        reached += threshold[j] <= least
    return begin, threshold.shape[0] - reached


@compiled
def _edges(threshold, begin, end, near, is_whole, low, high, first):
    """Write between which `low` and `high` scores of their type leave thresholds in doubt, both falling; how many [m].

    Thresholds whose bounds meet share an edge: those of edge i are `first`[i] to first[i + 1].
    """
    m = 0
    for j in range(begin, end):
        least = _lowest(threshold[j], near, low)
        if is_whole:  # between two whole numbers there is no doubt
            least, certain = np.ceil(least), low.dtype.type(_certain_whole(threshold[j], near))
        else:
            certain = _certain(threshold[j], near, low)
        if m > 0 and certain >= low[m - 1]:
            low[m - 1] = least
        else:
            low[m], high[m], first[m] = least, certain, j
            m += 1
    first[m] = end
    return m


@compiled
def _count_few(scores, place, m, low, high, first, counts, waiting, n_waiting):
    """`_count_row`, edge by edge; with room for all that may wait."""
    for i in range(m):
        certain = count_from(scores, high[i])
        for j in range(first[i], first[i + 1]):
            counts[j] += certain
        if low[i] < high[i] and certain != count_from(scores, low[i]):
            n_waiting = await_between(scores, low[i], high[i], (*place, first[i], first[i + 1]), waiting, n_waiting)
    return n_waiting


@compiled
def _count_row(scores, place, m, counts, pairs, scratch, waiting, n_waiting):
    """Add to the counts of a query the rows that reach its thresholds at the `m` edges; how many pairs are `waiting` now.

    `place`: the query, and the first of its `scores`' rows.
    """
    found, low, high, first = scratch[0], scratch[1][:m], scratch[2][:m], scratch[10]
    placed, sure = scratch[3][: m + 1], scratch[11][:m]
    placed[:], sure[:] = 0, 0
    some = scores[:_SOME]
    is_sparse = count_from(some, low[m - 1]) * _SPARSE < some.shape[0]
    if is_sparse or not math.isfinite(low[m - 1]) or not math.isfinite(high[0]) or scores.shape[0] > _MOST:
        n, grid = _pick(scores, low[m - 1], found), (scores.dtype.type(0), scores.dtype.type(0))
    else:
        grid = _grid(low, high)
        n = _fill_buckets(scores, grid, low, high, sure, scratch)
    if n_waiting + n > waiting.by_row.shape[0]:
        decide_waiting(pairs, waiting, n_waiting)
        n_waiting = 0
    n_waiting = _place(scores, place, found[:n], grid, low, high, placed, scratch, waiting.pair, n_waiting)
    total = 0
    for i in range(m):
        total += placed[i]
        for j in range(first[i], first[i + 1]):
            counts[j] += total + sure[i]
    return n_waiting


@compiled
def _pick(scores, limit, found):
    """Write to `found` the positions of the scores of at least `limit`, in order; how many there are."""
    n = _U(0)
    for start in range(0, scores.shape[0], _SCAN):
        if count_from(scores[start : start + _SCAN], limit) == 0:
            continue
        for few in range(start, min(start + _SCAN, scores.shape[0]), FEW):
            block = scores[few : few + FEW]
            if count_from(block, limit) == 0:
                continue
            for i in range(block.shape[0]):
                found[n] = np.int32(few + i)  # overwritten by the next one when this score is below
                n = _U(n + _U(block[i] >= limit))
    return np.int64(n)


@compiled
def _grid(low, high):
    """Where the buckets begin, and how many there are in 1: all of `low` and `high` lie within, with a few to spare."""
    last = low[low.shape[0] - 1]
    scale = min(np.float32(_BUCKETS - 6) / max(high[0] - last, np.float32(1e-30)), np.float32(1e30))
    return last - np.float32(2) / scale, scale


@compiled
def _bucket(score, grid):
    return np.uint16(np.int32(min(max((score - grid[0]) * grid[1], np.float32(0)), np.float32(_BUCKETS - 1))))


@compiled
def _fill_buckets(scores, grid, low, high, sure, scratch):
    """Add to `sure` the scores whose bucket decides; write the other positions to scratch[0], and return their number."""
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
        sure[j] += total
    return np.int64(n)


@compiled
def _place(scores, place, found, grid, low, high, placed, scratch, waiting, n_waiting):
    """Count the scores at the positions `found`, each in `placed` at the first edge that it certainly reaches.

    Where it may reach another one, the pair joins the `waiting`; returns how many these are now. A `grid` of 0 is none.
    `place`: the query, and which of the block's rows is the first one here.
    """
    begin, end, first, k = scratch[7], scratch[8], scratch[10], _U(n_waiting)
    a, b = 0, low.shape[0]
    for i in range(found.shape[0]):
        score = scores[found[i]]
        if grid[1] > 0:
            bucket = _U(_bucket(score, grid))
            a, b = begin[bucket], end[bucket]
        edge = last = a
        for j in range(a, b):
            edge += low[j] > score
            last += high[j] > score
        placed[_U(last)] += 1
        waiting[k, 0], waiting[k, 1] = place[0], place[1] + found[i]
        waiting[k, 2], waiting[k, 3] = first[edge], first[last]
        # Minus infinity is no candidate of this query.
        k = _U(k + _U((edge < last) & (score > -np.inf)))
    return np.int64(k)


@compiled
def _top_row(scores, part, q, g, near, pairs, rows, top_score, top_index, found):
    """Merge query q's `scores` of `part`, which is group g, into its best `top_score`, `top_index` [k], both in order.

    No row can be among the best k below the k-th best exact score so far; nor below the least exact score that the k
    largest of the filter's scores stand for, because the k rows with these beat it.
    """
    a, b = part
    scores, rows, units, rows32, tilt = scores[a:b], rows[a:b], pairs.units[a:b], pairs.rows32[a:b], pairs.tilt[a:b]
    query32, margin = pairs.queries32[q], pairs.margins[1, g]
    last = top_score.shape[0] - 1
    limit = _lowest(top_score[last], near, scores)
    best = np.full(top_score.shape[0], -np.inf, scores.dtype)
    n = 0
    for start in range(0, scores.shape[0], _SCAN):
        if count_from(scores[start : start + _SCAN], limit) == 0:
            continue
        for few in range(start, min(start + _SCAN, scores.shape[0]), FEW):
            block = scores[few : few + FEW]
            if count_from(block, limit) == 0:
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
                exact = near[3] * (best[last] - near[2] * 1.01 * abs(best[last])) - near[0]
                limit = max(limit, _lowest(exact + near[1], near, scores))
    n_near = 0
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
