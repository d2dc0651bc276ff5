"""Which of `rank_filters` a tile of scores is computed with. The choice never shows in a result.

Importing torch takes seconds. So the float32 product is used until ranking has taken longer than that, which small rankings
never do. Then all are timed, on rows of the dimension at hand. bf16 is quicker than float32 and leaves more pairs in doubt,
float64 slower and leaves none; how many depends on the thresholds. So before each tile, a few exact scores of its own tell
what share each filter would leave, and the cheapest one is taken; one that no tile of a block took is left out for some
blocks, whose rows it need not have ready. Filters for rows of a kind (`rank_grid`, `rank_sparse`, `rank_positive`) are
among them where they fit. If even the cheapest costs much more than the float32 product, there may be copies or near copies
in mass, or rows on a grid; nor is a filter always the quickest one that there is for rows whose steps are the same. Then
the next blocks are searched for copies (`rank_copies`) and groups (`rank_groups`).
"""

import math
import time
from functools import partial
from typing import NamedTuple

import numpy as np

from attribench.errors import InputError
from attribench.rank_blocks import Block, Queries, Rows
from attribench.rank_doubt import FULL
from attribench.rank_filters import FILTERS, Float32Filter, directions
from attribench.rank_grid import GridFilter, StepsFilter
from attribench.rank_kernels import coarse_dots, full_dots
from attribench.rank_positive import PositiveFilter
from attribench.rank_sparse import SparseFilter

PATIENCE = 3.0  # seconds of ranking, of all threads together, before other filters than float32 are tried
_SAMPLE_QUERIES, _SAMPLE_ROWS = 8, 64
_OF_PAIR = {"pair": 1.5, "full": 3.0}  # what a pair in doubt takes, found and counted, in dot products
_STEPS = 1.1  # times the float32 product, that whole numbers take which are multiplied by steps, too
_REST = 16  # blocks without a filter that no tile took
_HARD = 1.25  # times the float32 product, that the cheapest filter takes


class Offer(NamedTuple):
    """A filter for a tile of queries and a block of rows: the queries as it multiplies them, B [q, G], its scores' shifts
    [q, G], and its margins [3, G]."""

    kind: Float32Filter
    operand: Rows
    bound: np.ndarray
    shift: np.ndarray
    margins: np.ndarray


class Choice:
    """Which filter a tile of scores is computed with; `forced` is the name of one, or None for the cheapest."""

    def __init__(self, dimension: int, forced: str | None = None):
        if forced not in (None, *FILTERS):
            raise InputError(f"use_filter is {forced!r}; expected None or one of {', '.join(FILTERS)}")
        self._dimension, self._is_tried = dimension, forced is not None
        self._filters = [FILTERS[forced or "float32"](dimension)]
        if forced and not self._filters[0].is_trusted(dimension):
            raise InputError(f"use_filter is {forced!r}, which this machine cannot do; expected None")
        self._waited = 0.0
        self._resting: dict[str, int] = {}  # for how many blocks a filter is left out
        self._picked: set[str] = set()  # of the block at hand
        self.is_hard = False  # whether groups of rows are worth looking for, as where there is much doubt
        self.seconds: dict[str, float] = {}  # that a score takes with a filter, and a pair in doubt

    def note(self, seconds: float) -> None:
        """That a thread has ranked for `seconds`."""
        self._waited += seconds

    def filters(self) -> list:
        """The filters that may be chosen for the next tiles. To be called where a product is to keep to one thread."""
        if not self._is_tried and self._waited > PATIENCE:
            self._is_tried = True
            self._try_all()
        return [self._filters[0], *(kind for kind in self._filters[1:] if not self._resting.get(kind.name))]

    def rest(self, offered: list) -> None:
        """That of the filters `offered` for a block, those that no tile took may rest, until what is left costs much."""
        self._resting = {name: blocks - 1 for name, blocks in self._resting.items() if blocks > 1}
        if self._picked:
            self._resting.update({kind.name: _REST for kind in offered if kind.name not in self._picked})
        self._picked.clear()

    def pick(self, offers: list, queries: np.ndarray, block: Block, pairs: tuple) -> int:
        """The position in `offers` of the cheapest for a tile of `queries` [q, d] and a `block`.

        `pairs` are the tile's offsets [q + 1] into the thresholds, and these.
        """
        if not self.seconds:
            return 0
        chosen = np.linspace(0, len(queries) - 1, _SAMPLE_QUERIES).astype(int)
        rows = np.linspace(0, len(block.units) - 1, _SAMPLE_ROWS).astype(int)
        scores, of_pairs = queries[chosen] @ block.units[rows].T, np.ix_(chosen, block.group[rows])
        distance = np.array([_distance(scores[i], _of(pairs, q)) for i, q in enumerate(chosen)])
        costs = []
        for kind, operand, bound, shift, margins in offers:
            near = bound[of_pairs] + kind.relative * np.abs(scores - shift[of_pairs])
            product = self.seconds[kind.name] * kind.work(operand, self._dimension)
            nearer = np.minimum(near, margins[0, block.group[rows]])  # those that the finer dot product leaves, too
            finer = 0.0 if kind.finer_dot == FULL else self.seconds["pair"] * (distance < near).mean()
            costs.append(product + finer + self.seconds["full"] * (distance < nearer).mean())
        best = int(np.argmin(costs))
        kind = offers[best].kind
        self._picked.add(kind.name)
        if costs[best] > _HARD * self.seconds["float32"]:
            self._resting.clear()
            self.is_hard = True
        if kind.is_for_groups(block):
            self.is_hard = True
        return best

    def _try_all(self) -> None:
        """Take all filters into account that the machine can be trusted with, and what a score and a pair in doubt cost."""
        kinds = [kind(self._dimension) for kind in (*FILTERS.values(), SparseFilter)]
        self._filters = [kind for kind in kinds if kind.is_trusted(self._dimension)]
        units = directions(2048, self._dimension)
        block = Block(units, centred=False)
        for kind in self._filters:
            queries = Queries(kind.usual(units[:512]), centred=False).rows(kind)
            out = np.empty((512, 2048), kind.dtype)
            self.seconds[kind.name] = _quickest(partial(kind.product, queries, block.rows(kind), out)) / out.size
        for kind in (GridFilter, StepsFilter, PositiveFilter):  # for rows that they fit; float32 products, all
            self._filters.append(kind(self._dimension))
            self.seconds[kind.name] = (_STEPS if kind is StepsFilter else 1.0) * self.seconds["float32"]
        order = np.random.default_rng(0).permutation(2048)  # as when pairs are decided
        for name, dots, rows in (("pair", coarse_dots, block.rows32), ("full", full_dots, units)):
            self.seconds[name] = _OF_PAIR[name] * _quickest(partial(dots, rows[:64], rows, order)) / (64 * len(order))


def _of(pairs: tuple, query: int) -> np.ndarray:
    offsets, threshold = pairs
    return threshold[offsets[query] : offsets[query + 1]]


def _distance(scores: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """From each of `scores` [r] to the nearest of the falling `threshold` [m]."""
    return np.abs(scores[:, None] - threshold[None, :]).min(axis=1, initial=math.inf)


def _quickest(run) -> float:
    times = []
    for _ in range(4):  # the first one compiles, or fills the caches
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
