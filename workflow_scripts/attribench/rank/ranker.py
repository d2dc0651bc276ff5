"""Exact ranks of exemplars among a streamed database.

Definition. c(e) is the number of valid database rows whose score with the query is at least score(e) - 1e-9 (`ties`). The
exemplars of a query, sorted by falling score, have the ranks r_i = i + c(e_i). Scores are the canonical ones (`score`).

A matrix product in lower precision, with an error bound, does most of the work (`products`, `bounds`): it decides the
comparisons that the bound leaves certain (`scan`). An undecided pair gets a float64 dot product, and where that is too
close to a threshold, the canonical score. Each thread takes some queries at a time, multiplies them with a block of rows,
and scans the scores. On a GPU the steps are the same (`gpu`).
"""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from queue import SimpleQueue

import numpy as np
from threadpoolctl import ThreadpoolController

from attribench.common.errors import InputError
from attribench.formats.histogram import ScoreHistogram
from attribench.formats.ranking import Ranks
from attribench.rank.bounds import float64_error
from attribench.rank.device import open_scan
from attribench.rank.histogram import add_scores
from attribench.rank.products import PRODUCTS, Queries, Rows, Scores
from attribench.rank.scan import count_pairs, dot_pairs, keep_best, scan
from attribench.rank.score import pair_scores, row_norms
from attribench.rank.tally import Tally, entry_pairs
from attribench.rank.ties import sorted_pairs

_TILE_BYTES = 96 << 20  # at most, of a thread's tile of scores; more than four threads share four times this
_FEWEST_QUERIES = 64  # of a tile
_TILES_PER_THREAD = 4  # tiles of each thread, where there are enough queries: some take longer than others
_QUEUED_PAIRS = 1 << 18  # undecided pairs that wait to be decided together


