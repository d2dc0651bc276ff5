"""Decide what happens to equal scores, which is part of the definition of ranks.

A database row ranks above an exemplar when its score is at least the exemplar's less a tolerance: ties count against the
exemplar, as in a stable descending sort of [database, exemplars]. It is TOLERANCE of cosines, and 0 of scores from a file,
which may be of any size. Exemplars with equal scores are sorted by their row (`sorted_pairs`), and so are neighbours
(`scan.keep_best`).
"""

import numpy as np

TOLERANCE = 1e-9


def thresholds(scores: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Return the score from which on a database row ranks above an exemplar with each of `scores`, float64."""
    return scores - tolerance


def sorted_pairs(offsets: np.ndarray, pairs: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `scores` float64 [R] and `pairs` int64 [R], within each query by falling score, equal scores by exemplar."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((pairs, -scores, owner))
    return scores[order], pairs[order]
