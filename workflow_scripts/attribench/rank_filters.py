"""The matrix products that `rank.py` filters with, and their proven error bounds.

**Centres** (`rank_blocks`). Rows that lie close together are told apart badly by products in low precision: their scores
are all alike. So each group of rows x has a centre c, and the queries have one, m; y = x - c and p = q - m. A score is q.x
= q.c + m.y + p.y; q.c, the shift of the query, and m.y, the tilt of the row, are float64 products for a query or a row, not
for each pair. What is left to a filter and to the dot products is p.y, or q.y, and every bound below shrinks with the
largest |y| of the group. A block of rows is one group, unless `rank_groups` finds several. Where rows point everywhere,
centres would gain nothing and are 0.

A filter gives a score v for each pair of a unit row q and a y (float64; |q| <= 1 + 1e-9) such that the canonical score s has
|s - q.c - w| <= B(q) for some w with |v - w| <= r |w|. Let g(n, u) = n u / (1 - n u). What is added for the canonical
score's own rounding is the float64 g(d, 2^-53) |q| |x|, as much for the shift, twice as much for the tilt, and a few units
for y and p, with slack; numbers below 2^-126 may be flushed to zero anywhere, which costs less than d 2^-120 in all.

**float32.** Each input is rounded once, and a conventional product of k terms, summed in any order, with or without fused
operations, rounds each term at most k times. The d columns are multiplied in h parts of at most k, and each part's sum is
added to those before it, the first one to the tilt if there is one: at most h roundings more. So v = w is the tilt m.y,
rounded h + 1 times, and sum p_i y_i (1 + t_i) with |t_i| <= g(n_i, 2^-24), where n_i = n = k + h + 2 (Higham, Accuracy and
Stability of Numerical Algorithms, 2nd ed., lemma 3.1). By Cauchy-Schwarz it is at most g(n, 2^-24) |p| |y| +
g(h + 1, 2^-24) |m| |y| from q.y. r = 0. `adds_parts` sees whether the library adds a part's sum, as all quick ones do, and
not its terms; if not, there is one part, and the tilt may be rounded k times too.

Where the terms of a part of k columns are added one after the other, in order, the i-th of them (from 0) is in only k - i of
the sums, and where parts are, the b-th of these in h - b. With the product's own rounding and the inputs', n_i = k - i + h -
b + 3. With u = 2^-24, g(n_i, u) <= n_i u / (1 - n u), so by Cauchy-Schwarz sum g(n_i, u) |p_i y_i| <= u / (1 - n u) |p|'
|y|', where |y|'^2 = sum n_i y_i^2: about half of the bound for any order. `adds_in_order` sees whether the library does
that. It may multiply little in another way than much, so there the bound is that for any order.

**bf16.** q = q' + e and y = y' + f, where q' and y' are rounded to bfloat16, and the lengths of the residuals e and f are
known: they are summed up while rounding. Then q.y - q'.y' = e.y + q'.f, by Cauchy-Schwarz at most |e| |y| + |q'| |f|. A
product of two bfloat16 numbers is exact in float32. What is assumed of the processor (AMX, AVX-512 BF16) and its library
is that they add these products in float32, in any order, each addition faithful: wrong by less than one unit in the last
place (2^-23 of the result; to nearest would be half of it), and at most d + 2 of them for each term. So w, the float32 sum,
is within g(d + 2, 2^-23) |q'| |y'| of q'.y'. At last v is w rounded to bfloat16, to nearest: r = 2^-8. `is_trusted` compares
these assumptions with the machine before the filter is used. |e| and |q'| are those of the query, |f| the group's largest.

**float64.** The product of the unit rows themselves: c = 0, and all that is between v and s is float64 rounding, of both:
B = `full_bound`, without what is added above for shifts and tilts. It takes twice the time of float32, and leaves nothing in
doubt: for data in which very many scores are closer to a threshold than float32 can see, and no centres help.

A filter's score may have to be multiplied by a `scale`, before the shift is added: that of `rank_grid` has to, for rows on a
grid. That of `rank_positive`, for rows without a value below 0, has r > 0. That of `rank_sparse`, for sparse queries, is the
float64 product without the terms of 0. `rank_choice` chooses between them.
"""

import ctypes
import itertools
import math
from dataclasses import replace
from functools import cache

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  has the address of BLAS's sgemm
from numba.extending import get_cython_function_address

