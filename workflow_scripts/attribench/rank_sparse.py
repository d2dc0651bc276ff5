"""The filter for sparse queries: codes of sparse autoencoders, bags of words, histograms, of either sign.

Very many of their scores are 0 or little more, of rows that share hardly a column, and so are thresholds. A bound for a
product in low precision holds for all rows of a length, however little they share, and leaves them all in doubt. But with
few terms that are not 0, float64 takes less time than float32 does with all. They are added in the order of the canonical
score, which the terms of 0 change no bit of, but for the sign of a 0.
"""

from dataclasses import dataclass

import numpy as np

from attribench.compiled import compiled
from attribench.rank_blocks import Block, Queries, Rows
from attribench.rank_filters import Float64Filter

_PANEL = 128  # rows whose columns, and as many sums, are near at hand together
_USUAL = 1 / 8  # of the values, when it is seen how long a product takes
_MOST = 0.2  # of a query's values may differ from 0, in the mean: with more, float32 is quicker by far
_OTHER_WORK = 12  # for a score, in terms
_IN_A_TILE = 1.2  # times what it takes alone: many queries' terms are far from the processor, float64 is longer to scan


@dataclass(frozen=True)
class Terms:
    """The values of queries that are not 0: those of query q are start[q] to start[q + 1] of `column` and `value`."""

    start: np.ndarray
    column: np.ndarray
    value: np.ndarray

    def __getitem__(self, part: slice) -> "Terms":
        """Those of some of the queries."""
        first, last, _ = part.indices(len(self.start) - 1)
        return Terms(self.start[first : last + 1], self.column, self.value)


class SparseFilter(Float64Filter):
    """The float64 product of the rows as they are, leaving out the terms of 0 of the queries."""

    name = "sparse"

    def fits(self, queries: Queries, block: Block) -> bool:
        return queries.n_terms <= _MOST * queries.units.size  # known before all terms are listed, in much memory

    def rows(self, block: Block) -> Rows:
        """Panels of _PANEL rows, column by column: float64 [n / _PANEL, d, _PANEL]."""
        n, d = block.units.shape
        panels = np.zeros((-(-n // _PANEL), d, _PANEL))
        block.over_parts(lambda part: _transpose(block.units[part], panels[part.start // _PANEL :]))
        return Rows(panels, np.zeros(n), np.ones(n))

    def query_rows(self, queries: Queries) -> Rows:
        """Their `Terms`; as the `length`, how many each has."""
        row, column = np.nonzero(queries.units)
        count = np.bincount(row, minlength=len(queries.units))
        terms = Terms(np.append(0, np.cumsum(count)), column.astype(np.uintp), queries.units[row, column])
        return Rows(terms, np.zeros(len(count)), count.astype(np.float64))

    def product(self, queries: Rows, rows: Rows, out: np.ndarray, tilt: np.ndarray | None = None) -> None:
        terms = queries.data
        _multiply(terms.start, terms.column, terms.value, rows.data, out)

    def bound(self, queries: Rows, block: Block) -> np.ndarray:
        return np.zeros((len(queries.length), len(block.centres)))

    def usual(self, queries: np.ndarray) -> np.ndarray:
        return queries * (np.random.default_rng(0).random(queries.shape) < _USUAL)

    def work(self, queries: Rows, dimension: int) -> float:
        return _IN_A_TILE * (queries.length.mean() + _OTHER_WORK) / (_USUAL * dimension + _OTHER_WORK)


@compiled
def _transpose(units, panels):
    """Write rows [n, d] to the first of the `panels` [p, d, _PANEL]."""
    for start in range(0, units.shape[0], _PANEL):
        panel = panels[start // _PANEL]
        for i in range(min(_PANEL, units.shape[0] - start)):
            for j in range(units.shape[1]):
                panel[j, i] = units[start + i, j]


@compiled
def _multiply(start, column, value, panels, out):
    """Write the scores of all queries with all rows to `out` [q, n]."""
    total = np.empty(_PANEL)
    for p in range(panels.shape[0]):
        panel, first = panels[p], p * _PANEL
        n = min(_PANEL, out.shape[1] - first)
        for q in range(out.shape[0]):
            total[:] = 0
            k, end = start[q], start[q + 1]
            while k + 4 <= end:  # four at a time: a sum is loaded and stored once for them
                a, b, c, d = value[k], value[k + 1], value[k + 2], value[k + 3]
                x, y, z, w = panel[column[k]], panel[column[k + 1]], panel[column[k + 2]], panel[column[k + 3]]
                for i in range(_PANEL):
                    total[i] = (((total[i] + a * x[i]) + b * y[i]) + c * z[i]) + d * w[i]
                k += 4
            while k < end:
                a, x = value[k], panel[column[k]]
                for i in range(_PANEL):
                    total[i] += a * x[i]
                k += 1
            scores = out[q, first : first + n]
            for i in range(n):
                scores[i] = total[i]
