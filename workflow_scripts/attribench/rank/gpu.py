"""Ranking on a GPU, in the steps of `ranker` and with the same bits: product, scan, float64 dot product, canonical score.

The coarse product is a single one of float16 rows with float32 sums, by cuBLAS. If it leaves too many pairs undecided, as
exemplars far down the ranking do, the fine one takes over: q = q1 + q2 and y = y1 + y2 are two float16 rows each; q1.y1 is
summed up in parts of _PART_COLUMNS columns, and q1.y2 + q2.y1 in one more. What the kernels leave open, and the candidates
for neighbours, come back to the processor for their canonical scores.

Torch and Triton are loaded with this module, so it is imported where a device is wanted. Without a GPU the kernels run in
Triton's interpreter (TRITON_INTERPRET=1), on torch's `cpu`.
"""

import logging
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from attribench.common.errors import InputError
from attribench.rank import bounds
from attribench.rank.bounds import FLOAT32, SLACK, low_precision_sum_error, rounded_error
from attribench.rank.products import trial_rows
from attribench.rank.scan import count_pairs, keep_best
from attribench.rank.score import pair_scores
from attribench.rank.tally import Tally
from attribench.rank.ties import thresholds

_PART_COLUMNS = 128  # columns that the fine product sums up by themselves; rows are filled up to a multiple
_MOST_LISTED = 0.01  # share of the coarse product's pairs that are listed; above it, the fine product costs less
_FEWEST_ROWS_TO_JUDGE = 1024  # a tile with fewer rows does not switch to the fine product
_TILE_MEMORY_SHARE = 0.25  # of the device's free memory
_MEMORY_WITHOUT_GPU = 1 << 30
_FEWEST_QUERIES = 128  # of a tile

log = logging.getLogger(__name__)


