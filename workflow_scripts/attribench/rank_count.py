"""Counting a query's scores at the edges between which thresholds are in doubt: compiled, without the interpreter lock.

Edge j of m is from low[j] to high[j], of the scores' type, both falling and none overlapping. A score of high[j] or more
certainly reaches thresholds first[j] to first[j + 1], one below low[j] does not, and what is between waits (`rank_doubt`).

Several ways, with equal results. Of few edges, or few scores, all scores are compared with each edge. Where few scores
reach the lowest edge, they are picked out and each is placed among the edges. Where many do, they are counted in buckets of
equal width, or, where most edges are near the lowest one, of widths that grow with the distance from there, as the floats
do; only the scores in the buckets that an edge touches are placed one by one, among the edges that touch theirs. A score's
bucket is a monotone function of it, in float arithmetic too. So all scores of a bucket that no edge touches are on the same
side of every threshold, whatever the bucket's own limits are. Where many scores turn out to be in buckets that edges touch,
as where very many are equal, those of the next queries are compared with the edge of their bucket, if it is the only one;
and if even that leaves many, with each.
"""

import math
from typing import NamedTuple

import numpy as np

from attribench.compiled import compiled
from attribench.rank_doubt import FEW, await_between, count_from

_SCAN = 256
_BUCKETS = 4096
FEW_EDGES = 4  # at which scores are counted by `count_few`, at more by `count_scores`
_CURVED = np.float32(1 / 16)  # of the way from the lowest edge to the highest one: where half of them are nearer
_WIDEST = 18  # buckets are that many bits wide at most, so that 32 bits hold all numbers on the way
_SPARSE = 32  # one in so many scores above the lowest edge, or fewer: pick them out
_SOME = 1024  # scores that tell how many these are
_MOST = 2**16 - 1  # scores that a bucket can count
_CLEARED = 8192  # comparisons that buckets take, however few the scores are
_BUCKETED = 32  # comparisons that take as long as to put a score into its bucket
_COMPARED = 64  # the same, and to compare it there, too
_CROWDED = 4  # one in so many scores to be placed one by one: then another way takes less time
_RETRY = 256  # queries, after which the first way is tried again
_EDGE_OF_BUCKET, _EACH_EDGE = 1, 2  # what scores are compared with

_U = np.uintp  # numba looks for negative positions in all others, which keeps SIMD away


class Room(NamedTuple):
    """Room for the counting of rows of n scores, at up to m edges."""

    found: np.ndarray  # positions [n + 4] of scores that are to be placed one by one
    placed: np.ndarray  # of these, how many certainly reach which edge first [m + 1]
    sure: np.ndarray  # how many others reach each edge [m]
    bucket: np.ndarray  # of some scores [_SCAN]
    hot: np.ndarray  # whether an edge touches a bucket [_BUCKETS, and one for each of some scores that are below]
    filled: np.ndarray  # how many are in it, as many
    begin: np.ndarray  # the first and the last edge that touch a bucket [_BUCKETS]
    end: np.ndarray
    sides: np.ndarray  # how many are not below its edge, and 2^16 times how many are, if it has one edge; as many
    least: np.ndarray  # low and high of that edge, as many
    certain: np.ndarray
    limits: np.ndarray  # low and high of all edges, falling [2 m]
    of_limit: np.ndarray  # 2 (edge) + (whether it is its low)
    reached: np.ndarray  # how many scores reach each
    way: np.ndarray  # what scores in buckets are compared with, and for how many queries yet [2]


@compiled
def counting_room(scores, most):
    """Room for rows such as `scores` [n], and up to `most` edges."""
    return Room(
        found=np.empty(scores.shape[0] + 4, np.int32),
        placed=np.empty(most + 1, np.int64),
        sure=np.empty(most, np.int64),
        bucket=np.empty(_SCAN, np.uint16),
        hot=np.empty(_BUCKETS + _SCAN, np.uint8),
        filled=np.empty(_BUCKETS + _SCAN, np.uint16),
        begin=np.empty(_BUCKETS, np.int32),
        end=np.empty(_BUCKETS, np.int32),
        sides=np.empty(_BUCKETS + _SCAN, np.uint32),
        least=np.full(_BUCKETS + _SCAN, np.inf, scores.dtype),
        certain=np.full(_BUCKETS + _SCAN, np.inf, scores.dtype),
        limits=np.empty(2 * most, scores.dtype),
        of_limit=np.empty(2 * most, np.int64),
        reached=np.empty(2 * most, np.int64),
        way=np.zeros(2, np.int64),
    )


