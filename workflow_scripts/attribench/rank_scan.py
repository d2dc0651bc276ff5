"""Counting and picking neighbours in a tile of filter scores: the compiled loops that follow the matrix product.

A tile [q, n] holds the scores of a filter (`rank_filters`): float32 or float64, or bfloat16 as uint16. The exact ones are
near these times a scale, raised by a shift. What is certain within the filter's bound is counted; the few other pairs are
decided by `rank_kernels`. All functions release the interpreter lock.

For each group of rows, the thresholds that its scores may or may not reach are made edges, from the least score that may
reach one to the least that certainly does; `rank_count` counts the scores there, and the pairs in doubt are those of
`rank_doubt`.
"""

import numpy as np

from attribench.compiled import compiled
from attribench.rank_count import FEW_EDGES, count_few, count_scores, counting_room
from attribench.rank_doubt import FEW, count_from, decide_waiting, waiting_room
from attribench.rank_kernels import four_dots, insert, quick_dot

_SCAN = 256
_SMALL = 1024  # rows of a group, or fewer: see first which thresholds its scores may reach
_FLOAT32, _FLOAT64, _TINY = 2.0**-22, 2.0**-50, 2.0**-140  # more than rounding to them can change


@compiled
def scan_tile(tile, pairs, bound, relative, rows, top_score, top_index):
    """Add a float32 or float64 tile to the counts of `pairs`, and to the best scores and their `rows` [n], [q, k] each.

    The exact score of a pair, less its shift, is within `bound` [q, G] of its scale times a number that is within `relative`
    times itself of the tile's.
    """
    room, counting, waiting = _room(tile[0], pairs.offsets)
    n = 0
    for q in range(tile.shape[0]):
        n = _scan_row(
            tile[q], q, bound[q], relative, pairs, rows, top_score[q], top_index[q], room, counting, waiting, n
        )
    decide_waiting(pairs, waiting, n)


@compiled
def scan_bf16_tile(tile, pairs, bound, relative, rows, top_score, top_index):
    """`scan_tile` of a bfloat16 tile, uint16 [q, n]."""
    word = np.empty(tile.shape[1], np.uint32)
    scores = word.view(np.float32)
    room, counting, waiting = _room(scores, pairs.offsets)
    n = 0
    for q in range(tile.shape[0]):
        for i in range(tile.shape[1]):
            word[i] = np.uint32(tile[q, i]) << np.uint32(16)
        n = _scan_row(
            scores, q, bound[q], relative, pairs, rows, top_score[q], top_index[q], room, counting, waiting, n
        )
    decide_waiting(pairs, waiting, n)


@compiled
def scan_steps_tile(tile, pairs, bound, relative, rows, top_score, top_index):
    """`scan_tile` of a float32 tile, of whole numbers that are first to be multiplied by the rows' steps."""
    scores, steps = np.empty(tile.shape[1]), pairs.steps
    room, counting, waiting = _room(scores, pairs.offsets)
    n = 0
    for q in range(tile.shape[0]):
        whole = tile[q]
        for i in range(whole.shape[0]):
            scores[i] = np.float64(whole[i]) * steps[i]
        n = _scan_row(
            scores, q, bound[q], relative, pairs, rows, top_score[q], top_index[q], room, counting, waiting, n
        )
    decide_waiting(pairs, waiting, n)


@compiled
def _scan_row(scores, q, bound, relative, pairs, rows, top_score, top_index, room, counting, waiting, n_waiting):
    """Count, and merge into the best, the `scores` [n] of query `q`; how many pairs are `waiting` now."""
    # Groups can be small, so what is not needed for each of them is not done for each of them.
    starts, shift, scale = pairs.starts, pairs.shift[q], pairs.scale[q]
    low, high, first, all_reach, found = room
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
        if m > 0 and n_waiting + b - a > waiting.by_row.shape[0]:
            decide_waiting(pairs, waiting, n_waiting)
            n_waiting = 0
        if m > FEW_EDGES:
            edges = (low[:m], high[:m], first[: m + 1])
            n_waiting = count_scores(part, (q, a), edges, counts, counting, waiting.pair, n_waiting)
        elif m > 0:
            n_waiting = count_few(part, (q, a), m, (low, high, first), counts, waiting.pair, n_waiting)
        if top_score.shape[0] and extent[1] >= _lowest(top_score[-1], near, scores):
            _top_row(scores, (a, b), q, g, near, pairs, rows, top_score, top_index, found)
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
def _room(scores, offsets):
    """Room for the work of a row such as `scores` [n] and its at most m thresholds.

    low, high [m] and first [m + 1] of edges; how many rows reach all thresholds from one on [m + 1]; positions [n + 4].
    """
    n, most = scores.shape[0], 1
    for q in range(offsets.shape[0] - 1):
        most = max(most, offsets[q + 1] - offsets[q])
    low, high, first = np.empty(most, scores.dtype), np.empty(most, scores.dtype), np.empty(most + 1, np.int64)
    room = (low, high, first, np.empty(most + 1, np.int64), np.empty(n + 4, np.int32))
    return room, counting_room(scores, most), waiting_room(n)


@compiled
def _lowest(score, near, scores):
    """A number, of the type of `scores`, that the filter's score reaches wherever the exact one reaches `score`."""
    bound, shift, relative, scale = near
    edge = (score - shift - bound) / scale
    return scores.dtype.type(edge - (relative + _rounding(scores)) * abs(edge) - _TINY)


@compiled
def _certain(score, near, scores):
    """A number, of the type of `scores`, such that the exact score reaches `score` wherever the filter's reaches it."""
    bound, shift, relative, scale = near
    edge = (score - shift + bound) / scale
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
    for j in range(begin, end):  # with SIMD
        low[j - begin], high[j - begin] = _lowest(threshold[j], near, low), _certain(threshold[j], near, low)
    if near[0] == 0:  # the tile's scores are the exact ones
        for j in range(begin, end):
            low[j - begin] = high[j - begin] = threshold[j]
    if is_whole:  # between two whole numbers there is no doubt
        for j in range(begin, end):
            low[j - begin], high[j - begin] = np.ceil(low[j - begin]), _certain_whole(threshold[j], near)
    m = 0
    for j in range(begin, end):
        least, certain = low[j - begin], high[j - begin]
        if m > 0 and certain >= low[m - 1]:
            low[m - 1] = least
        else:
            low[m], high[m], first[m] = least, certain, j
            m += 1
    first[m] = end
    return m


@compiled
def _top_row(scores, part, q, g, near, pairs, rows, top_score, top_index, found):
    """Merge query q's `scores` of `part`, which is group g, into its best `top_score`, `top_index` [k], both in order.

    No row can be among the best k below the k-th best exact score so far; nor below the least exact score that the k
    largest of the filter's scores stand for, because the k rows with these beat it.
    """
    a, b = part
    scores, rows, units, rows32, tilt = scores[a:b], rows[a:b], pairs.units[a:b], pairs.rows32[a:b], pairs.tilt[a:b]
    query32, margin = pairs.queries32[q], pairs.margins[2, g]
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
