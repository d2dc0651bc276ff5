"""Pairs of a query and a row that a filter's score leaves in doubt: compiled, with the interpreter lock released.

They wait until there are many. Then they are multiplied row by row, and counted query by query: reading from memory at
random takes four times as long as the arithmetic. What `finer_dot` leaves in doubt too goes to `full_dot`, and what even
that does to the canonical score, whose sums, in order, take many times as long.
"""

from typing import NamedTuple

import numpy as np

from attribench.compiled import compiled
from attribench.rank_kernels import coarse_dot, four_pairs, fours_dot, full_dot

COARSE, FOURS, FULL = range(3)  # the dot products, from the quickest to the finest

FEW = 32  # scores that are looked at together
_ROOM = 32  # for as many pairs as a row of a tile has scores

_U = np.uintp  # numba looks for negative positions in all others, which keeps SIMD away


class Pairs(NamedTuple):
    """The queries of a tile with a block of rows, and what is counted for them.

    queries float64 [q, d] and units float64 [n, d]; queries32 and rows32 float32, the same less their centres. The groups
    of rows begin at starts [G + 1], and group [n] is each row's. shift [q, G] and tilt [n] are what the dot products of
    queries32 and rows32 are to be raised by to be those of queries and units. The filter's scores, which may be whole
    numbers, are to be multiplied by scale [q, G], for `scan_steps_tile` by the steps [n] first, and raised by shift. Query
    q's falling thresholds are offsets[q] to offsets[q + 1] of threshold, and so are its counts. margins [3, G]: the error
    bounds of `finer_dot` and of `full_dot`, and of `quick_dot` for neighbours. finer_dot: COARSE, FOURS or FULL; this one
    is of queries and units, the others of queries32 and rows32. Where rows stand for copies (`rank_copies`), starts
    [n + 1] are `Block.copies`.
    """

    queries: np.ndarray
    queries32: np.ndarray
    units: np.ndarray
    rows32: np.ndarray
    starts: np.ndarray
    group: np.ndarray
    shift: np.ndarray
    scale: np.ndarray
    is_whole: bool
    steps: np.ndarray
    tilt: np.ndarray
    offsets: np.ndarray
    threshold: np.ndarray
    counts: np.ndarray
    margins: np.ndarray
    finer_dot: int


class Waiting(NamedTuple):
    """Room for pairs: query, row, first and last of the query's thresholds [most + 1, 4]; the same by row: query, row,
    position [most, 3]; their dot products [most]."""

    pair: np.ndarray
    by_row: np.ndarray
    product: np.ndarray


@compiled
def waiting_room(n):
    """For a tile with rows of `n` scores; all of a row have room in what is empty."""
    most = _ROOM * n
    return Waiting(np.empty((most + 1, 4), np.int32), np.empty((most, 3), np.int32), np.empty(most, np.float64))


@compiled
def count_from(scores, limit):
    """How many of `scores` are at least `limit`."""
    above = np.int32(0)
    for i in range(scores.shape[0]):  # a 32-bit sum, as wide as the scores: SIMD keeps pace
        above = np.int32(above + np.int32(scores[i] >= limit))
    return above


@compiled
def await_between(scores, low, high, place, waiting, n_waiting):
    """Let the scores from `low` to `high` wait. `place`: their query, the first of their rows, the thresholds.

    Returns how many pairs are `waiting` now.
    """
    q, row, a, b = place
    k = _U(n_waiting)
    for start in range(0, scores.shape[0], FEW):
        few = scores[start : start + FEW]
        if count_from(few, low) == count_from(few, high):
            continue
        for i in range(few.shape[0]):
            waiting[k, 1] = row + start + i  # overwritten by the next one when this score is not between
            # Minus infinity is no candidate of this query.
            k = _U(k + _U((few[i] >= low) & (few[i] < high) & (few[i] > -np.inf)))
    for i in range(_U(n_waiting), k):
        waiting[i, 0], waiting[i, 2], waiting[i, 3] = q, a, b
    return np.int64(k)


@compiled
def decide_waiting(pairs, waiting, n_waiting):
    """Count the first `n_waiting` of the `waiting` pairs at those of their thresholds that they reach."""
    n = n_waiting
    if pairs.finer_dot != FULL:
        n = _decide(pairs, waiting, n, pairs.finer_dot, pairs.margins[0])
    n = _decide(pairs, waiting, n, FULL, pairs.margins[1])
    left, score = waiting.pair[:n], np.empty(4)
    for i in range(n):
        if i % 4 == 0:
            four_pairs(pairs.queries, pairs.units, left, i, score)
        offset = pairs.offsets[left[i, 0]]
        for j in range(offset + left[i, 2], offset + left[i, 3]):
            pairs.counts[j] += score[i % 4] >= pairs.threshold[j]


@compiled
def _decide(pairs, waiting, n_waiting, kind, margins):
    """Count those of the `waiting` pairs that a dot product of this `kind`, and `margins` [G], decide; the others, whose
    number is returned, are then the first ones that wait."""
    pair, product, threshold, counts, offsets = (
        waiting.pair,
        waiting.product,
        pairs.threshold,
        pairs.counts,
        pairs.offsets,
    )
    tilt, shift, group = pairs.tilt, pairs.shift, pairs.group
    _multiply(pairs, waiting, n_waiting, kind)
    n_left = 0
    for i in range(n_waiting):
        q, row, a, b = pair[i, 0], pair[i, 1], pair[i, 2], pair[i, 3]
        first, last, g = offsets[q] + a, offsets[q] + b, group[row]
        score = product[i] if kind == FULL else product[i] + (tilt[row] + shift[q, g])
        if _is_near(score, threshold, first, last, margins[g]):
            pair[n_left, 0], pair[n_left, 1], pair[n_left, 2], pair[n_left, 3] = q, row, a, b
            n_left += 1
            continue
        for j in range(first, last):
            counts[j] += score >= threshold[j]
    return n_left


@compiled
def _multiply(pairs, waiting, n_waiting, kind):
    """Write the dot products of a `kind` of the `waiting` pairs to waiting.product, going from row to row."""
    pair, by_row, product = waiting.pair, waiting.by_row, waiting.product
    queries32, rows32, queries, units = pairs.queries32, pairs.rows32, pairs.queries, pairs.units
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
    # A loop for each: with all three in one, none is as quick.
    if kind == COARSE:
        for k in range(n_waiting):
            product[by_row[k, 2]] = coarse_dot(queries32, by_row[k, 0], rows32, by_row[k, 1])
    elif kind == FOURS:
        for k in range(n_waiting):
            product[by_row[k, 2]] = fours_dot(queries32, by_row[k, 0], rows32, by_row[k, 1])
    else:
        for k in range(n_waiting):
            product[by_row[k, 2]] = full_dot(queries, by_row[k, 0], units, by_row[k, 1])


@compiled
def _is_near(score, threshold, first, last, margin):
    for j in range(first, last):
        if abs(score - threshold[j]) <= margin:
            return True
    return False
