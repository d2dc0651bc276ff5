"""Unit rows as the filters of the ranking take them: less the centre of their group (`rank_filters` says why)."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from attribench.rank_groups import Groups, find_steps, share_steps
from attribench.rank_kernels import less_centre

SLACK = 1.0001  # for the float64 arithmetic of the bounds themselves
_STEP = 2048  # rows that a thread converts at a time
_CENTRE_OF = 512  # rows whose mean is the centre
_WORTH_A_CENTRE = 0.9  # if it leaves no row longer than this
_FEW_ROWS = 16  # that are looked at before all are


@dataclass(frozen=True)
class Rows:
    """Rows as a filter multiplies them: `data` [n, d]; lengths [n] of what rounding took and left.

    `weighted` [n] are their lengths when each column counts as often as the float32 product rounds its term. `centre` is the
    length of the centre that queries are without.
    """

    data: object
    residual: np.ndarray
    length: np.ndarray
    weighted: np.ndarray | None = None
    centre: float = 0.0

    def part(self, rows: slice) -> "Rows":
        lengths = {name: getattr(self, name) for name in ("residual", "length", "weighted")}
        kept = {name: values[rows] for name, values in lengths.items() if values is not None}
        return replace(self, data=self.data[rows], **kept)


class Block:
    """Unit rows float64 [n, d] less the centre of their group, for the filters and the dot products.

    `centres` float64 [G, d] are those of the groups; `group` [n] is each row's, in order: starts[g] to starts[g + 1] is g.
    `rows32` float32 [n, d] are the rows less their centres; none of these is longer than its group's `longest` [G].
    Without `groups`, there is one. Without `centred`, its centre is 0. `steps` [G] are those of rows on a grid, else None.
    `copies` int64 [n + 1], else None: row i stands for the database's from copies[i] to copies[i + 1] (`rank_copies`).
    """

    def __init__(
        self,
        units: np.ndarray,
        pool: Executor | None = None,
        centred: bool = True,
        groups: Groups | None = None,
        copies: np.ndarray | None = None,
    ):
        self.units, self.copies, self._map = units, copies, pool.map if pool else map
        self.rows32 = np.empty(units.shape, np.float32)
        self._rows: dict[str, Rows] = {}
        if groups is not None:
            self.is_centred = groups.steps is None
            self._take(groups)
            return
        self.is_centred = False
        mean = units[:: -(-len(units) // _CENTRE_OF) or 1].mean(axis=0) if centred and len(units) else np.zeros(1)
        if mean @ mean > 1 - _WORTH_A_CENTRE**2:
            self._take(Groups.one(mean, len(units)))
            self.is_centred = bool(self.longest[0] <= _WORTH_A_CENTRE)
        if not self.is_centred:
            self._take(Groups.one(np.zeros(units.shape[1]), len(units)))

    def _take(self, groups: Groups) -> None:
        self.centres, self.starts, self.steps = groups.centres, groups.starts, groups.steps
        self.group = np.repeat(np.arange(len(self.centres)), np.diff(self.starts))
        length = np.empty(len(self.units))
        self.over_parts(
            lambda part: less_centre(self.units[part], self.centres, self.group[part], self.rows32[part], length[part])
        )
        self.longest = self.largest(length) * SLACK

    @cached_property
    def is_positive(self) -> bool:
        """Whether no value is below 0."""
        has_some = (self.units[:_FEW_ROWS] < 0).any()
        return not has_some and all(self.over_parts(lambda part: bool((self.units[part] >= 0).all())))

    @cached_property
    def n_terms(self) -> int:
        """How many values are not 0."""
        return int(np.count_nonzero(self.units))

    @cached_property
    def row_steps(self) -> np.ndarray | None:
        """The step of each row [n], if all are on grids."""
        return find_steps(self.units, self._map)

    @cached_property
    def shares_steps(self) -> bool:
        """Whether many rows have each of the `row_steps`."""
        return self.row_steps is not None and share_steps(self.row_steps)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """The largest of the `values` [n] of each group's rows: [G], 0 where there are none."""
        return np.maximum.reduceat(values, self.starts[:-1]) if len(values) else np.zeros(len(self.centres))

    def shift(self, queries: np.ndarray) -> np.ndarray:
        """What the centres of the groups add to the scores of unit `queries` [q, d]: float64 [q, G]."""
        return queries @ self.centres.T if self.is_centred else np.zeros((len(queries), len(self.centres)))

    def over_parts(self, work) -> list:
        """What `work` returns for each of the slices that cover the rows, by several threads if there are."""
        starts = range(0, len(self.units), _STEP)
        return list(self._map(work, [slice(start, start + _STEP) for start in starts]))

    def rows(self, kind) -> Rows:
        """What the filter `kind` multiplies."""
        if kind.name not in self._rows:
            self._rows[kind.name] = self._converted(kind)
        return self._rows[kind.name]

    def _converted(self, kind) -> Rows:
        return kind.rows(self)


class Queries(Block):
    """Unit queries float64 [q, d] less their centre: one group."""

    @property
    def centre(self) -> np.ndarray:
        return self.centres[0]

    def _converted(self, kind) -> Rows:
        return kind.query_rows(self)

    def tilt(self, block: Block) -> np.ndarray:
        """What the queries' centre adds to the scores of each row of `block`: float64 [n]."""
        if not self.is_centred:
            return np.zeros(len(block.units))
        return block.units @ self.centre - (block.centres @ self.centre)[block.group]
