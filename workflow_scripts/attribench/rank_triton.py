"""The Triton kernels of `rank_cuda.py`, whose text says what is certain and why: product, place, settle, gather.

Q queries and n rows of a tile have D columns, a multiple of 64, filled up with zeros. A query's list has `room` places,
as many as the tile has rows and a few more, so none can overflow; `found`, `doubtful` and `left` int32 [Q] say how many
are taken. Counts are added by atomic operations on whole numbers, so their order cannot be seen.

What follows the product must be short beside it: at 512 columns the tensor cores take a quarter of a clock of a
multiprocessor for a score, in which its other units do 32 operations. Hence groups of eight scores that one thread
holds already: one maximum for each score, and for each group one comparison with the lowest number that matters to its
query. Groups that reach it are written down whole. The thresholds meet only these, in the next kernel, by bisection.
"""

import triton
import triton.language as tl


@triton.jit
def _product(a1, a2, b1, b2, query, row, one, D: tl.constexpr, FINE: tl.constexpr, BK: tl.constexpr):
    """The scores float32 [BM, BN] of the rows `query` [BM] of a and `row` [BN] of b, float16 [., D].

    FINE: those of a1 + a2 / 2048 and b1 + b2 / 2048, but for the product of a2 and b2. `one` is 1.0: as the compiler
    does not know that, it cannot make a part's sum the start of the next part's chain.
    """
    column = tl.arange(0, BK)
    a_at = query.to(tl.int64)[:, None] * D + column[None, :]
    b_at = row.to(tl.int64)[None, :] * D + column[:, None]
    scores = tl.zeros((query.shape[0], row.shape[0]), tl.float32)
    if FINE:
        cross = tl.zeros((query.shape[0], row.shape[0]), tl.float32)
        for k in range(0, D, BK):
            a, b = tl.load(a1 + a_at + k), tl.load(b1 + b_at + k)
            cross = tl.dot(a, tl.load(b2 + b_at + k), cross)
            cross = tl.dot(tl.load(a2 + a_at + k), b, cross)
            scores += tl.dot(a, b) * one
        scores += cross * (1 / 2048)
    else:
        for k in range(0, D, BK):
            scores = tl.dot(tl.load(a1 + a_at + k), tl.load(b1 + b_at + k), scores)
    return scores


