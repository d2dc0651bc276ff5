"""The matrix products that `rank.py` filters with, their proven error bounds, and the choice between them.

A filter gives a score v for each pair of unit rows q, x (float64, of length <= 1 + 1e-9) such that the canonical score s has
|s - w| <= B(q) for some w with |v - w| <= r |w|. Let g(n, u) = n u / (1 - n u). What is added for the canonical score's own
rounding is the float64 g(d, 2^-53) |q| |x|, with slack; numbers below 2^-126 may be flushed to zero anywhere, which costs
less than d 2^-120 in all.

**float32.** Each input is rounded once, and a conventional product of k terms, summed in any order, with or without fused
operations, rounds each term at most k times. The d columns are multiplied in p parts of at most k, and each part's sum is
added to those before it: at most p - 1 roundings more. So v = w is sum q_i x_i (1 + t_i) with |t_i| <= g(n, 2^-24), where
n = k + p + 1 (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., lemma 3.1), and by Cauchy-Schwarz it is at
most g(n, 2^-24) |q| |x| from the real dot product. r = 0. `adds_parts` sees whether the library adds a part's sum, as all
quick ones do, and not its terms; if not, there is one part.

**bf16.** q = q' + e and x = x' + f, where q' and x' are rounded to bfloat16, and the lengths of the residuals e and f are
known: they are summed up while rounding. Then q.x - q'.x' = e.x + q'.f, by Cauchy-Schwarz at most |e| |x| + |q'| |f|. A
product of two bfloat16 numbers is exact in float32. What is assumed of the processor (AMX, AVX-512 BF16) and its library
is that they add these products in float32, in any order, each addition faithful: wrong by less than one unit in the last
place (2^-23 of the result; to nearest would be half of it), and at most d + 2 of them for each term. So w, the float32 sum,
is within g(d + 2, 2^-23) |q'| |x'| of q'.x'. At last v is w rounded to bfloat16, to nearest: r = 2^-8. `is_trusted` compares
these assumptions with the machine before the filter is used. |e| and |q'| are those of the query, |f| the block's largest.

**The choice.** Importing torch takes seconds. So the float32 product is used until it has taken longer than that, which
small rankings never do. Then both are timed, on rows of the dimension at hand. The bf16 product is quicker and leaves more
pairs in doubt, how many depends on the thresholds: before each tile, a few exact scores of its own tell what share either
filter would leave, and the cheaper one is taken. None of this changes a result.
"""

import ctypes
import math
import time
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  has the address of BLAS's sgemm
from numba.extending import get_cython_function_address

from attribench.errors import InputError
from attribench.rank_kernels import coarse_dots, to_bf16
from attribench.rank_scan import scan_bf16_tile, scan_tile

LONGEST = 1 + 1e-9  # of a unit row
SLACK = 1.0001  # for the float64 arithmetic of the bounds themselves
_PART = 256  # columns that are multiplied at a time; libraries go through a product in such steps anyway
PATIENCE = 3.0  # seconds of the float32 product before the other one is tried
_SAMPLE_QUERIES, _SAMPLE_ROWS = 8, 64


@dataclass(frozen=True)
class Rows:
    """Unit rows as a filter multiplies them: `data` [n, d]; lengths [n] of what rounding took and left."""

    data: object
    residual: np.ndarray
    length: np.ndarray

    def part(self, rows: slice) -> "Rows":
        return Rows(self.data[rows], self.residual[rows], self.length[rows])


class Block:
    """Unit rows of the database: float64 [n, d], in float32, and as the filters multiply them, once they do."""

    def __init__(self, units: np.ndarray):
        self.units, self.units32 = units, units.astype(np.float32)
        self._rows: dict[str, Rows] = {}

    def rows(self, kind) -> Rows:
        """What the filter `kind` multiplies."""
        if kind.name not in self._rows:
            self._rows[kind.name] = kind.rows(self.units, self.units32)
        return self._rows[kind.name]


