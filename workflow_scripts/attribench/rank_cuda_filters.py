"""The products that a GPU filters with, their proven error bounds, and what the kernels write down; for `rank_cuda.py`.

**Bounds.** B(q) is such that the canonical score is within B(q) of the device's. Let q = q1 + e and x = x1 + f, where
q1 and x1 are rounded to float16; the lengths of e and f are measured, and hold the 2^-24 |q| of the float32 rows that
they are measured from. By Cauchy-Schwarz, q.x is within |e| |x| + |q1| |f| of q1.x1. This is the coarse filter. Where
it leaves too many in doubt, the fine one takes over, for three products instead of one: q = q1 + q2 + e and x = x1 + x2
+ f, where q2 and x2 are what rounding left, rounded to float16 in their turn (after a multiplication by 2048, so that
nothing is too small for it). q.x is within |e| |x| + |q1 + q2| |f| + |q2| |x2| of q1.x1 + q1.x2 + q2.x1.

**Sums.** A product of two float16 numbers is exact in float32. How tensor cores add is not documented. Measurements
(Fasi, Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA tensor cores, PeerJ Computer Science 7:e330, 2021)
find that they align a group of products and the sum so far to the largest of them, drop what is beyond float32's last
bit or a few bits more, and add: an error below one unit (2^-23 of the largest number) a term, and one for the result.
Of any of these numbers, the absolute value is at most |q1| |x1|, by Cauchy-Schwarz on the terms in it. Two units a term
are allowed here: g(2 D + 2, 2^-23) |q1| |x1| for D columns, with g as in `rank_filters`. The fine filter adds up parts
of 64 columns by float32 additions of its own: the parts' errors are at most g(2 64 + 2, 2^-23) sum |q1'| |x1'| over the
parts q1', x1', which is at most that times |q1| |x1|. `fault` compares the kernel with float64; a device that is wrong
by more is not used. What the canonical score's own rounding adds is `rank_filters.added_bound`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from triton.runtime.errors import OutOfResources

from attribench import rank_triton
from attribench.errors import InputError
from attribench.rank_blocks import SLACK
from attribench.rank_filters import LONGEST, added_bound, directions, sum_bound

_COLUMNS = 64  # multiplied at a time; rows are filled up to a multiple
_ROOM = 256  # rows of the database are rounded up to a multiple
# Queries x rows of a kernel's tile, warps and pipeline stages: the quickest that a device has the shared memory for is
# taken; the small one, for which there is room everywhere, where no other fits.
_SMALL = (64, 64, 4, 2)
_TILES = {
    False: [(128, 256, 8, 4), (128, 256, 8, 3), (128, 128, 4, 3), _SMALL],
    True: [(128, 128, 8, 3), _SMALL],
}
_TIMED = (4096, 8192)  # queries x rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operand:
    """Unit rows on the device: `full` float32, `high` and `low` float16 [n, D]; high + low / 2048 is nearly `full`.

    float64 [n]: `length` of a row, and of what the one float16 row leaves of it (`once`), and the two (`twice`).
    """

    full: torch.Tensor
    high: torch.Tensor
    low: torch.Tensor
    length: torch.Tensor
    once: torch.Tensor
    twice: torch.Tensor

    @classmethod
    def of(cls, units: np.ndarray, device: torch.device) -> "Operand":
        """The operand of unit rows float64 [n, d]."""
        n, d = units.shape
        full = torch.zeros((n, -(-d // _COLUMNS) * _COLUMNS), device=device)
        full[:, :d] = torch.from_numpy(units.astype(np.float32)).to(device)
        high = full.half()
        rest = full - high.float()  # exact, and so is what is left of it in the end
        low = (rest * 2048).half()
        length = _lengths(full)
        rounding = length * 2.0**-24  # to float32
        return cls(full, high, low, length, _lengths(rest) + rounding, _lengths(rest - low.float() / 2048) + rounding)

    @classmethod
    def joined(cls, parts: list["Operand"]) -> "Operand":
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def part(self, rows: slice) -> "Operand":
        return Operand(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def _lengths(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64) * SLACK


class Filter:
    """The coarse or the fine filter for rows of `dimension` columns."""

    def __init__(self, dimension: int, is_fine: bool):
        columns = -(-dimension // _COLUMNS) * _COLUMNS
        self.is_fine, self._added = is_fine, added_bound(dimension)
        self._chain = sum_bound(2 * (_COLUMNS if is_fine else columns), 2.0**-23)
        self._parts = sum_bound(columns // _COLUMNS + 2, 2.0**-24) if is_fine else 0.0
        self._cross = sum_bound(4 * columns, 2.0**-23) if is_fine else 0.0

    def sums(self, a: Operand, b: Operand) -> torch.Tensor:
        """What adding up costs at most, float64 [q], for each row of `a` with any row of `b`."""
        high, b_high = a.length + a.once, LONGEST + b.once.max()
        cross = high * (b.once + b.twice).max() + (a.once + a.twice) * b_high
        return (self._chain + self._parts) * high * b_high + self._cross * cross

    def bound(self, a: Operand, b: Operand) -> torch.Tensor:
        """B, float64 [q], for each row of `a` with any row of `b`."""
        if self.is_fine:
            inputs = a.twice * LONGEST + (a.length + a.twice) * b.twice.max()
            inputs += (a.once + a.twice) * (b.once + b.twice).max()
        else:
            inputs = a.once * LONGEST + (a.length + a.once) * b.once.max()
        return (inputs + self.sums(a, b) + self._added) * SLACK

    def find(self, a: Operand, b: Operand, limit: torch.Tensor, lists: "Lists") -> None:
        """Write to `lists` the groups of rows of `b` with a score that reaches `limit` float32 [q]."""
        _find(a, b, limit, lists, self.is_fine, _tile(a.full.device, a.full.shape[1], self.is_fine))


@dataclass(frozen=True)
class Lists:
    """What is found of q queries in a tile, with `room` places for each: as many as the tile has rows, or more.

    int32 [q]: how many groups are `found`, rows `doubtful`, pairs `left`. [q * room]: `score` float32 of the rows
    found, in groups of eight, `group` int32 [q * room / 8], the doubtful `row` int32. `code` int32 lies where `score`
    was.
    """

    found: torch.Tensor
    doubtful: torch.Tensor
    left: torch.Tensor
    group: torch.Tensor
    score: torch.Tensor
    row: torch.Tensor
    room: int

    @classmethod
    def empty(cls, n_queries: int, n_rows: int, storage: torch.Tensor) -> "Lists":
        """Empty lists in `storage`, int32 of at least `size` numbers."""
        room = room_of(n_rows)
        # Each starts at a multiple of 16 bytes, as all that kernels get: for others they would be compiled anew.
        counters = torch.zeros((3, -(-n_queries // 4) * 4), dtype=torch.int32, device=storage.device)[:, :n_queries]
        n = n_queries * room
        group, score, row = storage[2 * n : 2 * n + n // 8], storage[:n].view(torch.float32), storage[n : 2 * n]
        return cls(*counters, group, score, row, room)

    @staticmethod
    def size(n_queries: int, n_rows: int) -> int:
        return n_queries * (2 * room_of(n_rows) + room_of(n_rows) // 8)

    @property
    def code(self) -> torch.Tensor:
        return self.score.view(torch.int32)

    def matrix(self, n_rows: int) -> torch.Tensor:
        """The scores found, float64 [q, n_rows], NaN for the others."""
        scores = torch.full((len(self.found), self.room + _ROOM), np.nan, dtype=torch.float64, device=self.found.device)
        i = torch.arange(8, device=self.found.device)
        for query, n in enumerate(self.found.tolist()):
            start = query * self.room
            group = self.group[start // 8 : start // 8 + n, None].long()
            scores[query, 32 * (group // 4) + 8 * (i // 2) + 2 * (group % 4) + i % 2] = (
                self.score[start : start + 8 * n].view(n, 8).double()
            )
        return scores[:, :n_rows]


def room_of(n_rows: int) -> int:
    """The places in a query's list for `n_rows` rows."""
    return -(-n_rows // _ROOM) * _ROOM


def _find(a: Operand, b: Operand, limit: torch.Tensor, lists: Lists, is_fine: bool, tile: tuple) -> None:
    bm, bn, warps, stages = tile
    # Rows first: all of a block's stay in the device's cache, while each of the many queries is read once.
    grid = (-(-len(b.full) // bn), -(-len(a.full) // bm))
    operands = (a.high, a.low, b.high, b.low, limit, lists.found, lists.group, lists.score)
    shape = {"D": a.full.shape[1], "FINE": is_fine, "BM": bm, "BN": bn, "BK": _COLUMNS}
    sizes = (len(a.full), len(b.full), lists.room, 1.0)
    rank_triton.product[grid](*operands, *sizes, **shape, num_warps=warps, num_stages=stages)


@cache
def _tile(device: torch.device, columns: int, is_fine: bool) -> tuple:
    """The quickest of `_TILES`; in the interpreter the first."""
    if device.type != "cuda":
        return _TILES[is_fine][0]
    a, b = (Operand.of(directions(n, columns), device) for n in _TIMED)
    storage = torch.empty(Lists.size(*_TIMED), dtype=torch.int32, device=device)
    nothing = torch.full((_TIMED[0],), np.inf, device=device)
    seconds = {}
    for tile in _TILES[is_fine]:
        if seconds and tile == _SMALL:
            break
        try:
            run = partial(_find, a, b, nothing, Lists.empty(*_TIMED, storage), is_fine, tile)
            seconds[tile] = min(_seconds(run, device) for _ in range(4))  # the first time, it is compiled
        except OutOfResources as error:
            log.info("no tile of %s: %s", tile, error)
    if not seconds:
        raise InputError("this GPU has too little shared memory for a ranking")
    return min(seconds, key=seconds.get)


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


@cache
def fault(device: torch.device, dimension: int) -> str | None:
    """What is wrong with the filters on `device`, as this module's text and float64 see it."""
    units = directions(200, dimension)
    units[64:128] = np.abs(units[64:128])  # large sums of one sign
    units[128:160] = [1, *[6e-5] * (dimension - 1)]  # numbers that float16 holds with fewer bits
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    rows = Operand.of(units, device)
    high, low = rows.high.double(), rows.low.double() / 2048
    exact = {False: high @ high.T, True: high @ high.T + high @ low.T + low @ high.T}
    everything = torch.full((len(units),), -np.inf, device=device)
    for is_fine in (False, True):
        storage = torch.empty(Lists.size(len(units), len(units)), dtype=torch.int32, device=device)
        lists, kind = Lists.empty(len(units), len(units), storage), Filter(dimension, is_fine)
        kind.find(rows, rows, everything, lists)
        error = (lists.matrix(len(units)) - exact[is_fine]).abs() - kind.sums(rows, rows)[:, None]
        if not bool((error <= added_bound(dimension)).all()):  # NaN is where a score is missing
            name = "fine" if is_fine else "coarse"
            return f"the {name} product is wrong by {float(error.max()):.1e} more than assumed"
    return None
