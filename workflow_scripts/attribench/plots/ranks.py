"""The ranks of one prompt type that the figures are drawn from, and what a random ranking gives for them."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from attribench.formats.ranking import Method, Ranking
from attribench.metrics import ceiling_recall, chance_recall


@dataclass(frozen=True)
class PromptRanks:
    """Hold the ranks of one method's exemplars for the q valid queries of one prompt type.

    ranks: int64 [R], rising; weights: float64 [R], of each rank, those of a query sum to 1; n_exemplars, n_candidates: int64
    [q]. Queries weigh the same, so the weight of the ranks up to k is q times the mean recall@k.
    """

    ranks: np.ndarray
    weights: np.ndarray
    n_exemplars: np.ndarray
    n_candidates: np.ndarray

    @classmethod
    def of(cls, ranking: Ranking, prompt_type: str) -> "PromptRanks":
        """Return the ranks of `prompt_type`."""
        chosen = ranking.query_valid & (ranking.query_prompt_type == prompt_type)
        n_exemplars = np.diff(ranking.offsets)
        ranks = ranking.ranks[np.repeat(chosen, n_exemplars)]
        n_exemplars = n_exemplars[chosen]
        order = np.argsort(ranks, kind="stable")
        weights = np.repeat(1.0 / n_exemplars, n_exemplars)
        return cls(ranks[order], weights[order], n_exemplars, ranking.n_candidates[chosen])

    @property
    def n_queries(self) -> int:
        """Return the number of queries."""
        return len(self.n_exemplars)

    @property
    def last(self) -> int:
        """Return the largest number of candidates of a query."""
        return int(self.n_candidates.max())

    def recall(self, ks: np.ndarray) -> np.ndarray:
        """Return the mean recall@k for each of `ks`."""
        total = np.concatenate([[0.0], np.cumsum(self.weights)])
        return total[np.searchsorted(self.ranks, ks, side="right")] / self.n_queries

    def chance(self, ks: Sequence[int]) -> np.ndarray:
        """Return the expected recall@k of a random ranking, for each of `ks`."""
        return self._mean(chance_recall, ks, self.n_candidates)

    def ceiling(self, ks: Sequence[int]) -> np.ndarray:
        """Return the recall@k of a perfect ranking, for each of `ks`."""
        return self._mean(ceiling_recall, ks, self.n_exemplars)

    def _mean(self, recall: Callable, ks: Sequence[int], counts: np.ndarray) -> np.ndarray:
        """Return the mean over queries of `recall(k, n)` for each of `ks`, where n are the queries' `counts`."""
        n, queries = np.unique(counts, return_counts=True)
        return recall(np.asarray(ks)[:, None], n[None, :]) @ queries / self.n_queries

    def quantile(self, share: float) -> int:
        """Return the smallest k with a mean recall@k of at least `share`."""
        total = np.cumsum(self.weights) / self.n_queries
        return int(self.ranks[min(np.searchsorted(total, share - 1e-12), len(total) - 1)])

    def chance_quantile(self, share: float) -> int:
        """Return the `quantile` of a random ranking."""
        ks = range(1, self.last + 1)
        return ks[bisect_left(ks, share - 1e-12, key=lambda k: self.chance([k])[0])]


def prompt_types(rankings: Iterable[Ranking]) -> list[str]:
    """Return the prompt types of all rankings, in the order in which they first appear."""
    return list(dict.fromkeys(name for ranking in rankings for name in ranking.prompt_types))


def least_candidates(rankings: Iterable[Ranking]) -> int:
    """Return the fewest candidates of a valid query; 0 where no query is valid."""
    return min((int(r.n_candidates[r.query_valid].min()) for r in rankings if r.query_valid.any()), default=0)


def by_method(rankings: Iterable[Ranking]) -> dict[Method, Ranking]:
    """Return the rankings by method. Raises ValueError when a method has two."""
    methods: dict[Method, Ranking] = {}
    for ranking in rankings:
        if ranking.method in methods:
            raise ValueError(f"{ranking.method.name} is given twice")
        methods[ranking.method] = ranking
    return methods
