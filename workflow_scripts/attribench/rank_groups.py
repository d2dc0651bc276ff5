"""Groups of rows that lie close together: near copies of a few images.

Among them scores are closer to each other than a product in low precision can see, and all of a query's pairs with the
copies of its exemplar are in doubt. Less the centre of their group (`rank_filters`), rows are told apart as well as any.
Groups are looked for only where there is much doubt. How rows are grouped never shows in a result.
"""

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

_SAMPLE = 256  # rows among which groups are looked for
_NEAR = 0.1  # from a row of a group to another one, at most
_FEWEST = 16  # rows of a group: with fewer, the work for a group outweighs that for its rows
_LOOKS = 3  # that are taken, each at a sample of the rows left over
_FEW_LEFT = 1 / 64  # of the rows: then no further look is taken
_WORTH = 0.5  # of the rows at least have to be in groups
_CENTRE_OF = 16  # rows whose mean is a group's centre
_STEP = 1024  # rows that a thread looks at at a time


@dataclass(frozen=True)
class Groups:
    """Groups of consecutive rows: starts[g] to starts[g + 1] are around centres[g]; int64 [G + 1] and float64 [G, d]."""

    starts: np.ndarray
    centres: np.ndarray

    @classmethod
    def one(cls, centre: np.ndarray, n: int) -> "Groups":
        """One group of all `n` rows."""
        return cls(np.array([0, n]), centre[None])


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