class Operand(NamedTuple):
    """Hold rows on the device: `full` [n, d] is raw, of length `norm` [n]. Unit rows less `centre` [d] are nearly
    `high` + `low`, float16 [n, D]. Lengths [n]: of `high`, of the row less `high`, and of the row less both."""

    full: torch.Tensor
    norm: torch.Tensor
    centre: torch.Tensor
    high: torch.Tensor
    low: torch.Tensor
    length: torch.Tensor
    rest: torch.Tensor
    rest_of_both: torch.Tensor

    @classmethod
    def of(cls, full: torch.Tensor, norm: torch.Tensor, is_centred: bool) -> "Operand":
        """Prepare rows that are on the device."""

        def lengths(rows: torch.Tensor) -> torch.Tensor:
            return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64) * SLACK

        (n, d), units = full.shape, full.double() / norm[:, None]
        centre = units.mean(dim=0) * is_centred
        rows = torch.zeros((n, -(-d // _PART_COLUMNS) * _PART_COLUMNS), device=full.device)
        rows[:, :d] = units - centre
        high = rows.half()
        rest = rows - high.float()  # exact, and so is what is left of it in the end
        low, rounding = rest.half(), FLOAT32 * lengths(rows)
        residuals = lengths(rest) + rounding, lengths(rest - low.float()) + rounding
        return cls(full, norm, centre, high, low, lengths(high.float()), *residuals)

    def part(self, rows: slice) -> "Operand":
        """Return some of the rows."""
        return Operand(*(v if name == "centre" else v[rows] for name, v in self._asdict().items()))


def multiply(q: Operand, y: Operand, is_fine: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return parts of the scores float32 [parts, q, n], one more part [q, n] (empty if not fine), and a bound float64 [q].

    The exact score, less the dot product of q and y.centre, is within the bound of the sum of all parts (see `bounds`).
    """
    columns = q.high.shape[1]
    n_parts = columns // _PART_COLUMNS if is_fine else 1
    a = q.high.view(len(q.high), n_parts, -1).transpose(0, 1)
    tile = _product(torch.bmm, a, y.high.view(len(y.high), n_parts, -1).permute(1, 2, 0))
    longest, error = y.length.max() + y.rest.max(), bounds.shared_error(q.full.shape[1])
    error = error + low_precision_sum_error(columns // n_parts, q.length, longest)
    if not is_fine:
        return tile, tile.new_empty(0), error + rounded_error(q.length, q.rest, longest, y.rest.max())
    cross = _product(torch.mm, torch.cat([q.high, q.low], 1), torch.cat([y.low, y.high], 1).T)
    q_low, y_low = q.rest + q.rest_of_both, (y.rest + y.rest_of_both).max()
    error += rounded_error(q.length + q_low, q.rest_of_both, longest, y.rest_of_both.max()) + q_low * y_low
    error += low_precision_sum_error(2 * columns, q.length, y_low)
    error += low_precision_sum_error(2 * columns, q_low, longest)
    return tile, cross, error + bounds.roundings(n_parts + 1, FLOAT32) * (q.length + q_low) * (longest + y_low)


def _product(matmul, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the product of float16 matrices with float32 sums, as float32."""
    if a.device.type == "cuda":
        return matmul(a, b, out_dtype=torch.float32)
    return matmul(a.float(), b.float())


# fmt: off
@triton.jit
def _count_above(values, m, score, STEPS: tl.constexpr):
    """Return how many of the `m` < 2^STEPS falling numbers at `values` exceed each `score` [n]: int32 [n], by bisection."""
    count = tl.zeros(score.shape, tl.int32)
    for step in tl.static_range(STEPS):
        probe = count + (1 << (STEPS - 1 - step))
        value = tl.load(values + probe - 1, mask=probe <= m, other=float("-inf"))
        count = tl.where(value > score, probe, count)
    return count


@triton.jit
def _add_reached(first_reached, first, m, reached, BINS: tl.constexpr):
    """Add a query's histogram `reached` [BINS] to its numbers in `first_reached` int64: this program alone changes them."""
    number = tl.arange(0, BINS)
    before = tl.load(first_reached + first + number, mask=number < m, other=0)
    tl.store(first_reached + first + number, before + reached, mask=number < m)


@triton.jit
def _append(listed, n_kept, row, code):
    """Write row * 4 + code where the code is not 0, from position `n_kept` on; return the new length of the list."""
    kept = (code > 0).to(tl.int32)
    tl.store(listed + n_kept + tl.cumsum(kept, axis=0) - kept, row * 4 + code, mask=kept > 0)
    return n_kept + tl.sum(kept, axis=0)


@triton.jit
def scan_kernel(
    tile, cross, offsets, low, high, candidate, first_reached, listed, n_listed, n_queries, n_rows,
    PARTS: tl.constexpr, IS_FINE: tl.constexpr, STEPS: tl.constexpr, BINS: tl.constexpr, CHUNK: tl.constexpr,
):
    """Scan a query's scores: count certain rows in `first_reached` [R], by the first threshold reached; list the others.

    listed: int32 [q, n], row * 4 + 2 (undecided) + 1 (may be a neighbour). low, high: float32 [R'], limits of the tile's
    thresholds; candidate: float32 [q].
    """
    q = tl.program_id(0).to(tl.int64)
    first, first_in_tile = tl.load(offsets + q), tl.load(offsets + q) - tl.load(offsets)
    m, least = tl.load(offsets + q + 1) - first, tl.load(candidate + q)
    reached = tl.zeros((BINS,), tl.int32)
    n_kept = 0
    for start in range(0, n_rows, CHUNK):
        row = start + tl.arange(0, CHUNK)
        is_row = row < n_rows
        score = tl.zeros((CHUNK,), tl.float32)
        for part in tl.static_range(PARTS):
            score += tl.load(tile + (part * n_queries + q) * n_rows + row, mask=is_row, other=0.0)
        if IS_FINE:
            score += tl.load(cross + q * n_rows + row, mask=is_row, other=0.0)
        above = _count_above(high + first_in_tile, m, score, STEPS)
        undecided = is_row & (score >= tl.load(low + first_in_tile + above - 1, mask=above > 0, other=float("inf")))
        reached += tl.histogram(tl.where(is_row & (undecided == 0), above, BINS - 1), BINS)
        code = undecided.to(tl.int32) * 2 + (is_row & (score >= least)).to(tl.int32)
        n_kept = _append(listed + q * n_rows, n_kept, row, code)
    _add_reached(first_reached, first, m, reached, BINS)
    tl.store(n_listed + q, n_kept)


@triton.jit
def settle_kernel(
    queries, rows, norm, offsets, threshold, best, first_reached, listed, n_listed, margin, n_rows,
    D: tl.constexpr, STEPS: tl.constexpr, BINS: tl.constexpr, CHUNK: tl.constexpr, COLUMNS: tl.constexpr,
):
    """Give a query's listed rows a float64 dot product, count what it decides, and leave the others in the list."""
    q = tl.program_id(0).to(tl.int64)
    first = tl.load(offsets + q)
    m, least, near = tl.load(offsets + q + 1) - first, tl.load(best + q), tl.load(margin)
    n, n_kept, column = tl.load(n_listed + q), 0, tl.arange(0, COLUMNS)
    reached = tl.zeros((BINS,), tl.int32)
    for start in range(0, n, CHUNK):
        is_row = start + tl.arange(0, CHUNK) < n
        code = tl.load(listed + q * n_rows + start + tl.arange(0, CHUNK), mask=is_row, other=0)
        row, undecided = (code // 4).to(tl.int64), (code // 2) % 2 == 1
        score = tl.zeros((CHUNK,), tl.float64)
        for k in range(0, D, COLUMNS):
            inside = k + column < D
            a = tl.load(queries + q * D + k + column, mask=inside, other=0.0)
            b = tl.load(rows + row[:, None] * D + k + column, mask=is_row[:, None] & inside[None, :], other=0.0)
            score += tl.sum(a[None, :] * b.to(tl.float64), axis=1)
        score = score / tl.load(norm + row, mask=is_row, other=1.0)
        above = _count_above(threshold + first, m, score - near, STEPS)
        is_open = undecided & (above != _count_above(threshold + first, m, score + near, STEPS))
        reached += tl.histogram(tl.where(is_row & undecided & (is_open == 0), above, BINS - 1), BINS)
        left = is_open.to(tl.int32) * 2 + ((code % 2 == 1) & (score >= least - near)).to(tl.int32)
        n_kept = _append(listed + q * n_rows, n_kept, row.to(tl.int32), tl.where(is_row, left, 0))
    _add_reached(first_reached, first, m, reached, BINS)
    tl.store(n_listed + q, n_kept)
# fmt: on


class Scan:
    """Count and keep neighbours for fixed queries on a device. Call `finish` before reading the tally.

    queries: unit rows float64 [Q, d], ranked as `tally` says.
    """

    def __init__(self, device: str, queries: np.ndarray, tally: Tally):
        self._device, self._host_queries, self._tally = torch.device(device), queries, tally
        self._queries = Operand.of(self._to_device(queries), self._to_device(np.ones(len(queries))), is_centred=False)
        self._offsets, self._threshold = self._to_device(tally.offsets), self._to_device(tally.threshold)
        self._owner = self._to_device(np.repeat(np.arange(len(queries)), np.diff(tally.offsets)))
        self._margin = self._to_device(np.array([bounds.float64_error(queries.shape[1])]))
        most = int(np.diff(tally.offsets).max())
        self._sizes = {"STEPS": most.bit_length(), "BINS": 1 << (most + 1).bit_length()}
        # For each stretch of rows, the number of rows by the first threshold that they reach.
        self._first_reached = torch.zeros(tally.counts.shape, dtype=torch.int64, device=device)
        self._is_fine = False
        free = torch.cuda.mem_get_info(device)[0] if self._device.type == "cuda" else _MEMORY_WITHOUT_GPU
        self._tile_bytes = int(free * _TILE_MEMORY_SHARE)

    def add(self, rows, norms, numbers, stretch: int, block: Operand | None = None) -> None:
        """Add a block of raw rows [n, d] of length norms [n], row numbers `numbers` [n], to the counts of `stretch`.

        `block` is the Operand of the rows where it is there already. Raises InputError when the device lacks memory.
        """
        block = block or Operand.of(self._to_device(rows), self._to_device(norms), is_centred=True)
        bytes_per_query = 4 * len(rows) * (3 + self._queries.high.shape[1] // _PART_COLUMNS)  # with the fine product
        n_queries = max(_FEWEST_QUERIES, self._tile_bytes // bytes_per_query)
        for start in range(0, len(self._host_queries), n_queries):
            part = slice(start, min(start + n_queries, len(self._host_queries)))
            try:
                left = self._scan(part, block, stretch)
            except torch.OutOfMemoryError as error:
                raise InputError(f"{self._device}: {error}; expected more memory, or config key device: cpu") from None
            self._decide(part, *left, rows, norms, numbers, self._tally.counts[stretch])

    def finish(self) -> None:
        """Add what was counted on the device to the tally, once."""
        # A row reaches all of the query's thresholds from its first on.
        reached = np.pad(np.cumsum(self._first_reached.cpu().numpy(), axis=1), ((0, 0), (1, 0)))
        offsets = self._tally.offsets
        self._tally.counts += reached[:, 1:] - np.repeat(reached[:, offsets[:-1]], np.diff(offsets), axis=1)

    def _to_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device, copy=True)

    def _scan(self, part: slice, block: Operand, stretch: int) -> tuple[np.ndarray, np.ndarray]:
        """Scan a tile; return the query (of the tile) and the code of each pair left to the processor."""
        queries, shape = self._queries.part(part), (part.stop - part.start, len(block.full))
        tile, cross, bound = multiply(queries, block, self._is_fine)
        offset, k = queries.full @ block.centre, self._tally.top_score.shape[1]
        best = self._to_device(self._tally.top_score[part, -1] if k else np.full(shape[0], np.inf))
        if not self._is_fine and 0 < k <= shape[1] and torch.isneginf(best).any():
            # The k best of these rows are certainly no worse than the k-th best score of this tile.
            best = torch.maximum(best, offset + tile[0].topk(k, dim=1).values[:, -1] - bound)
        of = slice(*self._tally.offsets[[part.start, part.stop]].tolist())
        owner = self._owner[of] - part.start
        threshold = self._threshold[of] - offset[owner]
        limits = _below(threshold - bound[owner]), -_below(-threshold - bound[owner]), _below(best - offset - bound)
        listed = torch.empty(shape, dtype=torch.int32, device=self._device)
        n_listed = torch.empty(shape[0], dtype=torch.int32, device=self._device)
        offsets = self._offsets[part.start : part.stop + 1]
        scan_kernel[shape[:1]](
            *(tile, cross, offsets, *limits, self._first_reached[stretch], listed, n_listed, *shape),
            **dict(PARTS=len(tile), IS_FINE=self._is_fine, CHUNK=1024, **self._sizes),
        )
        self._is_fine |= bool(n_listed.float().mean() > _MOST_LISTED * shape[1]) and shape[1] >= _FEWEST_ROWS_TO_JUDGE
        settle_kernel[shape[:1]](
            *(queries.full, block.full, block.norm, offsets, self._threshold, best),
            *(self._first_reached[stretch], listed, n_listed, self._margin, shape[1]),
            **dict(D=block.full.shape[1], CHUNK=32, COLUMNS=64, **self._sizes),
        )
        listed = listed[:, : int(n_listed.max())]
        is_left = torch.arange(listed.shape[1], device=self._device) < n_listed[:, None]
        query = torch.repeat_interleave(torch.arange(shape[0], device=self._device), n_listed.long())
        return query.cpu().numpy(), listed[is_left].cpu().numpy()

    def _decide(self, part: slice, query: np.ndarray, code: np.ndarray, rows, norms, numbers, counts) -> None:
        """Decide by the canonical score what a tile has left."""
        tally, offsets = self._tally, self._tally.offsets[part.start : part.stop + 1]
        pairs = np.stack([query, code >> 2, np.zeros_like(query), np.diff(offsets)[query]], axis=1).astype(np.int32)
        scores = pair_scores(self._host_queries[part], rows, norms, pairs)
        is_open, is_candidate = (code & 2) > 0, (code & 1) > 0
        count_pairs(scores[is_open], pairs[is_open], -1.0, offsets, tally.threshold, counts)
        top = tally.top_score[part], tally.top_index[part]
        keep_best(scores[is_candidate], pairs[is_candidate], numbers, *top)


def _below(values: torch.Tensor) -> torch.Tensor:
    """Return float32 numbers below `values` float64: by more than rounding to float32 can change."""
    return (values - values.abs() * 2.0**-22 - 2.0**-140).float()


@cache
def find_fault(device: str, dimension: int) -> str | None:
    """Return what is wrong with a torch device; None if nothing is found.

    Its products are held against float64 and their bounds, and a small ranking against the canonical scores alone.
    """
    units = trial_rows(360, dimension)
    units[128:160] = [1, *[6e-5] * (dimension - 1)]  # numbers that float16 holds with fewer bits
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    norms, numbers = np.ones(360), np.arange(360)
    there = (torch.from_numpy(units).to(device), torch.from_numpy(norms).to(device))
    q, y = Operand.of(*there, is_centred=False), Operand.of(*there, is_centred=True)
    for is_fine in (False, True):
        tile, cross, bound = multiply(q, y, is_fine)
        scores = tile.double().sum(dim=0) + (cross.double() if is_fine else 0.0)
        error = float(((scores - q.full @ (y.full - y.centre).T).abs() - bound[:, None]).max())
        if not error <= 0:
            return f"the {'fine' if is_fine else 'coarse'} product is wrong by {error:.1e} more than assumed"

    pairs = np.array([(q, r) for q in range(8) for r in range(360)], np.int32)
    scores = pair_scores(units[:8], units, norms, pairs).reshape(8, 360)
    exemplars = -np.sort(-scores[:, 8:21], axis=1)  # which are in the database too
    tally = Tally(np.ones(8, bool), np.arange(0, 105, 13), exemplars.ravel(), np.zeros(104), 10, [])
    scan = Scan(device, units[:8], tally)
    for part in (slice(0, 100), slice(100, 360)):
        scan.add(units[part], norms[part], numbers[part], 0)
    scan.finish()
    counts = (scores[:, None] >= thresholds(exemplars)[:, :, None]).sum(axis=2)
    neighbours = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    is_same = (tally.counts[0] == counts.ravel()).all() and (tally.top_index == neighbours).all()
    return None if is_same else "a trial's ranks or neighbours are not the processor's"