@compiled
def count_scores(scores, place, edges, counts, room, waiting, n_waiting):
    """Add to the counts of a query the rows that reach its thresholds at the `edges`; how many pairs are `waiting` now.

    `place`: the query, and the first of its `scores`' rows. `edges`: their low, high [m] and first [m + 1]. There is to be
    room for all scores in `waiting`.
    """
    low, high, _ = edges
    m, n = low.shape[0], scores.shape[0]
    n_limits = _limits(low, high, room)
    some = scores[:_SOME]
    if count_from(some, low[m - 1]) * _SPARSE < some.shape[0]:
        n_found = _pick(scores, low[m - 1], room.found)
        room.sure[:m] = 0
        n_waiting = _place(scores, place, room.found[:n_found], None, None, edges, room, waiting, n_waiting)
    elif not _are_for_buckets(n_limits, low[m - 1], high[0], n, room):
        n_waiting = _compare(scores, place, edges, n_limits, room, waiting, n_waiting)
    elif _is_curved(low, high):
        n_waiting = _count_in_buckets(scores, place, edges, True, room, waiting, n_waiting)
    else:
        n_waiting = _count_in_buckets(scores, place, edges, None, room, waiting, n_waiting)
    _add_counts(edges[2], room, counts)
    return n_waiting


@compiled
def _add_counts(first, room, counts):
    """Add to the `counts` of a query those at its edges."""
    total = 0
    for i in range(first.shape[0] - 1):
        total += room.placed[i]
        for j in range(first[i], first[i + 1]):
            counts[j] += total + room.sure[i]


@compiled
def count_few(scores, place, m, edges, counts, waiting, n_waiting):
    """`count_scores` at `m` edges, FEW_EDGES at most: little is done besides, for there may be few scores."""
    low, high, first = edges
    for i in range(m):
        certain = count_from(scores, high[i])
        for j in range(first[i], first[i + 1]):
            counts[j] += certain
        if low[i] < high[i] and certain != count_from(scores, low[i]):
            n_waiting = await_between(scores, low[i], high[i], (*place, first[i], first[i + 1]), waiting, n_waiting)
    return n_waiting


@compiled
def _are_for_buckets(n_limits, lowest, highest, n, room):
    """Whether `n` scores can be counted in buckets between two of them, and more quickly than at each limit.

    To be asked once a query: room.way counts those for which another way than the first is taken.
    """
    way = room.way
    way[1] -= 1
    way[0] = 0 if way[1] <= 0 else way[0]
    if way[0] == _EACH_EDGE or n > _MOST or not math.isfinite(lowest) or not math.isfinite(highest):
        return False
    return n_limits * n > _CLEARED + (_COMPARED if way[0] == _EDGE_OF_BUCKET else _BUCKETED) * n


@compiled
def _limits(low, high, room):
    """Write the edges' falling limits to room.limits, and whose they are to room.of_limit; how many."""
    limits, of = room.limits, room.of_limit
    n = 0
    for j in range(low.shape[0]):
        limits[n], of[n] = high[j], 2 * j
        n += 1
        if low[j] < high[j]:
            limits[n], of[n] = low[j], 2 * j + 1
            n += 1
    return n


@compiled
def _compare(scores, place, edges, n_limits, room, waiting, n_waiting):
    """Count in room.sure, comparing each score with each of the `n_limits`; how many pairs are `waiting` now."""
    low, high, first = edges
    q, row = place
    limits, of, reached, sure = room.limits, room.of_limit, room.reached, room.sure
    sure[: low.shape[0]], room.placed[: low.shape[0]] = 0, 0
    for start in range(0, scores.shape[0], _SCAN):
        some = scores[start : start + _SCAN]
        _reached(some, limits, n_limits, reached)
        for k in range(n_limits):
            j = of[k] >> 1
            if of[k] & 1 == 0:
                sure[j] += reached[k]
            elif reached[k] != reached[k - 1]:
                there = (q, row + start, first[j], first[j + 1])
                n_waiting = await_between(some, low[j], high[j], there, waiting, n_waiting)
    return n_waiting


