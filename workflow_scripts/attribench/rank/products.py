"""The matrix products that ranking counts with: bfloat16 where the processor has it, float32, and float64.

A product prepares rows, multiplies them, and states the error bound of its scores (`bounds`). The quicker ones leave
more pairs undecided; none changes a result.
"""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from attribench.rank import bounds
from attribench.rank.bounds import SLACK

_PART_COLUMNS = 256  # of a float32 product, whose parts are added up here: so the bound is that of short sums
_CENTRE_ROWS = 128  # whose mean is the centre of a block
_MULTIPLICATIONS_FOR_BFLOAT16 = 2**37  # about a second's
_ROWS_PER_STEP = 256  # rows that a thread prepares at a time


class Scores(NamedTuple):
    """Hold scores of some queries [q] with a block of rows [n], as a product gives them.

    The parts of `tile` [parts, q, n] (float32 or float64) and tilt[n] add up to within `relative` |w| of a number w.
    The exact score of the pair is within bound[q] of w + offset[q].
    """

    tile: np.ndarray
    tilt: np.ndarray
    offset: np.ndarray
    bound: np.ndarray
    relative: float


class Rows:
    """Hold rows of the database, centred, in the forms that products multiply.

    raw: [n, d] float32 or float64, and norm float64 [n]: raw / norm is the canonical unit row. centre: float64 [d];
    centred: float32 [n, d], unit rows less the centre, and `longest` of them; length: float64 [n] of these; tilt: float64
    [n], their dot products with `query_centre`, the queries' centre.
    """

    def __init__(
        self, raw: np.ndarray, norm: np.ndarray, query_centre: np.ndarray | None = None, pool: Executor | None = None
    ):
        (n, d), self.raw, self.norm = raw.shape, raw, norm
        sample = slice(None, None, max(1, n // _CENTRE_ROWS))
        self.centre = (raw[sample] / norm[sample, None]).mean(axis=0) if n else np.zeros(d)
        query_centre = np.zeros(d) if query_centre is None else query_centre
        self.centred, self.length, self.tilt = np.empty((n, d), np.float32), np.empty(n), np.empty(n)

        def work(part: slice) -> None:
            self.centred[part] = rows = raw[part] / norm[part, None] - self.centre
            self.length[part], self.tilt[part] = np.sqrt(np.einsum("ij,ij->i", rows, rows)), rows @ query_centre

        _over_parts(work, n, pool)
        self.longest = float(self.length.max(initial=0.0)) * SLACK
        self._forms: dict[str, Any] = {}
        self._lock = threading.Lock()

    def form(self, product: Any, pool: Executor | None = None) -> Any:
        """Return the rows as `product` multiplies them, prepared once."""
        with self._lock:
            if product.name not in self._forms:
                self._forms[product.name] = product.prepare(self, pool)
            return self._forms[product.name]


class Queries(Rows):
    """Hold unit rows of queries, float64 [Q, d], as `raw`."""

    def __init__(self, units: np.ndarray):
        super().__init__(units, np.ones(len(units)))


class Float32Product:
    """Multiply centred queries and centred rows in float32, by NumPy's BLAS, in parts of _PART_COLUMNS columns."""

    name = "float32"
    # A part of the queries that leaves a larger share of its pairs undecided goes on with the next finer product: such a
    # pair takes about as long as nine scores of this one.
    max_undecided = 0.1

    def __init__(self, dimension: int):
        self.dimension, self._columns = dimension, min(_PART_COLUMNS, dimension)
        self._parts = -(-dimension // self._columns)
        self.bytes_per_score = 4 * self._parts

    def prepare(self, rows: Rows, pool: Executor | None) -> np.ndarray:
        """Return the rows as they are multiplied."""
        return rows.centred

    def multiply(self, queries: Queries, part: slice, block: Rows, memory: np.ndarray) -> Scores:
        """Return the scores of the queries `part` with all rows of `block`, in the bytes of `memory` (uint8)."""
        p, y = queries.form(self)[part], block.form(self)
        tile = _tile(memory, np.float32, (self._parts, len(p), len(y)))
        for number in range(self._parts):
            columns = slice(number * self._columns, (number + 1) * self._columns)
            np.matmul(p[:, columns], y[:, columns].T, out=tile[number])
        lengths = (queries.length[part] * SLACK, block.longest, np.linalg.norm(queries.centre) * SLACK)
        bound = bounds.float32_error(self._columns, self._parts, *lengths) + bounds.shared_error(self.dimension)
        return Scores(tile, block.tilt.astype(np.float32), queries.raw[part] @ block.centre, bound, 0.0)


class _Rounded(NamedTuple):
    """Hold rows [n, d] as torch's bfloat16, and lengths float64 [n]: of what rounding took away, and of what is left."""

    values: Any
    residual: np.ndarray
    length: np.ndarray


class Bfloat16Product:
    """Multiply queries and centred rows in bfloat16, by torch; scores are rounded to bfloat16.

    Queries are not centred: with a tilt, a score's rounding would not be relative to the sum.
    """

    name = "bfloat16"
    bytes_per_score = 8  # 4 as float32 and 2 as bfloat16; 8, so that the memory's length is a multiple of both

    def __init__(self, dimension: int):
        import torch

        self.dimension, self._torch = dimension, torch
        # What this product saves grows with the dimension; the time of an undecided pair is mostly that of finding its row.
        self.max_undecided = dimension / 6_400

    def prepare(self, rows: Rows, pool: Executor | None) -> _Rounded:
        """Return the rows as they are multiplied."""
        torch = self._torch
        values = torch.from_numpy(rows.raw.astype(np.float32) if isinstance(rows, Queries) else rows.centred)
        rounded = torch.empty(values.shape, dtype=torch.bfloat16)
        residual, length = torch.empty(2, len(values), dtype=torch.float64)

        def work(part: slice) -> None:
            _keep_to_one_thread(torch)
            rounded[part] = values[part]
            wide = rounded[part].float()
            length[part] = torch.linalg.vector_norm(wide, dim=1, dtype=torch.float64)
            residual[part] = torch.linalg.vector_norm(wide - values[part], dim=1, dtype=torch.float64)

        _over_parts(work, len(values), pool)
        residual, length = residual.numpy() * SLACK, length.numpy() * SLACK
        return _Rounded(rounded, residual + bounds.FLOAT32 * length, length)

    def multiply(self, queries: Queries, part: slice, block: Rows, memory: np.ndarray) -> Scores:
        """Return the scores of the queries `part` with all rows of `block`, in the bytes of `memory` (uint8)."""
        _keep_to_one_thread(self._torch)
        q, y = queries.form(self), block.form(self)
        tile = _tile(memory, np.float32, (1, part.stop - part.start, len(y.values)))
        bits = self._torch.from_numpy(_tile(memory[tile.nbytes :], np.int16, tile.shape[1:]))
        narrow = bits.view(self._torch.bfloat16)
        self._torch.mm(q.values[part], y.values.T, out=narrow)
        self._torch.from_numpy(tile[0]).copy_(narrow)
        length, residual, longest = q.length[part], q.residual[part], y.length.max(initial=0.0)
        bound = bounds.rounded_error(length, residual, block.longest, y.residual.max(initial=0.0))
        bound += bounds.low_precision_sum_error(self.dimension, length, longest) + bounds.shared_error(self.dimension)
        no_tilt = np.zeros(len(block.raw), np.float32)
        return Scores(tile, no_tilt, queries.raw[part] @ block.centre, bound, bounds.BFLOAT16 * SLACK)

    def satisfies_assumption(self) -> bool:
        """Return whether this machine's products, in this dimension, satisfy the assumption of the bound."""
        units = trial_rows(192, self.dimension)
        queries, block = Queries(units), Rows(units, np.ones(192))
        for n in (1, 7, 192):
            scores = self.multiply(queries, slice(0, n), block, np.empty(192 * 192 * self.bytes_per_score, np.uint8))
            expected = (units @ units.T)[:n] - scores.offset[:, None]
            allowed = scores.bound[:, None] * (1 + scores.relative) + scores.relative * np.abs(expected)
            if not (np.isfinite(allowed) & (np.abs(scores.tile[0] - expected) <= allowed)).all():
                return False
        return True


class Float64Product:
    """Multiply unit rows in float64, by NumPy's BLAS: twice the time of float32, and hardly a pair is undecided."""

    name = "float64"
    max_undecided = math.inf
    bytes_per_score = 8

    def __init__(self, dimension: int):
        self.dimension = dimension

    def prepare(self, rows: Rows, pool: Executor | None) -> np.ndarray:
        """Return the rows as they are multiplied."""
        return rows.raw / rows.norm[:, None]

    def multiply(self, queries: Queries, part: slice, block: Rows, memory: np.ndarray) -> Scores:
        """Return the scores of the queries `part` with all rows of `block`, in the bytes of `memory` (uint8)."""
        q, x = queries.raw[part], block.form(self)
        tile = _tile(memory, np.float64, (1, len(q), len(x)))
        np.matmul(q, x.T, out=tile[0])
        bound = np.full(len(q), bounds.float64_error(self.dimension))
        return Scores(tile, np.zeros(len(x)), np.zeros(len(q)), bound, 0.0)


PRODUCTS = {product.name: product for product in (Bfloat16Product, Float32Product, Float64Product)}


def choose_products(dimension: int, n_scores: int) -> list[str]:
    """Return the products for a ranking of `n_scores` scores, the quickest first. A small one has no time to load torch."""
    is_large = n_scores * dimension >= _MULTIPLICATIONS_FOR_BFLOAT16
    return [name for name in PRODUCTS if name != "bfloat16" or (is_large and has_bfloat16(dimension))]


@cache
def has_bfloat16(dimension: int) -> bool:
    """Return whether the processor multiplies bfloat16 itself, with errors as the bound assumes, in this dimension."""
    import torch

    able, threads = getattr(torch.cpu, "get_capabilities", dict)(), torch.get_num_threads()
    if not (able.get("avx512_bf16") or able.get("amx_bf16")):
        return False
    try:
        return Bfloat16Product(dimension).satisfies_assumption()
    finally:
        torch.set_num_threads(threads)  # the caller's, which a product sets to one


def trial_rows(n: int, dimension: int) -> np.ndarray:
    """Return unit rows float64 [n, dimension], always the same, in all directions; 64 have no negative value."""
    rows = np.random.default_rng(0).standard_normal((n, dimension))
    rows[64:128] = np.abs(rows[64:128])  # their dot products are large sums of one sign
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _over_parts(work: Callable[[slice], None], n: int, pool: Executor | None) -> None:
    """Call `work` for slices that cover `n` rows, by the threads of `pool` if there is one."""
    parts = [slice(start, start + _ROWS_PER_STEP) for start in range(0, n, _ROWS_PER_STEP)]
    list(pool.map(work, parts) if pool else map(work, parts))


def _keep_to_one_thread(torch: Any) -> None:
    """Let this thread's operations of torch keep to it: other threads have work of their own."""
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def _tile(memory: np.ndarray, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of `shape` at the beginning of the bytes of `memory`."""
    return memory.view(dtype)[: math.prod(shape)].reshape(shape)
