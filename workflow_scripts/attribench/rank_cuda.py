"""Ranking on a GPU: the certified scheme of `rank.py`, with the same bits as on the processor.

For a tile of queries and database rows, the device computes scores by its tensor cores, of float16 rows with float32
sums, and keeps nothing of them but what may matter to their query: the rows that may reach its lowest threshold, or its
k-th best score so far. Of these it counts those that are certain at every threshold within the proven bound
(`rank_cuda_filters` derives it). The others get a float64 dot product of the float32 rows, on the device too, with the
bound of `rank_kernels.quick_dot`. What is in doubt even then, and every possible neighbour, comes back as a list, and
is decided by the canonical arithmetic of `rank_kernels` on the processor, while the device has the next tile. Each of
these lists has room for every row of the tile.

Two filters: the coarse one is a single product. If it leaves too many pairs in doubt, as exemplars deep in the ranking
do, the fine one takes over, which is three. Neither changes a result. Before a device is used, its products are
compared with float64 (`rank_cuda_filters.fault`), and a trial's ranks with those of the canonical arithmetic alone.

Torch is loaded with this module, so it is imported where a device is wanted.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch

from attribench import rank_triton
from attribench.rank_cuda_filters import Filter, Lists, Operand, fault
from attribench.rank_filters import QUICK, directions, dot_bounds
from attribench.rank_kernels import decide, pair_scores
from attribench.tally import Tally, entry_pairs, sorted_pairs

_ROWS_AT_ONCE = 1 << 14  # queries that are moved to the device at a time
_LISTS = 0.25  # of the device's free memory, for the lists of a tile
_LISTS_ELSEWHERE = 1 << 28  # bytes
_FEWEST = 128  # queries of a tile, or a multiple; with memory for fewer, the processor does it
_FINE_FROM = 0.01  # of all scores in doubt by the coarse filter: two more products cost less than so many dot products
_TELLING = 1024  # rows of a tile from which on its share is taken for that of the others
_NEVER = 1e30  # as a score that must be reached

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Tile:
    """What the device is asked for: the queries `part` against unit rows float64 [n, d], numbered `rows` [n]."""

    part: slice
    units: np.ndarray
    rows: np.ndarray
    lists: Lists


@dataclass(frozen=True)
class _Remains:
    """The pairs of a tile that the processor has to decide: `code` int32, those of the i-th query up to ends[i]."""

    tile: _Tile
    ends: np.ndarray
    code: np.ndarray


class Scan:
    """Counts and neighbours of fixed queries on a device, on their way to a tally: `flush` before reading that.

    queries float64 [Q, d] are unit rows of the entries query_entry [Q], and ranked as `tally` says; `threads` of the
    processor decide what is left to it.
    """

    @classmethod
    def open(
        cls, device: str, queries: np.ndarray, query_entry: np.ndarray, tally: Tally, threads: int
    ) -> "Scan | None":
        """A scan on the torch device `device`; None, with a line in the log, where it fails or is not to be trusted."""
        place, name, scan = torch.device(device), device, None
        try:
            name = torch.cuda.get_device_name(place) if place.type == "cuda" else device
            reason = fault(place, queries.shape[1]) or difference(place, queries.shape[1])
            scan = None if reason else cls(place, queries, query_entry, tally, threads)
        except Exception as error:  # of driver, compiler or memory: whatever it is, the processor can do the work
            reason = f"{type(error).__name__}: {error}"
        if scan is None:
            log.warning("ranking on the processor, not on %s: %s", name, reason)
        else:
            log.info("ranking on %s", name)
        return scan

    def __init__(self, device: torch.device, queries: np.ndarray, query_entry: np.ndarray, tally: Tally, threads: int):
        self._device, self._host_queries, self._tally = device, queries, tally
        self._threads, self._pool = threads, ThreadPoolExecutor(threads)
        cuts = [*range(0, len(queries), _ROWS_AT_ONCE), len(queries)]
        self._queries = Operand.joined([Operand.of(queries[a:b], device) for a, b in pairwise(cuts)])
        self._names = np.unique(query_entry)
        self._entry = self._there(np.searchsorted(self._names, query_entry).astype(np.int32))
        self._offsets, self._threshold = self._there(tally.offsets), self._there(tally.threshold)
        self._owner = self._there(np.repeat(np.arange(len(queries)), np.diff(tally.offsets)))
        self._margin = dot_bounds(queries.shape[1])[QUICK]
        self._margin_there = self._there(np.array([self._margin]))
        self._coarse, self._fine = (Filter(queries.shape[1], is_fine) for is_fine in (False, True))
        self._filter = self._coarse
        self._steps = int(np.diff(tally.offsets).max()).bit_length()
        self._seed = np.full(len(queries), -np.inf)  # a score that k rows are known to reach
        # Rows by the highest threshold that they reach, and the tally's counts that they belong to.
        self._placed = torch.zeros(len(tally.threshold), dtype=torch.int64, device=device)
        self._target: np.ndarray | None = None
        self._storage = torch.empty(0, dtype=torch.int32, device=device)
        free = torch.cuda.mem_get_info(device)[0] * _LISTS if device.type == "cuda" else _LISTS_ELSEWHERE
        self._lists_size = int(free) // self._storage.itemsize
        self._waiting: _Tile | None = None

    def add(
        self,
        units: np.ndarray,
        rows: np.ndarray,
        counts: np.ndarray,
        entry: np.ndarray | None = None,
        block: Operand | None = None,
    ) -> int:
        """Add one block of unit rows float64 [n, d] with row numbers `rows` [n] to `counts` [R], in the end.

        With `entry` [n], a row is no candidate for the queries of its own entry. `block` are the rows on the device, if
        they are there. Returns how many queries this is done for: fewer than all when the device's memory does not hold
        the rest, even in small parts.
        """
        if self._target is not None and self._target.ctypes.data != counts.ctypes.data:
            self.flush()
        self._target = counts
        start = 0
        try:
            block = block or Operand.of(units, self._device)
            names = None if entry is None else self._there(self._codes(entry))
            while start < len(self._host_queries):
                part = slice(start, min(start + self._part_size(len(units)), len(self._host_queries)))
                self._step(part, block, units, rows, names)
                start = part.stop
        except torch.OutOfMemoryError as error:
            log.warning("%s", error)
        return start

    def flush(self) -> None:
        """Finish what was added."""
        self._settle(self._collect())
        if self._target is not None:
            # A row reaches all of the query's thresholds from its highest on.
            reached = np.concatenate([[0], np.cumsum(self._placed.cpu().numpy())])
            offsets = self._tally.offsets
            self._target += reached[1:] - np.repeat(reached[offsets[:-1]], np.diff(offsets))
            self._placed.zero_()
            self._target = None

    def _there(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def _codes(self, entry: np.ndarray) -> np.ndarray:
        """The positions int32 [n] of `entry` [n] among the queries' entries, -1 for others."""
        found = np.searchsorted(self._names, entry).clip(max=len(self._names) - 1)
        return np.where(self._names[found] == entry, found, -1).astype(np.int32)

    def _part_size(self, n_rows: int) -> int:
        """For how many queries there is memory, which is taken; OutOfMemoryError when it is for too few."""
        while True:
            fitting = self._lists_size // Lists.size(1, n_rows) // _FEWEST * _FEWEST
            n_queries = min(max(_FEWEST, fitting), len(self._host_queries))
            size = Lists.size(n_queries, n_rows)
            if size <= len(self._storage):
                return n_queries
            try:
                self._storage = torch.empty(size, dtype=torch.int32, device=self._device)
            except torch.OutOfMemoryError:
                if n_queries <= _FEWEST:
                    raise
                self._lists_size = size // 2

    def _step(self, part: slice, block: Operand, units: np.ndarray, rows: np.ndarray, names) -> None:
        """Set the device to a tile, and meanwhile decide what the one before has left."""
        queries, kind = self._queries.part(part), self._filter  # `_collect` may choose another for the next tile
        best = self._there(self._best(part, queries, block, names))
        edges = self._edges(part, kind.bound(queries, block), best)
        lists = Lists.empty(part.stop - part.start, len(units), self._storage)
        remains = self._collect()  # reads the lists that are about to be overwritten
        kind.find(queries, block, edges[0], lists)
        self._count(part, queries, block, edges[1:], best, lists, names)
        self._waiting = _Tile(part, units, rows, lists)
        self._settle(remains)

    def _edges(self, part: slice, bound: torch.Tensor, best: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """float32 numbers to compare a filter's score with; the exact one is within `bound` float64 [q] of it.

        A score below limit [q] matters nowhere; below low [pairs] or from high [pairs] on it is certain at the pair's
        threshold; from candidate [q] on the exact one may be `best` float64 [q] or more.
        """
        of = slice(*self._tally.offsets[[part.start, part.stop]].tolist())
        threshold, near = self._threshold[of], bound[self._owner[of] - part.start]
        low, high, candidate = _below(threshold - near), -_below(-threshold - near), _below(best - bound)
        lowest = low[self._offsets[part.start + 1 : part.stop + 1] - 1 - of.start]
        return torch.minimum(lowest, candidate), low, high, candidate

    def _count(self, part: slice, queries: Operand, block: Operand, edges, best, lists: Lists, names) -> None:
        """Count what is found and certain; what is not is left in `lists`."""
        grid = (part.stop - part.start,)
        offsets, has_entry = self._offsets[part.start : part.stop + 1], names is not None
        about = (self._entry[part], names if has_entry else self._entry, offsets, *edges)
        rank_triton.place[grid](
            lists.found, lists.group, lists.score, lists.doubtful, lists.row, *about, self._placed, len(block.full),
            lists.room, HAS_ENTRY=has_entry, STEPS=self._steps, CHUNK=256,
        )  # fmt: skip
        rank_triton.settle[grid](
            queries.full, block.full, lists.doubtful, lists.row, lists.left, lists.code, offsets, self._threshold, best,
            self._placed, self._margin_there, lists.room, D=block.full.shape[1], STEPS=self._steps, CHUNK=32, BK=64,
        )  # fmt: skip

    def _best(self, part: slice, queries: Operand, block: Operand, names) -> np.ndarray:
        """For each query of `part` a score that its k-th neighbour has at least, float64 [q]."""
        top = self._tally.top_score
        if not top.shape[1]:
            return np.full(part.stop - part.start, _NEVER)
        best = np.maximum(top[part, -1], self._seed[part])
        if names is None and len(block.full) >= top.shape[1] and np.isneginf(best).any():
            self._seed[part] = self._seeds(queries, block.full, top.shape[1])
            best = np.maximum(best, self._seed[part])
        return best

    def _seeds(self, queries: Operand, rows: torch.Tensor, k: int) -> np.ndarray:
        """The least score of k of `rows`, less its error. Any k would do; good ones keep the first lists short."""
        seeds = []
        for some in queries.full.split(max(1, (1 << 25) // max(len(rows), k * rows.shape[1]))):
            best = rows[(some @ rows.T).topk(k, dim=1).indices].double()
            seeds.append((best @ some.double()[:, :, None]).amin(dim=(1, 2)))
        return torch.cat(seeds).cpu().numpy() - self._margin

    def _collect(self) -> _Remains | None:
        """Wait for the device, and fetch what its tile has left."""
        if self._waiting is None:
            return None
        tile, lists = self._waiting, self._waiting.lists
        ends = torch.cumsum(lists.left, dim=0)
        code = lists.row  # its own content is done with
        rank_triton.gather[(len(ends),)](lists.left, lists.code, ends, code, lists.room, CHUNK=128, num_warps=1)
        # Possible neighbours are among the doubtful, of which the first tiles have more than k.
        telling = _FINE_FROM * len(tile.rows) + 2 * self._tally.top_score.shape[1]
        if len(tile.rows) >= _TELLING and int(lists.doubtful.sum()) > telling * len(ends):
            self._filter = self._fine
        remains = _Remains(tile, ends.cpu().numpy(), code[: int(ends[-1])].to("cpu", copy=True).numpy())
        self._waiting = None
        return remains

    def _settle(self, remains: _Remains | None) -> None:
        """Decide by the canonical score what a tile has left."""
        if remains is None or not len(remains.code):
            return
        part, ends = remains.tile.part, remains.ends
        query = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        top = (self._tally.top_score[part], self._tally.top_index[part])
        pairs = (self._tally.offsets[part.start : part.stop + 1], self._tally.threshold, self._target)
        rows = (self._host_queries[part], remains.tile.units, remains.tile.rows)
        # Threads own disjoint queries, so nothing they do meets.
        firsts = np.searchsorted(ends, np.linspace(0, len(query), self._threads + 1)[1:-1], side="right")
        cuts = [0, *np.searchsorted(query, firsts).tolist(), len(query)]
        tasks = [
            self._pool.submit(decide, *rows, query[a:b], remains.code[a:b], *pairs, *top)
            for a, b in pairwise(cuts)
            if a < b
        ]
        for task in tasks:
            task.result()


def _below(values: torch.Tensor) -> torch.Tensor:
    """float32 numbers below `values` float64: by more than rounding to float32 can change."""
    return (values - values.abs() * 2.0**-22 - 2.0**-140).float()


@cache
def difference(device: torch.device, dimension: int) -> str | None:
    """What a small trial on `device` gives otherwise than the canonical arithmetic alone."""
    units = directions(360, dimension)
    queries, exemplars, rows = units[:8], units[8:60], units[20:]  # most exemplars are in the database too
    entry = np.arange(8) % 4
    offsets, pairs = entry_pairs(entry, np.repeat(np.arange(4), 13))
    scores, pairs = sorted_pairs(offsets, pairs, pair_scores(queries, exemplars, offsets, pairs))
    found, expected = (Tally(np.ones(8, bool), offsets, scores, pairs, 10, []) for _ in range(2))
    scan, numbers = Scan(device, queries, entry, found, 1), np.arange(len(rows))
    for part in (slice(0, 100), slice(100, len(rows))):
        scan.add(rows[part], numbers[part], found.counts[0])
    scan.flush()
    query, code = np.repeat(np.arange(8), len(rows)), np.tile((4 * numbers + 3).astype(np.int32), 8)
    top = (expected.top_score, expected.top_index)
    decide(queries, rows, numbers, query, code, offsets, expected.threshold, expected.counts[0], *top)
    names = ("counts", "top_index", "top_score")
    if all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in names):
        return None
    return "a trial's ranks or neighbours are not the processor's"