class Ranker:
    """Rank fixed queries over database rows that are added block by block.

    queries [Q, d] and exemplars [E, d] are raw float16, float32 or float64 rows; query_entry [Q] and exemplar_entry [E] are
    the numbers of their entries: a query is ranked with its own entry's exemplars only. query_valid [Q] and exemplar_valid
    [E] are bool (None: all valid). A query is left out when it is invalid or its entry has no valid exemplar. sizes:
    database sizes at which ranks are wanted besides those among all of it. top_k: neighbours that are kept.

    histogram: whether the distribution of all scores with the database is kept too, in `histogram`.

    None of the following changes a rank. threads: of the processor. block_rows: database rows of a tile of scores.
    products: names, of which a part of the queries takes the next where one leaves too many pairs undecided. device: a torch
    device that does most of the work, if it can be trusted and no histogram is wanted (None: the processor alone).

    Raises InputError for another dimension and for bad values in a valid row; then it must not be used any more.
    """

    def __init__(
        self,
        queries: np.ndarray,
        query_entry: np.ndarray,
        exemplars: np.ndarray,
        exemplar_entry: np.ndarray,
        *,
        query_valid: np.ndarray | None = None,
        exemplar_valid: np.ndarray | None = None,
        sizes: Sequence[int] = (),
        top_k: int = 10,
        histogram: bool = False,
        threads: int = 1,
        block_rows: int = 8192,
        products: Sequence[str] = ("float32", "float64"),
        device: str | None = None,
    ):
        self._block_rows, self._threads, self.dimension = block_rows, threads, np.shape(queries)[1]
        query_valid, exemplar_valid = _flags(query_valid, queries), _flags(exemplar_valid, exemplars)
        query_valid &= np.isin(query_entry, np.asarray(exemplar_entry)[exemplar_valid])
        rows, norms = self._valid_rows(queries, query_valid, "queries")
        self._queries, self._query_entry = Queries(rows / norms[:, None]), np.asarray(query_entry)[query_valid]
        rows, norms = self._valid_rows(exemplars, exemplar_valid, "exemplars")
        kept = np.flatnonzero(exemplar_valid)
        offsets, exemplar = entry_pairs(self._query_entry, np.asarray(exemplar_entry)[kept])
        owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        scores = pair_scores(self._queries.raw, rows, norms, np.stack([owner, exemplar], axis=1))
        scores, exemplar = sorted_pairs(offsets, exemplar, scores)
        self._tally = Tally(query_valid, offsets, scores, kept[exemplar], top_k, list(sizes))
        self.histogram = ScoreHistogram(scores[offsets[:-1]]) if histogram else None

        # A histogram holds scores as a product gives them, and those of bfloat16 are too coarse for it.
        names = [name for name in products if name != "bfloat16" or self.histogram is None]
        self._products, self._blas = [PRODUCTS[name](self.dimension) for name in names], ThreadpoolController()
        self._cut_queries()
        on_device = self._parts and self.histogram is None
        self._device = open_scan(device, self._queries.raw, self._tally) if on_device else None

    def add(self, features: np.ndarray, valid: np.ndarray | None) -> None:
        """Add the next database rows: raw features [n, d] and valid bool [n] (None: all valid).

        `features` may be anything that slices to arrays, such as an HDF5 dataset: one block is read at a time.
        """
        valid, first = _flags(valid, features), self._tally.n_rows
        self._add_blocks(features, valid, self._tally.next_blocks(valid, self._block_rows), "database", first)

    def add_hard_negatives(self, exemplars: np.ndarray, entry: np.ndarray, valid: np.ndarray | None) -> None:
        """Add `exemplars` [E, d], for queries of entries they are not of, when all of the database was added.

        entry: [E, m], the numbers of all of each one's entries; -1 pads. valid: bool [E] (None: all valid). They count at
        every database size.
        """
        stretch, starts = self._tally.begin_hard_negatives(), range(0, len(exemplars), self._block_rows)
        blocks = [(stretch, slice(start, start + self._block_rows)) for start in starts]
        self._add_blocks(exemplars, _flags(valid, exemplars), blocks, "exemplars", self._tally.n_rows, entry)

    def finish(self) -> Ranks:
        """Return the ranks over all rows added. Raises InputError when they are fewer than the largest size."""
        if self._device is not None:
            self._device.finish()
        return self._tally.finish()

    def _valid_rows(
        self, rows: np.ndarray, valid: np.ndarray, what: str, first: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the valid rows, float32 or float64 [n, d] in C order, and their norms; `first` numbers the first row."""
        raw = np.asarray(rows[:])
        if raw.shape[1] != self.dimension:
            raise InputError(f"{what}: expected {self.dimension} columns as in the queries, found {raw.shape[1]}")
        raw = np.ascontiguousarray(raw if valid.all() else raw[valid])
        raw = raw.astype(np.float32) if raw.dtype == np.float16 else raw
        norms, bad = row_norms(raw)
        if bad >= 0:
            number = first + np.flatnonzero(valid)[bad]
            raise InputError(
                f"{what}: row {number} (counted from 0) holds NaN, Inf or huge values, but is marked valid"
            )
        return raw, norms

    def _cut_queries(self) -> None:
        """Cut the queries into parts with a tile of scores of a bounded size, at least one for each thread.

        A part has a level, that of its product in the list of products; a thread has memory for a tile and for queues.
        """
        n, bytes_per_query = len(self._queries.raw), self._block_rows * max(p.bytes_per_score for p in self._products)
        most = max(_FEWEST_QUERIES, _TILE_BYTES * 4 // (bytes_per_query * max(4, self._threads)))
        wanted = min(_TILES_PER_THREAD, n // (self._threads * _FEWEST_QUERIES))
        n_parts = min(n, self._threads * max(wanted, -(-n // (self._threads * most))))
        self._parts = [slice(a, b) for a, b in pairwise(np.linspace(0, n, n_parts + 1).astype(int).tolist())]
        self._levels = [0] * len(self._parts)
        self._memory: SimpleQueue[tuple[np.ndarray, ...]] = SimpleQueue()
        size = bytes_per_query * max((part.stop - part.start for part in self._parts), default=0)
        n_queued = max(_QUEUED_PAIRS, self._block_rows)
        for _ in range(self._threads):  # what is not used of it costs nothing
            self._memory.put((np.empty(size, np.uint8), *(np.empty((n_queued, width), np.int32) for width in (4, 2))))

    def _add_blocks(self, rows, valid, blocks, what: str, first: int, entry: np.ndarray | None = None) -> None:
        """Add the valid ones of raw `rows` in `blocks` (stretch, slice); the number of the first one is `first`."""
        with _pool_of(self._threads, self._blas) as pool:
            for stretch, part in blocks:
                kept = np.flatnonzero(valid[part])
                block = self._valid_rows(rows[part], valid[part], what, first + part.start)
                own = None if entry is None else entry[part][kept]
                self._add_block(*block, first + part.start + kept, stretch, pool, own)

    def _add_block(self, rows, norms, numbers, stretch: int, pool: Executor, entry: np.ndarray | None = None) -> None:
        """Add one block of raw rows [n, d] of length norms [n] with row numbers `numbers` [n] to the counts of `stretch`.

        With `entry` [n, m], a row is no candidate for the queries of its own entries.
        """
        if not len(rows) or not self._parts:
            return
        if self._device is not None and entry is None:
            self._device.add(rows, norms, numbers, stretch)
            return
        counts, block = self._tally.counts[stretch], Rows(rows, norms, self._queries.centre, pool)
        for level in {*self._levels}:  # before threads share them
            for operand in (self._queries, block):
                operand.form(self._products[level], pool)

        def work(i: int) -> None:
            memory = self._memory.get()
            try:
                self._levels[i] = self._add_part(self._parts[i], self._levels[i], block, numbers, counts, entry, memory)
            finally:
                self._memory.put(memory)

        # Threads own disjoint queries, so nothing that they change is shared.
        list(pool.map(work, range(len(self._parts))))

    def _add_part(self, part: slice, level: int, block: Rows, numbers, counts, entry, memory) -> int:
        """Count and keep neighbours for the queries of `part`; return the level for its next block."""
        start = part.start
        while start < part.stop:
            product, queries = self._products[level], slice(start, part.stop)
            scores = product.multiply(self._queries, queries, block, memory[0])
            if entry is not None:
                for own in entry.T:
                    scores.tile[0][self._query_entry[queries, None] == own[None, :]] = -np.inf
            max_undecided = product.max_undecided if level + 1 < len(self._products) else np.inf
            done, has_too_many_undecided = self._scan(
                queries, scores, max_undecided, block, numbers, counts, memory[1:]
            )
            start, level = start + done, level + has_too_many_undecided
        return level

    def _scan(self, part: slice, scores: Scores, max_undecided: float, block: Rows, numbers, counts, queues):
        """Scan the scores of `part`, and decide undecided pairs.

        Returns how many queries are done, and whether more pairs than the share `max_undecided` were undecided.
        """
        units, margin, tally = self._queries.raw[part], float64_error(self.dimension), self._tally
        thresholds = (tally.offsets[part.start : part.stop + 1], tally.threshold, counts)
        top_score, top_index = tally.top_score[part], tally.top_index[part]
        done, has_too_many_undecided = 0, False
        while done < len(units) and not has_too_many_undecided:
            scanned = scan(scores, done, max_undecided, *thresholds, top_score, *queues)
            done, n_pairs, n_candidates, has_too_many_undecided = scanned
            pairs, candidates = queues[0][:n_pairs], queues[1][:n_candidates]
            dots = dot_pairs(units, block.raw, block.norm, pairs)
            pairs = pairs[: count_pairs(dots, pairs, margin, *thresholds)]
            count_pairs(pair_scores(units, block.raw, block.norm, pairs), pairs, -1.0, *thresholds)
            if n_candidates:
                dots = dot_pairs(units, block.raw, block.norm, candidates)
                candidates = candidates[dots >= top_score[candidates[:, 0], -1] - margin]
                exact = pair_scores(units, block.raw, block.norm, candidates)
                keep_best(exact, candidates, numbers, top_score, top_index)
        if self.histogram is not None:
            add_scores(scores, done, self.histogram.anchor[part], self.histogram.moments[part])
        return done, has_too_many_undecided


@contextmanager
def _pool_of(n: int, libraries: ThreadpoolController) -> Iterator[Executor]:
    """Yield a pool of `n` threads, each of which computes its matrix products alone (`Bfloat16Product` limits torch)."""
    try:
        with libraries.limit(limits=1, user_api="blas"), ThreadPoolExecutor(n) as pool:
            yield pool
    finally:
        # Torch gives new threads the number that any thread set last: this sets the present thread's own.
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(torch.get_num_threads())


def _flags(valid: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Return a copy of `valid` bool [n]; None stands for all of the n rows."""
    return np.ones(len(rows), bool) if valid is None else np.array(valid, bool)
