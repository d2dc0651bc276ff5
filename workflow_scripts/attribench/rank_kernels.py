"""The compiled loops of `rank.py`, whose text defines the score; `rank_filters` derives the bounds used here.

Only `full_dot`, `quick_dot`, `coarse_dot`, `fours_dot`, `less_centre`, `weighted_lengths` and `to_bf16` may be reassociated
or fused by the compiler; all others are compiled to strict IEEE operations in the order written. All release the interpreter
lock, so threads may run them on disjoint queries.
"""

import math

import numpy as np

from attribench.compiled import compiled

NORM_FLOOR = 1e-12  # rows shorter than this are not blown up to unit length
_LANES = 32  # products of consecutive columns that are added to others at once

_U = np.uintp  # numba looks for negative positions in all others, which keeps SIMD away


@compiled(error_model="numpy")
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


@compiled
def dot(a, b):
    """The canonical dot product: float64, index order, each operation rounded."""
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@compiled
def four_dots(a, b, c, d, e):
    """`dot` of `a` with each of the others: four sums that need not wait for each other, in the time of one."""
    t, u, v, w = 0.0, 0.0, 0.0, 0.0
    for i in range(a.shape[0]):
        t += a[i] * b[i]
        u += a[i] * c[i]
        v += a[i] * d[i]
        w += a[i] * e[i]
    return t, u, v, w


@compiled
def four_pairs(a, b, pairs, start, out):
    """`dot` of rows pairs[i, 0] of `a` and pairs[i, 1] of `b`, from `start` on, four at most: written to `out` [4]."""
    last = pairs.shape[0] - 1
    i, j, k, m = start, min(start + 1, last), min(start + 2, last), min(start + 3, last)
    qi, qj, qk, qm = _U(pairs[i, 0]), _U(pairs[j, 0]), _U(pairs[k, 0]), _U(pairs[m, 0])
    ri, rj, rk, rm = _U(pairs[i, 1]), _U(pairs[j, 1]), _U(pairs[k, 1]), _U(pairs[m, 1])
    t, u, v, w = 0.0, 0.0, 0.0, 0.0
    for c in range(_U(a.shape[1])):
        t += a[qi, c] * b[ri, c]
        u += a[qj, c] * b[rj, c]
        v += a[qk, c] * b[rk, c]
        w += a[qm, c] * b[rm, c]
    out[0], out[1], out[2], out[3] = t, u, v, w


@compiled(fastmath={"reassoc", "contract", "nsz"})
def quick_dot(a, b):
    """A float64 dot product of float32 rows, in any order: only a filter."""
    total = 0.0
    for i in range(a.shape[0]):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


# A view of each row, of pairs far apart, would take a fifth of the time: these are given all rows.


@compiled(fastmath={"reassoc", "contract", "nsz"})
def full_dot(a, q, b, r):
    """A float64 dot product of row `q` of `a` and `r` of `b`, float64, in any order: only a filter."""
    q, r, total = _U(q), _U(r), 0.0
    for i in range(_U(a.shape[1])):
        total += a[q, i] * b[r, i]
    return total


@compiled(fastmath={"reassoc", "contract", "nsz"})
def coarse_dot(a, q, b, r):
    """A float32 dot product of row `q` of `a` and `r` of `b`, float32, in any order: only a filter."""
    q, r, total = _U(q), _U(r), np.float32(0)
    for i in range(_U(a.shape[1])):
        total += a[q, i] * b[r, i]
    return np.float64(total)


