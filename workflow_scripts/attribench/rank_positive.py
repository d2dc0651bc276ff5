"""The filter for rows without a value below 0: histograms, probabilities of classes.

Where few values are much larger than all others, very many scores are little more than 0, of rows whose large values are in
other columns, and so are thresholds. A bound by Cauchy-Schwarz holds for all rows of a length, however little they share.
But where no term is below 0, rounding each of them at most n times changes a sum w by at most g(n, 2^-24) w
(`rank_filters`): a bound that shrinks with the score. Centres would take that away, so the rows are multiplied as they are.
"""

import numpy as np

from attribench.rank_blocks import Block, Queries, Rows
from attribench.rank_filters import Float32Filter, full_bound, only_full

_LARGEST_RELATIVE = 2.0**-7  # that `rank_scan` allows for


class PositiveFilter(Float32Filter):
    """The float32 product of the rows as they are, by BLAS."""

    name = "positive"
    is_centred = False

    def __init__(self, dimension: int):
        super().__init__(dimension)
        self.relative, self._added = self._any_order, full_bound(dimension)

    def fits(self, queries: Queries, block: Block) -> bool:
        is_fine = self.relative < _LARGEST_RELATIVE
        return is_fine and queries.is_positive and block.is_positive

    def rows(self, block: Block) -> Rows:
        rows = block.units.astype(np.float32) if block.is_centred else block.rows32
        return Rows(rows, np.zeros(len(rows)), np.ones(len(rows)))

    query_rows = rows

    def bound(self, queries: Rows, block: Block) -> np.ndarray:
        return np.full((len(queries.length), len(block.centres)), self._added)

    def margins(self, queries: Queries, block: Block) -> np.ndarray:
        if queries.is_centred or block.is_centred:  # then the dot products are those of other rows
            return only_full(block)
        return super().margins(queries, block)
