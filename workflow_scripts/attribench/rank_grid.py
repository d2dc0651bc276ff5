"""The filters for rows on a grid: all values of a row are whole multiples of one number, its step. Codes of +1 and -1, say.

Very many of their scores are equal, or as good as equal. No product of the unit rows in low precision tells these apart, and
no centres help. But the product of the multiples, sum k_i l_i, is exact in float32, whatever the order: by Cauchy-Schwarz
no sum of some of its terms is larger than |k| |l|, and all are whole numbers; up to 2^24 these have no rounding. Times both
steps it is the score, but for float64 rounding: the values are within 1.2 * 2^-50 of themselves of the multiples
(`rank_groups`), which changes a score by less than 2.5 * 2^-50, and the products with the steps by 2^-52.

Where a query has its own step, and many rows share one, the thresholds are divided by both, and the whole numbers counted.
Where rows have steps of their own, each whole number is multiplied by its row's, in float64, when it is counted.
"""

import numpy as np

from attribench.rank_blocks import Block, Queries, Rows
from attribench.rank_doubt import FULL
from attribench.rank_filters import LONGEST, Float32Filter, Float64Filter, only_full
from attribench.rank_scan import scan_steps_tile

_EXACT = 2.0**24


class GridFilter(Float32Filter):
    """The float32 product of whole numbers, by BLAS."""

    name = "grid"
    is_centred = False
    is_whole = True
    finer_dot = FULL

    def fits(self, queries: Queries, block: Block) -> bool:
        is_on_grids = block.steps is not None and queries.row_steps is not None
        return is_on_grids and is_exact(queries.row_steps, block.steps)

    def rows(self, block: Block) -> Rows:
        return _whole(block, block.steps[block.group])

    def query_rows(self, queries: Queries) -> Rows:
        return _whole(queries, queries.row_steps)

    def bound(self, queries: Rows, block: Block) -> np.ndarray:
        return np.full((len(queries.length), len(block.centres)), self._added + 2.0**-48)

    def margins(self, queries: Queries, block: Block) -> np.ndarray:
        return only_full(block)

    def scale(self, queries: Rows, block: Block) -> np.ndarray:
        return np.outer(queries.length, block.steps)


class StepsFilter(Float64Filter):
    """The float32 product of whole numbers, by BLAS, to be multiplied by the steps of both rows in float64."""

    name = "steps"
    dtype = np.float32
    nothing = np.float32(-np.inf)
    scan = staticmethod(scan_steps_tile)
    product = Float32Filter.product

    def __init__(self, dimension: int):
        super().__init__(dimension)
        self._added += 2.0**-48

    def fits(self, queries: Queries, block: Block) -> bool:
        if queries.row_steps is None or block.row_steps is None:
            return False
        return is_exact(queries.row_steps, block.row_steps)

    def rows(self, block: Block) -> Rows:
        return _whole(block, block.row_steps)

    query_rows = rows

    def scale(self, queries: Rows, block: Block) -> np.ndarray:
        return np.repeat(queries.length[:, None], len(block.centres), axis=1)

    def steps(self, block: Block) -> np.ndarray:
        return block.row_steps

    def is_for_groups(self, block: Block) -> bool:
        return block.shares_steps


def is_exact(query_steps: np.ndarray, steps: np.ndarray) -> bool:
    """Whether float32 holds the whole numbers of rows with these steps."""
    return bool(LONGEST**2 < _EXACT * steps.min(initial=1) * query_steps.min(initial=1))


def _whole(block: Block, steps: np.ndarray) -> Rows:
    """The multiples; `length` of these rows are the `steps` [n], for `scale`."""
    whole = np.empty(block.units.shape, np.float32)

    def work(part: slice) -> None:
        whole[part] = np.rint(block.units[part] / steps[part, None])

    block.over_parts(work)
    return Rows(whole, np.zeros(len(whole)), steps)