class Float32Filter:
    """The float32 product, by BLAS."""

    name = "float32"
    relative = 0.0  # r
    dtype = np.float32
    nothing = np.float32(-np.inf)  # the score of a row that is no candidate
    scan = staticmethod(scan_tile)
    is_fine = True  # finer than a float32 dot product in any order

    def __init__(self, dimension: int):
        self._columns = _PART if adds_parts() else dimension
        parts = -(-dimension // self._columns)
        self._relative = sum_bound(min(self._columns, dimension) + parts - 1, 2.0**-24)
        self._added = added_bound(dimension)

    def rows(self, units: np.ndarray, units32: np.ndarray) -> Rows:
        """The unit rows `units` float64 [n, d], which are `units32` in float32, to be multiplied."""
        # A zero query scores exactly 0 everywhere, so its bound shrinks with its length.
        length = np.minimum(np.sqrt(np.einsum("nd,nd->n", units32, units32)) * 1.001, 1.0)
        return Rows(units32, np.zeros(len(units)), length)

    def bound(self, queries: Rows, block: Block) -> np.ndarray:
        """B [q] for `queries` with any row of `block`."""
        return self._relative * queries.length + self._added

    def product(self, queries: Rows, rows: Rows, out: np.ndarray) -> None:
        """Write the scores to `out` [q, n], in C order."""
        for start in range(0, queries.data.shape[1], self._columns):
            part = slice(start, start + self._columns)
            _add_product(queries.data[:, part], rows.data[:, part], float(start > 0), out)

    def is_trusted(self, dimension: int) -> bool:
        return True


def _add_product(q: np.ndarray, x: np.ndarray, beta: float, out: np.ndarray) -> None:
    """out [q, n] = beta out + q [q, k] x [n, k]', float32 with rows without gaps; other threads may run meanwhile."""
    # BLAS counts the axes the other way round, so to it `out` is x q'.
    sizes = [ctypes.c_int(n) for n in (len(x), len(q), q.shape[1])]
    steps = [ctypes.c_int(rows.strides[0] // 4) for rows in (x, q, out)]
    steps[2] = ctypes.c_int(max(1, out.shape[1]))
    a, b, c = (ctypes.c_void_p(rows.ctypes.data) for rows in (x, q, out))
    one, beta = ctypes.c_float(1), ctypes.c_float(beta)
    ref = ctypes.byref
    _sgemm()(b"T", b"N", *map(ref, sizes), ref(one), a, ref(steps[0]), b, ref(steps[1]), ref(beta), c, ref(steps[2]))


@cache
def _sgemm():
    """The BLAS that SciPy brings; its own wrapper keeps all other threads waiting, those that read ahead among them."""
    address = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
    return ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, *[ctypes.c_void_p] * 11)(address)


@cache
def adds_parts() -> bool:
    """Whether BLAS adds the sum of a product to what is there: one by one, terms this small would vanish beside the 1."""
    rows, one = np.full((300, _PART), 2.0**-13, np.float32), np.ones((300, 300), np.float32)
    _add_product(rows, rows, 1.0, one)
    return bool((one == 1 + _PART * 2.0**-26).all())


class Bf16Filter:
    """The bfloat16 product, by torch; its methods are those of `Float32Filter`."""

    name = "bf16"
    relative = 2.0**-8 * 1.0001
    dtype = np.uint16
    nothing = np.uint16(0xFF80)
    scan = staticmethod(scan_bf16_tile)
    is_fine = False

    def __init__(self, dimension: int):
        import torch

        self._torch = torch
        self._relative, self._added = sum_bound(dimension, 2.0**-23), added_bound(dimension)

    def rows(self, units: np.ndarray, units32: np.ndarray) -> Rows:
        bits = np.empty(units.shape, np.uint16)
        residual, length = np.empty(len(units)), np.empty(len(units))
        to_bf16(units, bits, residual, length)
        return Rows(self._bf16(bits), residual * SLACK, length * SLACK)

    def bound(self, queries: Rows, block: Block) -> np.ndarray:
        residual = block.rows(self).residual.max(initial=0.0)
        inputs = queries.residual * LONGEST + queries.length * residual
        return (inputs + self._relative * queries.length * (LONGEST + residual) + self._added) * SLACK

    def product(self, queries: Rows, rows: Rows, out: np.ndarray) -> None:
        self._torch.mm(queries.data, rows.data.T, out=self._bf16(out))

    def _bf16(self, bits: np.ndarray):
        return self._torch.from_numpy(bits.view(np.int16)).view(self._torch.bfloat16)

    def is_trusted(self, dimension: int) -> bool:
        """Whether the processor multiplies bfloat16 itself, and as this module's text assumes, on rows of `dimension`."""
        able = getattr(self._torch.cpu, "get_capabilities", dict)()
        if not (able.get("avx512_bf16") or able.get("amx_bf16")):
            return False
        units = directions(192, dimension)
        units[64:128] = np.abs(units[64:128])  # large sums of one sign
        rows, tile = self.rows(units, units), np.empty((192, 192), np.uint16)
        self.product(rows, rows, tile)
        exact = rows.data.double().numpy()
        exact = exact @ exact.T
        error = np.abs(self._bf16(tile).double().numpy() - exact)
        allowed = self.relative * np.abs(exact) + 1.01 * self._relative * rows.length[:, None] * rows.length[None, :]
        return bool((error <= allowed + self._added).all())


FILTERS = {kind.name: kind for kind in (Float32Filter, Bf16Filter)}


class Choice:
    """Which filter a tile of scores is computed with; `forced` is the name of one, or None for the cheapest."""

    def __init__(self, dimension: int, forced: str | None = None):
        self._dimension = dimension
        self._forced = FILTERS[forced](dimension) if forced else None
        if self._forced and not self._forced.is_trusted(dimension):
            raise InputError(f"use_filter is {forced!r}, which this machine cannot do; expected None")
        self._float32 = Float32Filter(dimension)
        self._bf16: Bf16Filter | None = None
        self._waited, self._is_tried = 0.0, forced is not None
        self.seconds: dict[str, float] = {}  # that a score takes with a filter, and a pair in doubt

    def note(self, seconds: float) -> None:
        """That a float32 product has taken `seconds`."""
        self._waited += seconds

    def filters(self) -> list:
        """The filters that may be chosen for the next tiles;"""
        if self._forced:
            return [self._forced]
        if not self._is_tried and self._waited > PATIENCE:
            self._is_tried = True
            self._try_bf16()
        return [self._float32] if self._bf16 is None else [self._float32, self._bf16]

    def pick(self, filters: list, bounds: list[np.ndarray], queries: np.ndarray, units: np.ndarray, pairs: tuple):
        """The position in `filters` of the cheapest for a tile of `queries` [q, d] and `units` [n, d].

        `bounds` are B [q] of each filter; `pairs` are the tile's offsets [q + 1] into the thresholds, and these.
        """
        if len(filters) == 1:
            return 0
        chosen = np.linspace(0, len(queries) - 1, _SAMPLE_QUERIES).astype(int)
        rows = np.linspace(0, len(units) - 1, _SAMPLE_ROWS).astype(int)
        scores = queries[chosen] @ units[rows].T
        distance = np.array([_distance(scores[i], _of(pairs, q)) for i, q in enumerate(chosen)])
        costs = [
            self.seconds[kind.name]
            + self.seconds["pair"] * (distance < (bound[chosen, None] + kind.relative * np.abs(scores))).mean()
            for kind, bound in zip(filters, bounds, strict=True)
        ]
        return int(np.argmin(costs))

    def _try_bf16(self) -> None:
        """Take the bf16 filter into account where the machine has it, with what a score and a pair in doubt cost."""
        bf16 = Bf16Filter(self._dimension)
        if not bf16.is_trusted(self._dimension):
            return
        block = Block(directions(2048, self._dimension))
        for kind in (self._float32, bf16):
            rows = block.rows(kind)
            queries, out = rows.part(slice(512)), np.empty((512, 2048), kind.dtype)
            self.seconds[kind.name] = _quickest(lambda k=kind, q=queries, r=rows, o=out: k.product(q, r, o)) / out.size
        order = np.random.default_rng(0).permutation(256)  # as near each other as they are when pairs are decided
        rows32 = block.units32
        self.seconds["pair"] = 1.5 * _quickest(lambda: coarse_dots(rows32[:64], rows32, order)) / (64 * len(order))
        self._bf16 = bf16


def added_bound(dimension: int) -> float:
    """What the canonical score's own rounding, and numbers too small for float32, add to a filter's bound."""
    return 4 * sum_bound(dimension + 6, 2.0**-53) + dimension * 2.0**-120


def dot_bounds(dimension: int) -> tuple[float, float]:
    """Error bounds of `rank_kernels.coarse_dot` and `quick_dot`, of two rows rounded to float32."""
    added = added_bound(dimension)
    return sum_bound(dimension, 2.0**-24) + added, SLACK * 2.0**-23 + added


def sum_bound(dimension: int, unit: float) -> float:
    """g(d + 2, u), or infinity where it says nothing."""
    roundings = (dimension + 2) * unit
    return SLACK * roundings / (1 - roundings) if roundings < 0.5 else math.inf


def _of(pairs: tuple, query: int) -> np.ndarray:
    offsets, threshold = pairs
    return threshold[offsets[query] : offsets[query + 1]]


def _distance(scores: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """From each of `scores` [r] to the nearest of the falling `threshold` [m]."""
    return np.abs(scores[:, None] - threshold[None, :]).min(axis=1, initial=math.inf)


def directions(n: int, dimension: int) -> np.ndarray:
    """Unit rows float64 [n, dimension] in random directions, always the same."""
    rows = np.random.default_rng(0).standard_normal((n, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _quickest(run) -> float:
    times = []
    for _ in range(4):  # the first one compiles, or fills the caches
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