@compiled(fastmath={"reassoc", "contract", "nsz"})
def fours_dot(a, q, b, r):
    """`coarse_dot`, but float64 sums of float32 sums of at most four products."""
    q, r, n, total = _U(q), _U(r), _U(a.shape[1]), 0.0
    for piece in range(n // _U(4 * _LANES)):
        for lane in range(_U(_LANES)):  # converting each product takes twice the time
            start, some = piece * _U(4 * _LANES) + lane, np.float32(0)
            for k in range(_U(4)):
                some += a[q, start + k * _U(_LANES)] * b[r, start + k * _U(_LANES)]
            total += np.float64(some)
    for i in range(n - n % _U(4 * _LANES), n):
        total += np.float64(a[q, i] * b[r, i])
    return total


@compiled
def coarse_dots(queries, rows, order):
    """The sum of `coarse_dot` of each of `queries` with `rows` in `order`: to see what it costs."""
    total = 0.0
    for q in range(queries.shape[0]):
        for i in order:
            total += coarse_dot(queries, q, rows, i)
    return total


@compiled
def full_dots(queries, rows, order):
    """As `coarse_dots`, of `full_dot`."""
    total = 0.0
    for q in range(queries.shape[0]):
        for i in order:
            total += full_dot(queries, q, rows, i)
    return total


@compiled
def pair_scores(queries, exemplars, offsets, pairs):
    scores = np.empty(pairs.shape[0])
    for q in range(queries.shape[0]):
        for p in range(offsets[q], offsets[q + 1]):
            scores[p] = dot(queries[q], exemplars[pairs[p]])
    return scores


@compiled(fastmath={"reassoc", "contract", "nsz"})
def less_centre(rows, centres, group, out, length):
    """Write rows float64 [n, d] less those of `centres` [G, d] that `group` [n] says to `out`, float32 [n, d], and how long
    they are to `length` float64 [n]."""
    for i in range(rows.shape[0]):
        centre, total = centres[group[i]], 0.0
        for j in range(rows.shape[1]):
            value = rows[i, j] - centre[j]
            out[i, j] = np.float32(value)
            total += value * value
        length[i] = math.sqrt(total)


@compiled(fastmath={"reassoc", "contract", "nsz"})
def weighted_lengths(rows, weight, out):
    """Write to `out` float64 [n] the lengths of `rows` float32 [n, d] when the square of column j counts weight[j] times."""
    for i in range(rows.shape[0]):
        total = 0.0
        for j in range(rows.shape[1]):
            total += weight[j] * np.float64(rows[i, j]) ** 2
        out[i] = math.sqrt(total)


@compiled(fastmath={"reassoc", "contract", "nsz"})
def to_bf16(rows, centres, group, bits, residual, length):
    """Round rows float64 [n, d] less those of `centres` [G, d] that `group` [n] says to bfloat16, as uint16 `bits` [n, d].

    The lengths of what rounding took away, and of the rounded rows, are written to `residual` and `length` float64 [n].
    """
    word = np.empty(rows.shape[1], np.uint32)
    single = word.view(np.float32)
    for i in range(rows.shape[0]):
        centre = centres[group[i]]
        for j in range(rows.shape[1]):
            single[j] = rows[i, j] - centre[j]
        for j in range(rows.shape[1]):
            rounded = (word[j] + np.uint32(0x7FFF) + ((word[j] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            bits[i, j] = rounded
            word[j] = rounded << np.uint32(16)
        lost = kept = 0.0
        for j in range(rows.shape[1]):
            value = np.float64(single[j])
            left = rows[i, j] - centre[j] - value
            lost += left * left
            kept += value * value
        residual[i], length[i] = math.sqrt(lost), math.sqrt(kept)


@compiled
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


@compiled
def decide(queries, units, rows, query, code, offsets, threshold, counts, top_score, top_index):
    """Count, and keep neighbours, by the canonical score, of the pairs of `query` [n] and `code` [n].

    A code is 4 i + 2 (count it at every threshold) + 1 (it may be a neighbour), for the i-th of `units`: row rows[i].
    """
    for p in range(code.shape[0]):
        q, i = query[p], code[p] >> 2
        score = dot(queries[q], units[i])
        if code[p] & 2:
            for j in range(offsets[q], offsets[q + 1]):
                counts[j] += score >= threshold[j]
        if code[p] & 1:
            insert(top_score[q], top_index[q], score, rows[i])


@compiled
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
