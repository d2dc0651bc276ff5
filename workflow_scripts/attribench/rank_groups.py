"""Groups of rows among which scores are closer to each other, or to a tie, than a product in low precision can see.

Near copies of a few images are one kind: all of a query's pairs with the copies of its exemplar are in doubt. Less the
centre of their group (`rank_filters`), rows are told apart as well as any.

Rows on a grid are the other: all values of a row are whole multiples of the least one but 0, its step. Rows with the same
step are a group, whose scores a product of whole numbers tells exactly (`rank_grid`).

Groups are looked for only where there is much doubt. How rows are grouped never shows in a result.
"""

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from attribench.compiled import compiled

_SAMPLE = 256  # rows among which groups are looked for
_NEAR = 0.1  # from a row of a group to another one, at most
_FEWEST = 16  # rows of a group: with fewer, the work for a group outweighs that for its rows
_FEWEST_ON_GRID = 512  # the same for rows on a grid, in the mean: beside float64, which would tell them apart too
_LOOKS = 3  # that are taken, each at a sample of the rows left over
_FEW_LEFT = 1 / 64  # of the rows: then no further look is taken
_WORTH = 0.5  # of the rows at least have to be in groups
_CENTRE_OF = 16  # rows whose mean is a group's centre
_STEP = 1024  # rows that a thread looks at at a time
_COLUMNS = 64  # after so many it looks whether there is a value off the grid
_OFF_GRID = 2.0**-50  # from a multiple of the step, times the value: more than the rounding of a unit row


@dataclass(frozen=True)
class Groups:
    """Groups of consecutive rows: starts[g] to starts[g + 1] are around centres[g]; int64 [G + 1] and float64 [G, d].

    Those of rows on a grid have `steps` float64 [G], and their centres are 0.
    """

    starts: np.ndarray
    centres: np.ndarray
    steps: np.ndarray | None = None

    @classmethod
    def one(cls, centre: np.ndarray, n: int) -> "Groups":
        """One group of all `n` rows."""
        return cls(np.array([0, n]), centre[None])


def find_grid(units: np.ndarray, pool: Executor | None = None) -> tuple[np.ndarray, Groups | None]:
    """An order [n] of the unit rows float64 [n, d], and groups of one step each in that order; None for these where some row
    is on no grid, or where few rows share a step."""
    as_it_is = np.arange(len(units))
    steps = find_steps(units, pool.map if pool else map)
    if steps is None or not len(units):
        return as_it_is, None
    if not share_steps(steps):
        return as_it_is, None
    order = np.argsort(steps, kind="stable")
    starts = np.flatnonzero(np.diff(steps[order], prepend=-1))
    centres = np.zeros((len(starts), units.shape[1]))
    return order, Groups(np.append(starts, len(units)), centres, steps[order[starts]])


def share_steps(steps: np.ndarray) -> bool:
    """Whether many rows have each of the `steps` [n]."""
    return len(np.unique(steps)) <= max(1, len(steps) / _FEWEST_ON_GRID)


def find_steps(units: np.ndarray, over=map) -> np.ndarray | None:
    """The step of each of the unit rows float64 [n, d]: float64 [n], 1 where all is 0; None if some row is on no grid.

    `over` is `map`, or that of an executor.
    """
    steps = np.empty(len(units))
    first = slice(_CENTRE_OF)
    _find_steps(units[first], steps[first])
    if not steps[first].all():
        return None
    parts = [slice(start, start + _STEP) for start in range(0, len(units), _STEP)]
    list(over(lambda part: _find_steps(units[part], steps[part]), parts))
    return steps if steps.all() else None


@compiled
def _find_steps(units, steps):
    """Write the least absolute value of each row but 0 to `steps`, or 0 where not all values are multiples of it."""
    for i in range(units.shape[0]):
        row, step = units[i], np.inf
        for j in range(row.shape[0]):
            step = min(step, abs(row[j]) if row[j] != 0 else np.inf)
        steps[i] = step if step < np.inf else 1.0
        for start in range(0, row.shape[0], _COLUMNS):
            is_multiple = True
            for value in row[start : start + _COLUMNS]:
                is_multiple &= abs(value - np.rint(value / steps[i]) * steps[i]) <= _OFF_GRID * abs(value)
            if not is_multiple:
                steps[i] = 0
                break


def find_groups(units: np.ndarray, pool: Executor | None = None) -> tuple[np.ndarray, Groups | None]:
    """An order [n] of the unit rows float64 [n, d], and the groups in that order; None for these where most rows are alone.

    Rows that are in no group come first, around 0.
    """
    group, n_groups = np.full(len(units), -1), 0
    for look in range(_LOOKS):
        left = np.flatnonzero(group < 0)
        if len(left) <= _FEW_LEFT * len(units):
            break
        chosen = np.random.default_rng(look).choice(left, min(len(left), _SAMPLE), replace=False)
        leaders = _leaders(units[chosen].astype(np.float32))
        if not len(leaders):
            break
        parts = [left[start : start + _STEP] for start in range(0, len(left), _STEP)]
        nearest = list((pool.map if pool else map)(lambda rows, to=leaders: _nearest(units[rows], to), parts))
        leader, is_near = (np.concatenate(found) for found in zip(*nearest, strict=True))
        group[left[is_near]] = n_groups + leader[is_near]
        n_groups += len(leaders)
    sizes = np.bincount(group + 1, minlength=n_groups + 1)
    group[(sizes < _FEWEST)[group + 1]] = -1
    if (group >= 0).sum() < max(_WORTH * len(units), 1):
        return np.arange(len(units)), None
    order = np.argsort(group, kind="stable")
    in_order = group[order]
    starts = np.flatnonzero(np.diff(in_order, prepend=-2))
    first = [units[order[start : start + _CENTRE_OF]] for start in starts]
    ends = np.append(starts[1:], len(units))
    centres = np.stack([rows[: end - start].mean(axis=0) for rows, start, end in zip(first, starts, ends, strict=True)])
    centres[in_order[starts] < 0] = 0
    return order, Groups(np.append(starts, len(units)), centres)


def _leaders(sample: np.ndarray) -> np.ndarray:
    """Some of the unit rows `sample` float32 [s, d], none near another, each of which others are near to."""
    near = (sample @ sample.T >= 1 - _NEAR**2 / 2).astype(np.float32)
    leaders, n_near = [], near.sum(axis=1)
    while n_near.max(initial=0) >= 2:
        leader = n_near.argmax()
        members = near[leader].copy()
        leaders.append(leader)
        n_near -= near @ members
        near *= 1 - members
        n_near[members > 0] = 0
    return sample[leaders]


def _nearest(units: np.ndarray, leaders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of the unit rows: the number of the nearest of the unit rows `leaders`, and whether it is near."""
    scores = units.astype(np.float32) @ leaders.T
    best = scores.argmax(axis=1)
    return best, scores[np.arange(len(units)), best] >= 1 - _NEAR**2 / 2
