"""The result of ranking; apart from `rank`, so that reading one does not load its compiled code."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """Ranks of Q queries; query q owns rows `offsets[q]` to `offsets[q + 1]` of `ranks`, `scores` and `exemplar`."""

    offsets: np.ndarray  # int64 [Q + 1]
    ranks: np.ndarray  # int64 [R], 1-based, rising within a query
    scores: np.ndarray  # float64 [R], cosine of query and exemplar
    exemplar: np.ndarray  # int64 [R], row of the exemplars
    neighbour_index: np.ndarray  # int64 [Q, k], database row, best first; -1 pads
    neighbour_score: np.ndarray  # float64 [Q, k], NaN pads
    query_valid: np.ndarray  # bool [Q]; False: the query has no ranks and no neighbours
    n_database: int  # valid database rows ranked
    n_database_invalid: int  # database rows skipped
    sizes: np.ndarray  # int64 [S], rising: ranks are also given among the first sizes[s] rows of the database
    ranks_at: np.ndarray  # int64 [S, R]
    n_database_at: np.ndarray  # int64 [S], valid rows among them
    hard_negatives: bool  # the exemplars of the other entries are candidates too, as database rows N + exemplar
