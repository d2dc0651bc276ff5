"""What a ranking adds up over the database: counts at each exemplar, and each query's best neighbours.

Counts are kept apart for the stretches of rows between the database sizes asked for, so one pass over the database gives
the ranks among its first n images for every n of `sizes`. Disjoint parts of a database can be counted apart and merged.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from attribench.errors import InputError
from attribench.ranking import Ranking

TOLERANCE = 1e-9  # a database row this close below an exemplar counts as a tie


class Tally:
    """Counts and neighbours of Q queries, of which `query_valid` [Q] are ranked.

    The i-th valid query owns pairs offsets[i] to offsets[i + 1] of `scores` float64 [R] and `exemplar` int64 [R], sorted
    by falling score (equal scores by exemplar). `sizes` [S] are the database sizes, in images, at which ranks are wanted
    besides that of the whole. A row is a candidate that is better than a pair when its score reaches the pair's `threshold`.

    A scan of rows in `stretch` adds to `counts[stretch]` [R], and merges into `top_score`, `top_index` [valid queries, k].
    """

    def __init__(
        self,
        query_valid: np.ndarray,
        offsets: np.ndarray,
        scores: np.ndarray,
        exemplar: np.ndarray,
        top_k: int,
        sizes: list[int],
    ):
        if list(sizes) != sorted(set(sizes)) or any(size < 1 for size in sizes):
            raise InputError(f"database sizes are {list(sizes)}; expected rising numbers from 1 on")
        self.query_valid, self.offsets, self.scores, self.exemplar = query_valid, offsets, scores, exemplar
        self.sizes = np.array(sizes, np.int64)
        self.threshold = scores - TOLERANCE
        self.counts = np.zeros((len(sizes) + 1, len(scores)), np.int64)
        n_queries = int(query_valid.sum())
        self.top_score = np.full((n_queries, top_k), -np.inf)
        self.top_index = np.full((n_queries, top_k), -1, np.int64)
        self._n_valid = np.zeros(len(sizes) + 1, np.int64)
        self._spans: list[tuple[int, int]] = []
        self._hard_negatives = False

    def stretches(self, first_row: int, valid: np.ndarray, block_rows: int) -> Iterator[tuple[int, slice]]:
        """Take database rows `first_row` to `first_row + n`, valid bool [n]: (stretch, slice of at most `block_rows` rows).

        Raises InputError for rows that were taken before.
        """
        n = len(valid)
        self._take_spans([(first_row, first_row + n)])
        inner = self.sizes - first_row
        edges = sorted({*range(0, n, block_rows), n, *inner[(inner > 0) & (inner < n)].tolist()})
        for start, stop in pairwise(edges):
            stretch = int(self.stretch_of(first_row + start))
            self._n_valid[stretch] += int(valid[start:stop].sum())
            yield stretch, slice(start, stop)

    def stretch_of(self, rows):
        """The stretch of each of the database rows `rows`."""
        return np.searchsorted(self.sizes, rows, side="right")

    def take_all(self, n: int) -> None:
        """Take all `n` database rows at once, all valid: for who scans them in another order."""
        self._take_spans([(0, n)])
        self._n_valid += np.bincount(self.stretch_of(np.arange(n)), minlength=len(self._n_valid))

    def take_hard_negatives(self) -> int:
        """Note that the other entries' exemplars are counted; the stretch that they belong to, which is in every size."""
        if self._hard_negatives:
            raise InputError("hard negatives were added to the ranking twice")
        self._hard_negatives = True
        return 0

    def merge(self, other: "Tally") -> None:
        """Add the counts and neighbours over other rows, for the same pairs.

        Raises InputError when the two do not fit, or when they share database rows.
        """
        same = ("query_valid", "offsets", "scores", "exemplar", "sizes")
        if self.top_score.shape != other.top_score.shape or not all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in same
        ):
            raise InputError(
                "partial rankings can only be merged when queries, exemplars, sizes and top_k are the same"
            )
        self._take_spans(other._spans)
        if other._hard_negatives:
            self.take_hard_negatives()
        self.counts += other.counts
        self._n_valid += other._n_valid
        score = np.concatenate([self.top_score, other.top_score], axis=1)
        index = np.concatenate([self.top_index, other.top_index], axis=1)
        order = np.lexsort((index, -score), axis=1)[:, : self.top_score.shape[1]]
        self.top_score = np.take_along_axis(score, order, axis=1)
        self.top_index = np.take_along_axis(index, order, axis=1)

    def finish(self) -> Ranking:
        """The ranking over all rows taken. Raises InputError when rows are missing, or fewer than the largest size."""
        expected = 0
        for start, stop in self._spans:
            if start != expected:
                raise InputError(f"database rows {expected} to {start - 1} were never added to the ranking")
            expected = stop
        if len(self.sizes) and self.sizes[-1] > expected:
            raise InputError(
                f"config key database_sizes has {self.sizes[-1]}; expected at most {expected}, the images of the database"
            )
        pairs_of = np.diff(self.offsets)
        lengths = np.zeros(len(self.query_valid), np.int64)
        lengths[self.query_valid] = pairs_of
        position = np.arange(len(self.scores)) - np.repeat(self.offsets[:-1], pairs_of) + 1
        ranks = position + np.cumsum(self.counts, axis=0)
        n_valid = np.cumsum(self._n_valid)
        shape = (len(self.query_valid), self.top_score.shape[1])
        index, score = np.full(shape, -1, np.int64), np.full(shape, np.nan)
        index[self.query_valid] = self.top_index
        score[self.query_valid] = np.where(self.top_index < 0, np.nan, self.top_score)
        return Ranking(
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            ranks=ranks[-1],
            scores=self.scores.copy(),
            exemplar=self.exemplar.astype(np.int64),
            neighbour_index=index,
            neighbour_score=score,
            query_valid=self.query_valid.copy(),
            n_database=int(n_valid[-1]),
            n_database_invalid=expected - int(n_valid[-1]),
            sizes=self.sizes.copy(),
            ranks_at=ranks[:-1],
            n_database_at=n_valid[:-1],
            hard_negatives=self._hard_negatives,
        )

    def _take_spans(self, spans: list[tuple[int, int]]) -> None:
        """Note that the rows of `spans` are counted; refuse rows that already are."""
        merged = sorted(span for span in self._spans + list(spans) if span[0] < span[1])
        for (_, stop), (start, _) in pairwise(merged):
            if start < stop:
                raise InputError(f"database row {start} was added to the ranking twice")
        self._spans = merged


def entry_pairs(query_entry: np.ndarray, exemplar_entry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each query with each exemplar of its entry: offsets int64 [Q + 1] and exemplar positions int64 [R], rising."""
    order = np.argsort(exemplar_entry, kind="stable")
    first = np.searchsorted(exemplar_entry[order], query_entry, side="left")
    lengths = np.searchsorted(exemplar_entry[order], query_entry, side="right") - first
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return offsets, order[np.repeat(first, lengths) + within].astype(np.int64)


def sorted_pairs(offsets: np.ndarray, pairs: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`scores` float64 [R] and `pairs` int64 [R], within each query by falling score, equal scores by exemplar."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((pairs, -scores, owner))
    return scores[order], pairs[order]
