"""Exact ranks of exemplars among a streamed database.

Definition. Rows are scaled to unit length, x / max(norm, 1e-12); the score of a query and an image is the dot product.
c(e) is the number of valid database rows whose score is at least score(e) - 1e-9, so ties count against the exemplar.
The exemplars of a query, sorted by falling score (equal scores by exemplar row), have the ranks r_i = i + c(e_i).

One arithmetic. A score is the result of one fixed sequence of float64 operations (`normalize` and `dot` of the module
`rank_kernels`): sums in index order, every operation rounded by itself (no fused multiply-add, no reassociation). Its
bits depend on neither block size, shards, threads, BLAS nor SIMD width, and so neither do counts, ranks and neighbours.

A filter makes it fast: a matrix product in low precision, with a proven error bound (`rank_filters` derives them), skips
the comparisons whose result the bound already gives. Pairs that it leaves in doubt go to a dot product of float32 rows that
is finer than the filter: a float32 one, with the bound of the float32 filter for one part, or float64 sums of four products
at a time in float32, where each term is rounded at most six times, the rows' rounding included. Rounding the rows costs at
most 2 u (1 + u) |p| |y| with u = 2^-24 (p and y are query and row less their centres), and the sums, as well as those of the
canonical score, the float64 g(d) |q| |x| each. Half the bytes of float64 rows is what makes it quick. The few that are left
go to a product of the float64 rows, and the very few left even then are computed as defined; in all but that the compiler
chooses the order.

Each thread takes some queries at a time, multiplies them with a block of rows, and scans the scores. On a GPU the scheme is
the same (`rank_cuda`).
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from itertools import pairwise
from queue import SimpleQueue

import numpy as np

from attribench.errors import InputError
from attribench.one_thread import workers
from attribench.rank_blocks import Block, Queries
from attribench.rank_choice import Choice, Offer
from attribench.rank_copies import CopiesFilter, find_copies
from attribench.rank_device import open_scan
from attribench.rank_doubt import Pairs
from attribench.rank_grid import is_exact
from attribench.rank_groups import Groups, find_grid, find_groups
from attribench.rank_kernels import normalize, pair_scores
from attribench.ranking import Ranking
from attribench.tally import Tally, entry_pairs, sorted_pairs

_NORMALIZED = 2048  # rows that a thread normalizes at a time
_AT_A_TIME = 4096  # queries of all threads together, unless that leaves a thread fewer than is quick
_QUICK = 256


def rank(
    queries: np.ndarray,
    query_entry: np.ndarray,
    exemplars: np.ndarray,
    exemplar_entry: np.ndarray,
    database: Iterable[tuple[np.ndarray, np.ndarray | None]],
    *,
    hard_negatives: bool = False,
    **options,
) -> Ranking:
    """Rank each query's exemplars among the database and themselves, and find its nearest database rows.

    `database` yields consecutive slices (features [n, d], valid bool [n] or None for all); the other arguments and
    `options` are those of `RankAccumulator`. With `hard_negatives`, the exemplars of the other entries join the database:
    exemplar j as row N + j. Memory is that of queries, exemplars, one slice and one tile.
    """
    accumulator = RankAccumulator(queries, query_entry, exemplars, exemplar_entry, **options)
    first_row = 0
    for features, valid in database:
        accumulator.add(features, valid, first_row)
        first_row += len(features)
    if hard_negatives:
        accumulator.add_hard_negatives(exemplars, exemplar_entry, options.get("exemplar_valid"), first_row)
    return accumulator.finish()


class RankAccumulator:
    """Counts and neighbours of fixed queries over the database rows added so far; disjoint parts can be merged.

    queries [Q, d] and exemplars [E, d] are raw float16, float32 or float64 rows; query_entry [Q] and exemplar_entry [E]
    are the numbers of their entries: a query is ranked with its own entry's exemplars only. `query_valid` [Q] and
    `exemplar_valid` [E] are bool (None: all valid). A query is left out when it is invalid or its entry has no valid
    exemplar. `sizes` are database sizes at which ranks are wanted besides those among all of it. `top_k` neighbours are
    kept; each of `threads` threads has `block_rows` x `block_queries` filter scores in memory, with more than four threads
    fewer: 128 MiB of them by default, up to 16 threads, and twice that in float64. `use_filter` names one of
    `rank_filters.FILTERS`; None is the cheapest. With `device`, a torch device, most of the work is done there
    (`rank_cuda`), if that can be trusted. None of the last five changes a result.

    Raises InputError for shapes that do not fit and for NaN or Inf in a valid row. After an error in `add` or `merge`
    the accumulator must not be used any more.
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
        block_rows: int = 8192,
        block_queries: int = 1024,
        threads: int = 1,
        use_filter: str | None = None,
        device: str | None = None,
    ):
        if top_k < 0 or block_rows < 1 or block_queries < 1 or threads < 1:
            raise InputError(
                f"top_k must be at least 0, block_rows, block_queries and threads at least 1; found {top_k}, "
                f"{block_rows}, {block_queries}, {threads}"
            )
        self._block_rows, self._block_queries, self._threads = block_rows, block_queries, threads
        self.dimension = _check_rows(queries, "queries", None)
        _check_rows(exemplars, "exemplars", self.dimension)
        query_entry = _check_vector(query_entry, len(queries), "query_entry")
        exemplar_entry = _check_vector(exemplar_entry, len(exemplars), "exemplar_entry")
        exemplar_valid = _check_mask(exemplar_valid, len(exemplars), "exemplar_valid")
        query_valid = _check_mask(query_valid, len(queries), "query_valid")
        query_valid &= np.isin(query_entry, exemplar_entry[exemplar_valid])

        self._queries = _unit_rows(queries, query_valid, "queries")
        self._query_entry = query_entry[query_valid]
        units = _unit_rows(exemplars, exemplar_valid, "exemplars")
        kept = np.flatnonzero(exemplar_valid)
        self._offsets, pairs = entry_pairs(self._query_entry, exemplar_entry[kept])
        scores = pair_scores(self._queries, units, self._offsets, pairs)
        scores, pairs = sorted_pairs(self._offsets, pairs, scores)
        self._tally = Tally(query_valid, self._offsets, scores, kept[pairs], top_k, list(sizes))

        with workers(1) as pool:
            self._choice = pool.submit(Choice, self.dimension, use_filter).result()
        self._operands = Queries(self._queries)
        self._tiles: SimpleQueue[np.ndarray] = SimpleQueue()
        for _ in range(threads):
            self._tiles.put(np.empty(0, np.uint8))
        ranked = (self._queries, self._query_entry, self._tally, threads)
        self._device = open_scan(device, *ranked) if len(self._queries) else None
        self._room = self._ordered = np.empty((0, self.dimension))

    def add(self, features: np.ndarray, valid: np.ndarray | None, first_row: int) -> None:
        """Add database rows `first_row` to `first_row + n`: raw features [n, d] and valid bool [n] (None: all valid).

        `features` may be anything that slices to arrays, such as an HDF5 dataset: one block is read at a time.
        """
        _check_rows(features, "database", self.dimension)
        valid = _check_mask(valid, len(features), "valid of the database")
        room = self._room_for(min(len(features), self._block_rows))
        with workers(self._threads) as pool:
            for stretch, part in self._tally.stretches(first_row, valid, self._block_rows):
                units = _unit_rows(features[part], valid[part], "database", first_row + part.start, pool, room)
                rows = first_row + part.start + np.flatnonzero(valid[part])
                self._add_units(units, rows, self._tally.counts[stretch], pool)

    def add_hard_negatives(
        self, exemplars: np.ndarray, entry: np.ndarray, valid: np.ndarray | None, first_row: int
    ) -> None:
        """Add `exemplars` [E, d] of entries `entry` [E], for other entries' queries, as database rows from `first_row` on.

        They count at every database size. `valid` is bool [E] (None: all valid).
        """
        _check_rows(exemplars, "exemplars", self.dimension)
        entry = _check_vector(entry, len(exemplars), "entry of the hard negatives")
        valid = _check_mask(valid, len(exemplars), "valid of the hard negatives")
        counts = self._tally.counts[self._tally.take_hard_negatives()]
        units = _unit_rows(exemplars, valid, "exemplars")
        kept = np.flatnonzero(valid)
        with workers(self._threads) as pool:
            for start in range(0, len(units), self._block_rows):
                part = slice(start, start + self._block_rows)
                self._add_units(units[part], first_row + kept[part], counts, pool, entry[kept[part]])

    def merge(self, other: "RankAccumulator") -> None:
        """Add the counts and neighbours of an accumulator over other database rows and the same queries and exemplars.

        Raises InputError when the two do not fit, or when they share database rows.
        """
        if not np.array_equal(self._queries, other._queries):
            raise InputError(
                "partial rankings can only be merged when queries, exemplars, sizes and top_k are the same"
            )
        self.flush()
        other.flush()
        self._tally.merge(other._tally)

    def finish(self) -> Ranking:
        """The ranking over all rows added. Raises InputError when rows before the last one were never added."""
        self.flush()
        return self._tally.finish()

    def flush(self) -> None:
        """Wait until all that was added is counted: with a device, the last rows are on their way for a while."""
        if self._device is not None:
            self._device.flush()

    def _room_for(self, n: int) -> np.ndarray | None:
        """Memory for `n` rows that was used before: new one has to be cleared by the system first.

        None with a device, which may still be reading the last block's rows.
        """
        if self._device is not None:
            return None
        if len(self._room) < n:
            self._room = np.empty((n, self.dimension))
        return self._room

    def _add_units(
        self, units: np.ndarray, rows: np.ndarray, counts: np.ndarray, pool: Executor, entry: np.ndarray | None = None
    ) -> None:
        """Add one block of unit rows [n, d] with database row numbers `rows` [n] to `counts` [R].

        With `entry` [n], a row is no candidate for the queries of its own entry.
        """
        if not len(units) or not len(self._queries):
            return
        done = 0
        if self._device is not None:
            done = self._device.add(units, rows, counts, entry)
            if done == len(self._queries):
                return
            self.flush()
            self._device = None
        block, rows, entry = self._block_of(units, rows, entry, pool)
        self._rank_block(block, rows, counts, pool, entry, done)

    def _block_of(
        self, units: np.ndarray, rows: np.ndarray, entry: np.ndarray | None, pool: Executor
    ) -> tuple[Block, np.ndarray, np.ndarray | None]:
        """The block of `units`, and its `rows` and `entry`: with each copy once, or in groups, where these are worth it."""
        if not self._choice.is_hard:
            return Block(units, pool), rows, entry
        found = find_copies(units, pool) if entry is None else None  # copies may be of several entries
        if found is not None:
            order, copies = found
            return Block(self._in_order(units, order[copies[:-1]], pool), pool, copies=copies), rows[order], None
        order, groups = self._find_groups(units, pool)
        self._choice.is_hard = groups is not None
        if groups is None:
            return Block(units, pool), rows, entry
        entry = None if entry is None else entry[order]
        return Block(self._in_order(units, order, pool), pool, groups=groups), rows[order], entry

    def _find_groups(self, units: np.ndarray, pool: Executor) -> tuple[np.ndarray, Groups | None]:
        """An order [n] of the `units`, and the groups in that order, if there are any that help."""
        steps = self._operands.row_steps
        if steps is not None:
            order, groups = find_grid(units, pool)
            if groups is not None and is_exact(steps, groups.steps):
                return order, groups
        return find_groups(units, pool)

    def _in_order(self, units: np.ndarray, order: np.ndarray, pool: Executor) -> np.ndarray:
        """The `units` in this `order`, or some of them, in memory that was used before."""
        if len(self._ordered) < len(units):
            self._ordered = np.empty_like(units)
        ordered = self._ordered[: len(order)]

        def work(start: int) -> None:
            part = slice(start, start + _NORMALIZED)
            np.take(units, order[part], axis=0, out=ordered[part], mode="clip")  # which needs no memory of its own

        list(pool.map(work, range(0, len(order), _NORMALIZED)))
        return ordered

    def _rank_block(self, block: Block, rows, counts, pool: Executor, entry: np.ndarray | None, done: int) -> None:
        """`_add_units` of a `block`, for the queries from `done` on."""
        if block.copies is not None:
            filters = [CopiesFilter(self.dimension)]
        else:
            filters = [kind for kind in pool.submit(self._choice.filters).result() if kind.fits(self._operands, block)]
        for kind in filters:  # before threads share them
            self._operands.rows(kind), block.rows(kind)
        todo = len(self._queries) - done
        most = min(self._block_queries, max(_QUICK, _AT_A_TIME // self._threads))
        n_parts = min(todo, self._threads * -(-todo // (self._threads * most)))
        cuts = np.linspace(done, len(self._queries), n_parts + 1).astype(int).tolist()
        tilt = self._operands.tilt(block)
        tile_bytes = -(-todo // n_parts) * len(block.units) * 8

        def work(part: slice) -> None:
            tile = self._tiles.get()
            if tile.nbytes < tile_bytes:
                tile = np.empty(tile_bytes, np.uint8)
            try:
                self._rank_part(part, filters, block, tilt, rows, counts, entry, tile)
            finally:
                self._tiles.put(tile)

        # Threads own disjoint queries, so nothing they do meets.
        for _ in pool.map(work, [slice(a, b) for a, b in pairwise(cuts)]):
            pass
        self._choice.rest(filters)

    def _rank_part(self, part: slice, filters: list, block: Block, tilt, rows, counts, entry, tile: np.ndarray) -> None:
        """Count, and keep neighbours, for the queries of `part`: with the cheapest of `filters`, in the bytes of `tile`."""
        tally, queries, start = self._tally, self._queries[part], time.perf_counter()
        shift, offsets = block.shift(queries), self._offsets[part.start : part.stop + 1]
        offers = []
        for kind in filters:
            operand = self._operands.rows(kind).part(part)
            of_kind = shift if kind.is_centred else np.zeros_like(shift)
            margins = kind.margins(self._operands, block)
            offers.append(Offer(kind, operand, kind.bound(operand, block), of_kind, margins))
        best = 0
        if block.copies is None:
            best = self._choice.pick(offers, queries, block, (offsets, tally.threshold))
        kind, operand, bound, shift, margins = offers[best]
        scores = tile.view(kind.dtype)[: len(queries) * len(block.units)].reshape(len(queries), -1)
        kind.product(operand, block.rows(kind), scores, tilt)
        if entry is not None:
            scores[self._query_entry[part, None] == entry[None, :]] = kind.nothing
        starts = block.starts if block.copies is None else block.copies
        of_rows = (block.units, block.rows32, starts, block.group)
        pairs = Pairs(
            queries,
            self._operands.rows32[part],
            *of_rows,
            shift,
            kind.scale(operand, block),
            kind.is_whole,
            kind.steps(block),
            tilt,
            offsets,
            tally.threshold,
            counts,
            margins,
            kind.finer_dot,
        )
        kind.scan(scores, pairs, bound, kind.relative, rows, tally.top_score[part], tally.top_index[part])
        self._choice.note(time.perf_counter() - start)


def _check_rows(rows: np.ndarray, what: str, dimension: int | None) -> int:
    """The number of columns of a two-dimensional float array."""
    shape, dtype = np.shape(rows), getattr(rows, "dtype", None)
    if len(shape) != 2 or shape[1] < 1 or dtype not in (np.float16, np.float32, np.float64):
        raise InputError(f"{what}: expected float16, float32 or float64 rows [n, d], found {dtype} {list(shape)}")
    if dimension is not None and shape[1] != dimension:
        raise InputError(f"{what}: expected {dimension} columns as in the queries, found {shape[1]}")
    return shape[1]


def _check_vector(values: np.ndarray, length: int, what: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (length,):
        raise InputError(f"{what}: expected {length} values, one a row, found shape {list(values.shape)}")
    return values


def _check_mask(mask: np.ndarray | None, length: int, what: str) -> np.ndarray:
    """A bool copy [length] of `mask`."""
    mask = np.ones(length, bool) if mask is None else _check_vector(mask, length, what)
    if mask.dtype != bool:
        raise InputError(f"{what}: expected bool, found {mask.dtype}")
    return mask.copy()


def _unit_rows(
    rows: np.ndarray,
    valid: np.ndarray,
    what: str,
    first_row: int = 0,
    pool: Executor | None = None,
    room: np.ndarray | None = None,
) -> np.ndarray:
    """The valid rows as canonical unit rows, float64 [n, d], in `room` if there is one for that many.

    `first_row` is the number of the first row for errors.
    """
    raw = rows[:] if valid.all() else np.asarray(rows[:])[valid]
    units = np.empty(raw.shape) if room is None else room[: len(raw)]

    def made(start: int) -> int:
        part = slice(start, start + _NORMALIZED)
        units[part] = raw[part]
        return normalize(units[part])

    steps = range(0, len(units), _NORMALIZED)
    for start, bad in zip(steps, (pool.map if pool else map)(made, steps), strict=True):
        if bad >= 0:
            row = first_row + int(np.flatnonzero(valid)[start + bad])
            raise InputError(f"{what}: row {row} (counted from 0) holds NaN or Inf, but is marked valid")
    return units
