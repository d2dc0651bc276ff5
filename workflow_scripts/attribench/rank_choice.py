"""Which of `rank_filters` a tile of scores is computed with. The choice never shows in a result.

Importing torch takes seconds. So the float32 product is used until ranking has taken longer than that, which small rankings
never do. Then all are timed, on rows of the dimension at hand. bf16 is quicker than float32 and leaves more pairs in doubt,
float64 slower and leaves none; how many depends on the thresholds. So before each tile, a few exact scores of its own tell
what share each filter would leave, and the cheapest one is taken. Filters for rows of a kind (`rank_grid`, `rank_positive`)
are among them where they fit. If even the cheapest costs much more than the float32 product, there may be near copies in
mass, or rows on a grid: the next blocks are searched for groups of them (`rank_groups`).
"""

import math
import time

import numpy as np

from attribench.errors import InputError
from attribench.rank_blocks import Block
from attribench.rank_filters import FILTERS, directions
from attribench.rank_grid import GridFilter
from attribench.rank_kernels import coarse_dots
from attribench.rank_positive import PositiveFilter

PATIENCE = 3.0  # seconds of ranking, of all threads together, before other filters than float32 are tried
_SAMPLE_QUERIES, _SAMPLE_ROWS = 8, 64
_HARD = 1.25  # times the float32 product, that the cheapest filter takes


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
        self.is_hard = False  # whether there was much doubt, so that groups of rows are worth looking for
        self.seconds: dict[str, float] = {}  # that a score takes with a filter, and a pair in doubt

    def note(self, seconds: float) -> None:
        """That a thread has ranked for `seconds`."""
        self._waited += seconds

    def filters(self) -> list:
        """The filters that may be chosen for the next tiles. To be called where a product is to keep to one thread."""
        if not self._is_tried and self._waited > PATIENCE:
            self._is_tried = True
            self._try_all()
        return self._filters

    def pick(self, filters: list, bounds: list, shifts: list, queries: np.ndarray, block: Block, pairs: tuple) -> int:
        """The position in `filters` of the cheapest for a tile of `queries` [q, d] and a `block`.

        `bounds` are B [q, G] of each filter, `shifts` [q, G] its scores' shifts; `pairs` are the tile's offsets [q + 1] into
        the thresholds, and these.
        """
        if len(filters) == 1:
            return 0
        chosen = np.linspace(0, len(queries) - 1, _SAMPLE_QUERIES).astype(int)
        rows = np.linspace(0, len(block.units) - 1, _SAMPLE_ROWS).astype(int)
        scores, of_pairs = queries[chosen] @ block.units[rows].T, np.ix_(chosen, block.group[rows])
        distance = np.array([_distance(scores[i], _of(pairs, q)) for i, q in enumerate(chosen)])
        costs = []
        for kind, bound, shift in zip(filters, bounds, shifts, strict=True):
            near = bound[of_pairs] + kind.relative * np.abs(scores - shift[of_pairs])
            costs.append(self.seconds[kind.name] + self.seconds["pair"] * (distance < near).mean())
        self.is_hard |= min(costs) > _HARD * self.seconds["float32"]
        return int(np.argmin(costs))

    def _try_all(self) -> None:
        """Take all filters into account that the machine can be trusted with, and what a score and a pair in doubt cost."""
        kinds = [kind(self._dimension) for kind in FILTERS.values()]
        self._filters = [kind for kind in kinds if kind.is_trusted(self._dimension)]
        block = Block(directions(2048, self._dimension), centred=False)
        for kind in self._filters:
            rows = block.rows(kind)
            queries, out = rows.part(slice(512)), np.empty((512, 2048), kind.dtype)
            self.seconds[kind.name] = _quickest(lambda k=kind, q=queries, r=rows, o=out: k.product(q, r, o)) / out.size
        for kind in (GridFilter, PositiveFilter):  # for rows that they fit; float32 products, both
            self._filters.append(kind(self._dimension))
            self.seconds[kind.name] = self.seconds["float32"]
        rows32, order = block.rows32, np.random.default_rng(0).permutation(2048)  # as when pairs are decided
        self.seconds["pair"] = 1.5 * _quickest(lambda: coarse_dots(rows32[:64], rows32, order)) / (64 * len(order))


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