@compiled
def _reached(scores, limits, n_limits, reached):
    """Write to `reached` how many of `scores` are at least each of the first `n_limits`."""
    k = 0
    while k + 4 <= n_limits:  # four sums that need not wait for each other
        a, b, c, d = limits[k], limits[k + 1], limits[k + 2], limits[k + 3]
        t = u = v = w = np.int32(0)
        for i in range(scores.shape[0]):
            score = scores[i]
            t = np.int32(t + np.int32(score >= a))
            u = np.int32(u + np.int32(score >= b))
            v = np.int32(v + np.int32(score >= c))
            w = np.int32(w + np.int32(score >= d))
        reached[k], reached[k + 1], reached[k + 2], reached[k + 3] = t, u, v, w
        k += 4
    while k < n_limits:
        reached[k] = count_from(scores, limits[k])
        k += 1


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
def _reach(low, high):
    """Where the edges begin, and how far they reach from there: a score and a float32."""
    begin = low[low.shape[0] - 1]
    return begin, min(max(np.float32(high[0] - begin), np.float32(1e-30)), np.float32(1e30))


@compiled
def _is_curved(low, high):
    """Whether most edges are near the lowest one."""
    begin, extent = _reach(low, high)
    return np.float32(low[low.shape[0] // 2] - begin) < _CURVED * extent


@compiled
def _grid(low, high, is_curved):
    """Of buckets that all edges lie within: where they begin, and how `_bucket` makes numbers of what is beyond that.

    Of equal width: what it is multiplied by. Curved: what is taken for the most, the bits where the numbers begin, and how
    many of the last bits share a number. `is_curved` is None or True: numba compiles a function for each.
    """
    begin, extent = _reach(low, high)
    if is_curved is None:
        return begin, np.float32(_BUCKETS - 4) / extent, np.int32(0), np.int32(0)
    m = low.shape[0]
    top, shift = _bits(extent), 9
    # An eighth of the edges may share a bucket.
    near = _bits(max(np.float32(low[m - 1 - m // 8] - begin), np.float32(0)))
    while shift < _WIDEST and (top - near) >> shift >= _BUCKETS - 4:
        shift += 1
    return begin, np.float32(1.5) * extent, np.int32(top - ((_BUCKETS - 4) << shift)), np.int32(shift)


@compiled
def _bucket(score, grid, is_curved):
    """The number of the bucket of a score."""
    beyond = max(np.float32(score - grid[0]), np.float32(0))
    if is_curved is None:
        return np.uint16(np.int32(min(beyond * grid[1], np.float32(_BUCKETS - 1))))
    # The bits of floats from 0 on are in their order, but for those of -0, which the addition makes 0.
    number = max(_bits(min(beyond, grid[1]) + np.float32(0)) - grid[2], np.int32(0)) >> grid[3]
    return np.uint16(min(number, np.int32(_BUCKETS - 1)))


@compiled
def _bits(x):
    """Those of a float32."""
    return np.float32(x).view(np.int32)


@compiled
def _count_in_buckets(scores, place, edges, is_curved, room, waiting, n_waiting):
    """Count in room.sure the scores whose bucket decides, and in room.placed the others; how many pairs are `waiting`."""
    low, high, _ = edges
    grid = _grid(low, high, is_curved)
    way = room.way
    if way[0] == _EDGE_OF_BUCKET:
        n_found = _fill_edges(scores, grid, is_curved, low, high, room)
    else:
        n_found = _fill_buckets(scores, grid, is_curved, low, high, room)
    if n_found * _CROWDED > scores.shape[0]:
        way[0], way[1] = way[0] + 1, _RETRY
    return _place(scores, place, room.found[:n_found], grid, is_curved, edges, room, waiting, n_waiting)


@compiled
def _fill_buckets(scores, grid, is_curved, low, high, room):
    """Write to room.sure how many scores certainly reach each edge by their bucket, and to room.found the positions of those
    whose bucket does not decide; how many these are."""
    found, sure, bucket, hot = room.found, room.sure, room.bucket, room.hot
    filled, begin, end = room.filled, room.begin, room.end
    m = low.shape[0]
    hot[:], filled[:] = 0, 0
    for j in range(m):
        for b in range(_bucket(low[j], grid, is_curved), np.int64(_bucket(high[j], grid, is_curved)) + 1):
            begin[b] = begin[b] if hot[b] else j
            hot[b], end[b] = 1, j + 1
    n = _U(0)
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        for i in range(block.shape[0]):
            # Most scores may be below: counted in one place, each would wait for the one before.
            below = np.uint16(_BUCKETS + i)
            bucket[i] = below if block[i] < grid[0] else _bucket(block[i], grid, is_curved)
        for i in range(block.shape[0]):
            b = _U(bucket[i])
            filled[b] += np.uint16(1)
            found[n] = np.int32(start + i)
            n = _U(n + _U(hot[b]))
    for i in range(_BUCKETS):
        filled[i] = np.uint16(0) if hot[i] else filled[i]
    total, top = 0, _BUCKETS
    for j in range(m):
        edge = np.int64(_bucket(high[j], grid, is_curved))
        within = np.int32(0)
        for i in range(edge, top):
            within = np.int32(within + np.int32(filled[_U(i)]))
        total += within
        top = edge
        sure[j] = total
    return np.int64(n)


@compiled
def _fill_edges(scores, grid, is_curved, low, high, room):
    """`_fill_buckets`, but in a bucket that one edge touches each score is compared with it."""
    found, bucket, sides, begin, end = room.found, room.bucket, room.sides, room.begin, room.end
    least, certain, none = room.least, room.certain, scores.dtype.type(np.inf)
    sides[:] = 0
    least[:_BUCKETS], certain[:_BUCKETS] = -none, -none
    for j in range(low.shape[0]):
        for b in range(_bucket(low[j], grid, is_curved), np.int64(_bucket(high[j], grid, is_curved)) + 1):
            is_first = certain[b] == -none
            begin[b] = j if is_first else begin[b]
            least[b], certain[b] = (low[j], high[j]) if is_first else (-none, none)
            end[b] = j + 1
    n = _U(0)
    for start in range(0, scores.shape[0], _SCAN):
        block = scores[start : start + _SCAN]
        for i in range(block.shape[0]):
            below = np.uint16(_BUCKETS + i)
            bucket[i] = below if block[i] < grid[0] else _bucket(block[i], grid, is_curved)
        for i in range(block.shape[0]):
            b = _U(bucket[i])
            side = np.uint32(block[i] >= certain[b]) | (np.uint32(block[i] < least[b]) << np.uint32(16))
            sides[b] += side
            found[n] = np.int32(start + i)
            n = _U(n + _U(side == 0))
    total, top = 0, _BUCKETS
    for j in range(low.shape[0]):
        edge = np.int64(_bucket(high[j], grid, is_curved))
        for i in range(edge + 1, top):
            total += _of_both(sides[_U(i)])
        room.sure[j] = total + np.int64(sides[_U(edge)] & np.uint32(_MOST))
        total += _of_both(sides[_U(edge)])
        top = edge
    return np.int64(n)


@compiled
def _of_both(side):
    return np.int64(side & np.uint32(_MOST)) + np.int64(side >> np.uint32(16))


@compiled
def _place(scores, place, found, grid, is_curved, edges, room, waiting, n_waiting):
    """Count the scores at the positions `found`, each in room.placed at the first edge that it certainly reaches.

    Where it may reach another one, the pair joins the `waiting`; returns how many these are now. A `grid` of None is none.
    `place`: the query, and which of the block's rows is the first one here.
    """
    low, high, first = edges
    placed, begin, end, k = room.placed[: low.shape[0] + 1], room.begin, room.end, _U(n_waiting)
    a, b = 0, low.shape[0]
    placed[:] = 0
    for i in range(found.shape[0]):
        score = scores[found[i]]
        if grid is not None:
            bucket = _U(_bucket(score, grid, is_curved))
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