from attribench.one_thread import one_torch_thread
from attribench.rank_blocks import SLACK, Block, Queries, Rows
from attribench.rank_doubt import COARSE, FOURS, FULL
from attribench.rank_kernels import to_bf16, weighted_lengths
from attribench.rank_scan import scan_bf16_tile, scan_tile

LONGEST = 1 + 1e-9  # of a unit row
_PART = 256  # columns that are multiplied at a time; libraries go through a product in such steps anyway
QUICK = 3  # beside COARSE, FOURS and FULL: of `dot_bounds`
_USUAL_ROWS, _USUAL_PRODUCT = 16, 2**22  # on either side, and terms: of less, libraries make smaller work in other ways


class Float32Filter:
    """The float32 product, by BLAS."""

    name = "float32"
    relative = 0.0  # r
    is_centred = True  # whether it multiplies rows less their centres
    is_whole = False  # whether its scores are whole numbers
    finer_dot = FOURS  # the cheapest dot product that decides most of what it leaves in doubt
    dtype = np.float32
    nothing = np.float32(-np.inf)  # the score of a row that is no candidate
    scan = staticmethod(scan_tile)

    def __init__(self, dimension: int):
        self._columns = min(_PART if adds_parts() else dimension, dimension)
        parts = -(-dimension // self._columns)
        self._any_order = sum_bound(self._columns + parts, 2.0**-24)
        self._tilted = sum_bound(parts if adds_parts() else self._columns, 2.0**-24)
        self._added = added_bound(dimension)
        column = np.arange(dimension)
        length = np.minimum(dimension - column // self._columns * self._columns, self._columns)  # of the column's part
        self._fewest = int(length.min())
        self._is_in_order = all(adds_in_order(k) for k in np.unique(length).tolist())
        self._roundings = length - column % self._columns + parts - column // self._columns + 3.0

    def rows(self, block: Block) -> Rows:
        """The rows of `block`, to be multiplied."""
        rows, weighted = block.rows32, np.empty(len(block.rows32))
        block.over_parts(lambda part: weighted_lengths(rows[part], self._roundings, weighted[part]))
        return Rows(rows, np.zeros(len(rows)), np.ones(len(rows)), weighted * SLACK)

    def query_rows(self, queries: Queries) -> Rows:
        """The `queries`, to be multiplied."""
        # A zero query scores exactly 0 everywhere, so its bound shrinks with its length.
        length = np.empty(len(queries.rows32))
        weighted_lengths(queries.rows32, np.ones(queries.rows32.shape[1]), length)
        return replace(self.rows(queries), length=length * SLACK, centre=float(np.linalg.norm(queries.centre)) * SLACK)

    def bound(self, queries: Rows, block: Block) -> np.ndarray:
        """B [q, G] for `queries` with any row of each group of `block`."""
        sizes = (len(queries.data), len(block.units))
        if self._is_in_order and min(sizes) >= _USUAL_ROWS and math.prod(sizes) * self._fewest >= _USUAL_PRODUCT:
            unit = SLACK * 2.0**-24 / (1 - (self._roundings.max() + 1) * 2.0**-24)
            terms = unit * np.outer(queries.weighted, block.largest(block.rows(self).weighted))
        else:
            terms = self._any_order * np.outer(queries.length, block.longest)
        return terms + self._tilted * queries.centre * block.longest + self._added

    def margins(self, queries: Queries, block: Block) -> np.ndarray:
        """Error bounds [3, G] of `finer_dot`, of `full_dot` and of `quick_dot`, of a row of `queries` and one of each group
        of `block`; infinity where what they multiply are not the rows that the filter does."""
        bounds = dot_bounds(block.units.shape[1], queries.longest * block.longest)
        return np.stack([bounds[self.finer_dot], bounds[FULL], bounds[QUICK]])

    def product(self, queries: Rows, rows: Rows, out: np.ndarray, tilt: np.ndarray | None = None) -> None:
        """Write the scores to `out` [q, n], in C order; `tilt` [n] is that of the rows, if there is one."""
        if queries.centre:
            out[:] = tilt
        for start in range(0, queries.data.shape[1], self._columns):
            part = slice(start, start + self._columns)
            beta = float(start > 0 or queries.centre > 0)
            _add_product(queries.data[:, part], rows.data[:, part], beta, out)

    def usual(self, queries: np.ndarray) -> np.ndarray:
        """Some `queries` [q, d] as those that it is for, to see how long a product takes."""
        return queries

    def work(self, queries: Rows, dimension: int) -> float:
        """How long a product of `queries` takes, beside the `usual` ones."""
        return 1.0

    def scale(self, queries: Rows, block: Block) -> np.ndarray:
        """What the scores of `queries` with rows of each group of `block` are to be multiplied by: [q, G]."""
        return np.ones((len(queries.length), len(block.centres)))

    def steps(self, block: Block) -> np.ndarray:
        """What the scores are to be multiplied by before `scale`, for each row of `block` [n]; empty where that is 1."""
        return np.empty(0)

    def fits(self, queries: Queries, block: Block) -> bool:
        """Whether it can be used for all rows of both."""
        return True

    def is_for_groups(self, block: Block) -> bool:
        """Whether there is a quicker one for the rows of `block`, in groups (`rank_groups`)."""
        return False

    def is_trusted(self, dimension: int) -> bool:
        """Whether the machine does what the bounds assume."""
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
def adds_in_order(columns: int) -> bool:
    """Whether BLAS adds the terms of a product of so many `columns` one after the other, and each product right away.

    Beside a number this large a 1 vanishes. With it as one term, and its negative as the next one, of terms that are 1
    otherwise, the sum is the number of those that are added after the two: to be all that follow. If it is for each place of
    the two, terms 0 and 1 are added first, then 2 to their sum, for it is added to something that holds 1, and so on.
    """
    place = np.arange(columns - 1)
    queries = np.ones((columns - 1, columns), np.float32)
    queries[place, place], queries[place, place + 1] = 2.0**60, -(2.0**60)
    many = -(-_USUAL_PRODUCT // (_USUAL_ROWS * columns)) + 3
    for n_queries, n_rows in ((_USUAL_ROWS, many), (many, _USUAL_ROWS), (31, many), (many, 31), (1024, 8192)):
        rows = np.ones((n_rows, columns), np.float32)
        for start in range(0, columns - 1, n_queries):
            part = np.arange(start, start + n_queries) % (columns - 1)
            tile = np.zeros((n_queries, n_rows), np.float32)
            _add_product(queries[part], rows, 1.0, tile)
            if not (tile == (columns - 2 - part)[:, None]).all():
                return False
    return True


@cache
def adds_parts() -> bool:
    """Whether BLAS adds the sum of a product to what is there, and not its terms, or a few at a time.

    Beside a 1, all terms together are one unit in the last place, and half of them vanish.
    """
    for n_rows, n_queries in itertools.product((1, 300), repeat=2):
        rows, queries = (np.full((n, _PART), 2.0**power, np.float32) for n, power in ((n_rows, -15), (n_queries, -16)))
        one = np.ones((n_queries, n_rows), np.float32)
        _add_product(queries, rows, 1.0, one)
        if not (one == 1 + 2.0**-23).all():
            return False
    return True


class Bf16Filter(Float32Filter):
    """The bfloat16 product, by torch."""

    name = "bf16"
    relative = 2.0**-8 * 1.0001
    finer_dot = COARSE
    dtype = np.uint16
    nothing = np.uint16(0xFF80)
    scan = staticmethod(scan_bf16_tile)

    def __init__(self, dimension: int):
        import torch

        self._torch = torch
        self._relative, self._added = sum_bound(dimension, 2.0**-23), added_bound(dimension)

    def rows(self, block: Block) -> Rows:
        return self._rounded(block, block.centres)

    def query_rows(self, queries: Queries) -> Rows:
        # Whole: added to a tilt, the scores' rounding to bfloat16 would count in full.
        return self._rounded(queries, np.zeros_like(queries.centres))

    def _rounded(self, block: Block, centres: np.ndarray) -> Rows:
        bits = np.empty(block.units.shape, np.uint16)
        residual, length = np.empty(len(bits)), np.empty(len(bits))

        def work(part: slice) -> None:
            to_bf16(block.units[part], centres, block.group[part], bits[part], residual[part], length[part])

        block.over_parts(work)
        return Rows(self._bf16(bits), residual * SLACK, length * SLACK)

    def bound(self, queries: Rows, block: Block) -> np.ndarray:
        residual = block.largest(block.rows(self).residual)
        inputs = np.outer(queries.residual, block.longest) + np.outer(queries.length, residual)
        sums = self._relative * np.outer(queries.length, block.longest + residual)
        return (inputs + sums + self._added) * SLACK

    def product(self, queries: Rows, rows: Rows, out: np.ndarray, tilt: np.ndarray | None = None) -> None:
        one_torch_thread(self._torch)
        self._torch.mm(queries.data, rows.data.T, out=self._bf16(out))

    def _bf16(self, bits: np.ndarray):
        return self._torch.from_numpy(bits.view(np.int16)).view(self._torch.bfloat16)

    def is_trusted(self, dimension: int) -> bool:
        """Whether the processor multiplies bfloat16 itself, and as this module's text assumes, on rows of `dimension`."""
        if not has_bf16_products() or not math.isfinite(self._relative):
            return False
        units = directions(192, dimension)
        units[64:128] = np.abs(units[64:128])  # large sums of one sign
        rows = self.rows(Block(units, centred=False))
        return all(self._keeps_bound(rows.part(slice(n)), rows) for n in (1, 7, 192))

    def _keeps_bound(self, queries: Rows, rows: Rows) -> bool:
        tile = np.empty((len(queries.length), len(rows.length)), np.uint16)
        self.product(queries, rows, tile)
        exact = queries.data.double().numpy() @ rows.data.double().numpy().T
        error = np.abs(self._bf16(tile).double().numpy() - exact)
        allowed = self.relative * np.abs(exact) + 1.01 * self._relative * np.outer(queries.length, rows.length)
        return bool((error <= allowed + self._added).all())


def has_bf16_products() -> bool:
    """Whether the processor multiplies bfloat16 itself, as torch sees it."""
    import torch

    able = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


class Float64Filter(Float32Filter):
    """The float64 product of the rows as they are, by NumPy's BLAS."""

    name = "float64"
    is_centred = False
    finer_dot = FULL
    dtype = np.float64
    nothing = np.float64(-np.inf)

    def __init__(self, dimension: int):
        super().__init__(dimension)
        self._added = full_bound(dimension)

    def rows(self, block: Block) -> Rows:
        return Rows(block.units, np.zeros(len(block.units)), np.ones(len(block.units)))

    query_rows = rows

    def bound(self, queries: Rows, block: Block) -> np.ndarray:
        return np.full((len(queries.length), len(block.centres)), self._added)

    def margins(self, queries: Queries, block: Block) -> np.ndarray:
        return only_full(block)

    def product(self, queries: Rows, rows: Rows, out: np.ndarray, tilt: np.ndarray | None = None) -> None:
        np.matmul(queries.data, rows.data.T, out=out)


FILTERS = {kind.name: kind for kind in (Float32Filter, Bf16Filter, Float64Filter)}


def added_bound(dimension: int) -> float:
    """What float64 rounding, of the canonical score, shift and tilt, and numbers too small for float32 add to a bound."""
    return 8 * sum_bound(dimension + 6, 2.0**-53) + dimension * 2.0**-120


def full_bound(dimension: int) -> float:
    """How far a float64 product of unit rows, in any order, is from the canonical score: both are rounded.

    Each by at most g(d, 2^-53) |q| |x|; d + 2 instead of d, and 2.1 instead of 2, are for the lengths and the arithmetic
    that compares. Of a float32 product whose own rounding is part of r, as in `rank_positive`, only the canonical score's is
    left, and half of this is room for numbers below 2^-126, d 2^-120 in all.
    """
    return 2.1 * sum_bound(dimension, 2.0**-53)


def only_full(block: Block) -> np.ndarray:
    """Margins [3, G] where `full_dot` alone may decide what is in doubt."""
    bounds = math.inf, full_bound(block.units.shape[1]), math.inf
    return np.repeat(np.array(bounds)[:, None], len(block.centres), axis=1)


def dot_bounds(dimension: int, longest: np.ndarray | float = 1.0) -> tuple:
    """Error bounds of the dot products COARSE, FOURS and FULL of `rank_doubt`, and at QUICK of `quick_dot`, of two rows
    the product of whose lengths is `longest` at most, or of many. All but FULL, which is of unit rows, round the rows to
    float32; FOURS rounds a term at most 4 times more, `quick_dot` does not."""
    coarse, fours, quick = (
        bound * longest + added_bound(dimension)
        for bound in (sum_bound(dimension, 2.0**-24), sum_bound(4, 2.0**-24), SLACK * 2.0**-23)
    )
    return coarse, fours, full_bound(dimension) + 0 * longest, quick


def sum_bound(dimension: int, unit: float) -> float:
    """g(d + 2, u), or infinity where it says nothing."""
    roundings = (dimension + 2) * unit
    return SLACK * roundings / (1 - roundings) if roundings < 0.5 else math.inf


def directions(n: int, dimension: int) -> np.ndarray:
    """Unit rows float64 [n, dimension] in random directions, always the same."""
    rows = np.random.default_rng(0).standard_normal((n, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