@triton.jit(do_not_specialize=["n_queries", "n_rows"])
def product(
    a1, a2, b1, b2, limit, found, found_group, found_score, n_queries, n_rows, room, one,
    D: tl.constexpr, FINE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write down the groups of rows with a score that reaches the query's `limit` float32 [Q], with all their scores.

    found_group int32 [Q, room / 8], found_score float32 [Q, room]; `room` is a multiple of BN. Group 4 b + c has the
    rows 32 b + 8 i + 2 c + j, for i < 4 and j < 2: those that a thread has after the product. Some are past the n-th
    row.
    """
    row = tl.program_id(0) * BN + tl.arange(0, BN)
    query = tl.program_id(1) * BM + tl.arange(0, BM)
    # Past the end, the last row once more: so loads need no mask.
    near_query, near_row = tl.minimum(query, n_queries - 1), tl.minimum(row, n_rows - 1)
    scores = _product(a1, a2, b1, b2, near_query, near_row, one, D, FINE, BK)

    groups = tl.permute(tl.reshape(scores, (BM, BN // 32, 4, 4, 2)), (0, 1, 3, 2, 4))
    groups = tl.reshape(groups, (BM, BN // 8, 8))
    least = tl.load(limit + query, mask=query < n_queries, other=float("inf"))
    keep = tl.max(groups, axis=2) >= least[:, None]
    counter = tl.broadcast_to((found + query)[:, None], (BM, BN // 8))
    slot = tl.atomic_add(counter, keep.to(tl.int32), mask=keep, sem="relaxed")
    place = query.to(tl.int64)[:, None] * (room // 8) + slot
    group = tl.program_id(0) * (BN // 8) + tl.arange(0, BN // 8)
    tl.store(found_group + place, tl.broadcast_to(group[None, :], (BM, BN // 8)), mask=keep)
    score_place = place[:, :, None] * 8 + tl.arange(0, 8)[None, None, :]
    tl.store(found_score + score_place, groups, mask=tl.broadcast_to(keep[:, :, None], (BM, BN // 8, 8)))


@triton.jit
def _above(values, m, score, STEPS: tl.constexpr):
    """How many of the `m` < 2^STEPS falling numbers at `values` are above each `score` [n]: int32 [n], by bisection."""
    count = tl.zeros(score.shape, tl.int32)
    for step in tl.static_range(STEPS):
        probe = count + (1 << (STEPS - 1 - step))
        value = tl.load(values + probe - 1, mask=probe <= m, other=float("-inf"))
        count = tl.where(value > score, probe, count)
    return count


@triton.jit(do_not_specialize=["n_rows"])
def place(
    found, found_group, found_score, doubtful, doubtful_row, a_entry, b_entry, offsets, low, high, candidate, placed,
    n_rows, room, HAS_ENTRY: tl.constexpr, STEPS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Place the rows found that are certain at every threshold, and write down the others. One program does one query.

    `placed` int64 [R] counts each row at the highest threshold that it reaches, so at none below. A score under `low`
    float32 is certainly below the threshold, one from `high` on certainly not. Both have a number for each threshold of
    these queries; `placed` and `offsets` int64 [Q + 1] are those of all. A score from `candidate` float32 [Q] on may be
    a neighbour's, and is among the others. With HAS_ENTRY, a row is left out whose entry int32 [n] is that of the
    query, int32 [Q].
    """
    q = tl.program_id(0)
    base = q.to(tl.int64) * room
    n = tl.load(found + q) * 8
    first, last, begin = tl.load(offsets + q), tl.load(offsets + q + 1), tl.load(offsets)
    least = tl.load(candidate + q)
    taken = 0
    for start in range(0, n, CHUNK):
        i = start + tl.arange(0, CHUNK)
        score = tl.load(found_score + base + i, mask=i < n, other=0.0)
        group = tl.load(found_group + base // 8 + i // 8, mask=i < n, other=0)
        row = group // 4 * 32 + i % 8 // 2 * 8 + group % 4 * 2 + i % 2
        is_row = (i < n) & (row < n_rows)
        if HAS_ENTRY:
            is_row = is_row & (tl.load(b_entry + row, mask=is_row, other=0) != tl.load(a_entry + q))
        above = _above(high + first - begin, last - first, score, STEPS)
        is_open = (score >= least) | (_above(low + first - begin, last - first, score, STEPS) != above)
        tl.atomic_add(
            placed + first + above, tl.full((CHUNK,), 1, tl.int64),
            mask=is_row & (is_open == 0) & (above < last - first), sem="relaxed",
        )  # fmt: skip
        written = (is_open & is_row).to(tl.int32)
        slot = taken + tl.cumsum(written, axis=0) - written
        tl.store(doubtful_row + base + slot, row, mask=written > 0)
        taken += tl.sum(written, axis=0)
    tl.store(doubtful + q, taken)


@triton.jit
def settle(
    a32, b32, doubtful, doubtful_row, left, left_code, offsets, threshold, best, placed, margin, room,
    D: tl.constexpr, STEPS: tl.constexpr, CHUNK: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Place doubtful rows by a float64 dot product of float32 rows; write down what is left. One program does one query.

    A pair is left when the sum is within `margin` float64 [1] of a threshold, and when it may be a neighbour. Its code
    is 4 row + 2 (it is not counted yet) + 1 (it may be a neighbour).
    """
    q = tl.program_id(0)
    base, query = q.to(tl.int64) * room, q.to(tl.int64) * D
    n = tl.load(doubtful + q)
    first, last = tl.load(offsets + q), tl.load(offsets + q + 1)
    near, least = tl.load(margin), tl.load(best + q)
    column = tl.arange(0, BK)
    taken = 0
    for start in range(0, n, CHUNK):
        i = start + tl.arange(0, CHUNK)
        row = tl.load(doubtful_row + base + i, mask=i < n, other=0)
        b_at = row.to(tl.int64)[:, None] * D + column[None, :]
        score = tl.zeros((CHUNK,), tl.float64)
        for k in range(0, D, BK):
            a = tl.load(a32 + query + k + column).to(tl.float64)
            b = tl.load(b32 + b_at + k, mask=(i < n)[:, None], other=0.0).to(tl.float64)
            score += tl.sum(a[None, :] * b, axis=1)
        above = _above(threshold + first, last - first, score + near, STEPS)
        is_open = _above(threshold + first, last - first, score - near, STEPS) != above
        tl.atomic_add(
            placed + first + above, tl.full((CHUNK,), 1, tl.int64),
            mask=(i < n) & (is_open == 0) & (above < last - first), sem="relaxed",
        )  # fmt: skip
        code = is_open.to(tl.int32) * 2 + (score >= least - near).to(tl.int32)
        written = ((code > 0) & (i < n)).to(tl.int32)
        slot = taken + tl.cumsum(written, axis=0) - written
        tl.store(left_code + base + slot, row * 4 + code, mask=written > 0)
        taken += tl.sum(written, axis=0)
    tl.store(left + q, taken)


@triton.jit
def gather(left, left_code, ends, codes, room, CHUNK: tl.constexpr):
    """Copy what is left of each query to `codes`, one after the other without gaps; `ends` int64 [Q] is where each
    ends.
    """
    q = tl.program_id(0)
    n, base = tl.load(left + q), q.to(tl.int64) * room
    begin = tl.load(ends + q) - n
    for start in range(0, n, CHUNK):
        i = start + tl.arange(0, CHUNK)
        tl.store(codes + begin + i, tl.load(left_code + base + i, mask=i < n), mask=i < n)
