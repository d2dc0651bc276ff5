"""Add up over the database what a ranking needs: counts at each exemplar, and each query's best neighbours.

Counts are kept apart for the stretches of rows between the database sizes at which ranks are wanted, so that one pass over
the database gives the ranks among its first n images for every n of `sizes`.
"""

from itertools import pairwise

import numpy as np

from attribench.common.errors import InputError
from attribench.formats.ranking import Ranks
from attribench.rank.ties import TOLERANCE, thresholds


class Tally:
    """Hold counts and neighbours of Q queries, of which `query_valid` [Q] are ranked.

    The i-th valid query owns pairs offsets[i] to offsets[i + 1] of `scores` float64 [R] and `exemplar` int64 [R], sorted
    by falling score (equal scores by exemplar). `sizes` [S] are the database sizes, in images, at which ranks are wanted
    besides that of the whole. A row ranks above a pair's exemplar when its score reaches the pair's `threshold`.

    A scan of rows in `stretch` adds to `counts[stretch]` [R], and merges into `top_score`, `top_index` [valid queries, k].
    """

    def __init__(
        self, query_valid: np.ndarray, offsets, scores, exemplar, top_k: int, sizes: list[int], tolerance=TOLERANCE
    ):
        self.query_valid, self.offsets, self.scores, self.exemplar = query_valid, offsets, scores, exemplar
        self.sizes = np.array(sizes, np.int64)
        self.threshold = thresholds(scores, tolerance)
        self.counts = np.zeros((len(sizes) + 1, len(scores)), np.int64)
        self.top_score = np.full((query_valid.sum(), top_k), -np.inf)
        self.top_index = np.full((query_valid.sum(), top_k), -1, np.int64)
        self.n_rows = 0
        self._n_valid = np.zeros(len(sizes) + 1, np.int64)
        self._hard_negatives = False

    def next_blocks(self, valid: np.ndarray, block_rows: int) -> list[tuple[int, slice]]:
        """Note the next rows, valid bool [n]; return blocks: (stretch, slice of at most `block_rows`)."""
        n, inner = len(valid), self.sizes - self.n_rows
        cuts = sorted({*range(0, n, block_rows), n, *inner[(inner > 0) & (inner < n)].tolist()})
        blocks = [(int(self.stretch_of(self.n_rows + a)), slice(a, b)) for a, b in pairwise(cuts)]
        for stretch, part in blocks:
            self._n_valid[stretch] += valid[part].sum()
        self.n_rows += n
        return blocks

    def stretch_of(self, rows):
        """Return the stretch of each of the database rows `rows`."""
        return np.searchsorted(self.sizes, rows, side="right")

    def begin_hard_negatives(self) -> int:
        """Note that other entries' exemplars are counted; return their stretch, which is part of every size."""
        self._hard_negatives = True
        return 0

    def finish(self) -> Ranks:
        """Return the ranks among all rows taken. Raises InputError when they are fewer than the largest size."""
        if len(self.sizes) and self.sizes[-1] > self.n_rows:
            raise InputError(
                f"config key database_sizes has {self.sizes[-1]}; expected at most {self.n_rows}, the images of the database"
            )
        lengths = np.zeros(len(self.query_valid), np.int64)
        lengths[self.query_valid] = np.diff(self.offsets)
        position = np.arange(len(self.scores)) - np.repeat(self.offsets[:-1], np.diff(self.offsets)) + 1
        ranks, n_valid = position + np.cumsum(self.counts, axis=0), np.cumsum(self._n_valid)
        shape = (len(self.query_valid), self.top_score.shape[1])
        index, score = np.full(shape, -1, np.int64), np.full(shape, np.nan)
        index[self.query_valid] = self.top_index
        score[self.query_valid] = np.where(self.top_index < 0, np.nan, self.top_score)
        return Ranks(
            query_valid=self.query_valid.copy(),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            ranks=ranks[-1],
            scores=self.scores.copy(),
            exemplar=self.exemplar.astype(np.int64),
            neighbour_index=index,
            neighbour_score=score,
            n_database=int(n_valid[-1]),
            n_database_invalid=self.n_rows - int(n_valid[-1]),
            hard_negatives=self._hard_negatives,
            sizes=self.sizes.copy(),
            n_database_at=n_valid[:-1],
            ranks_at=ranks[:-1],
        )


def entry_pairs(query_entry: np.ndarray, exemplar_entry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each query with each exemplar of its entry: offsets int64 [Q + 1], exemplar positions int64 [R], rising."""
    order = np.argsort(exemplar_entry, kind="stable")
    first = np.searchsorted(exemplar_entry[order], query_entry, side="left")
    lengths = np.searchsorted(exemplar_entry[order], query_entry, side="right") - first
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return offsets, order[np.repeat(first, lengths) + within].astype(np.int64)
