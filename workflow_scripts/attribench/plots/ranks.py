"""The ranks that the figures are drawn from, and what a random ranking gives for them."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MethodRanks:
    """The ranks of one method's exemplars for the Q queries of one split, as in a rank file.

    prompt_type: text [Q]; offsets: int [Q + 1], query q owns ranks[offsets[q]:offsets[q + 1]]; ranks: int [R], from 1,
    among the candidates; valid: bool [Q], only these queries have ranks and count; candidates are `n_database` images and
    the query's own exemplars, or, with hard negatives, all `all_exemplars`. Raises ValueError where these do not fit.
    """

    extractor: str
    variant: str
    prompt_type: np.ndarray
    offsets: np.ndarray
    ranks: np.ndarray
    valid: np.ndarray
    n_database: int
    all_exemplars: int | None = None

    def __post_init__(self):
        for field, kind in (("prompt_type", str), ("offsets", np.int64), ("ranks", np.int64), ("valid", bool)):
            object.__setattr__(self, field, np.asarray(getattr(self, field), dtype=kind))
        n_queries, where = len(self.prompt_type), f"{self.extractor}_{self.variant}"
        if self.offsets.shape != (n_queries + 1,) or self.valid.shape != (n_queries,):
            raise ValueError(f"{where}: {n_queries} queries need as many `valid` and one more of `offsets`")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.ranks) or np.any(self.counts < 0):
            raise ValueError(f"{where}: offsets do not cut the {len(self.ranks)} ranks into queries")
        if np.any((self.counts > 0) != self.valid):
            raise ValueError(f"{where}: exactly the valid queries have ranks")
        own = np.repeat(self.counts, self.counts) if self.all_exemplars is None else self.all_exemplars
        if np.any(self.ranks < 1) or np.any(self.ranks > self.n_database + own):
            raise ValueError(f"{where}: a rank is not between 1 and the number of candidates")

    @classmethod
    def from_rank_file(cls, content) -> "MethodRanks":
        """The part of `content`, a `rank_file.RankFile`, that the figures need."""
        ranking = content.ranking
        return cls(
            extractor=content.extractor,
            variant=content.variant,
            prompt_type=content.query_prompt_type,
            offsets=ranking.offsets,
            ranks=ranking.ranks,
            valid=ranking.query_valid,
            n_database=ranking.n_database,
            all_exemplars=content.all_exemplars,
        )

    @property
    def counts(self) -> np.ndarray:
        """Exemplars of each query, int [Q]."""
        return np.diff(self.offsets)

    def of(self, prompt_type: str) -> "PromptRanks":
        """The ranks of the valid queries of one prompt type."""
        chosen = self.valid & (self.prompt_type == prompt_type)
        counts = self.counts
        ranks = self.ranks[np.repeat(chosen, counts)]
        order = np.argsort(ranks, kind="stable")
        weights = np.repeat(1.0 / np.maximum(counts[chosen], 1), counts[chosen])
        return PromptRanks(ranks[order], weights[order], counts[chosen], self.n_database, self.all_exemplars)


@dataclass(frozen=True)
class PromptRanks:
    """The ranks of some queries, rising [R], and each one's part of its query [R] (the parts of a query sum to 1).

    With every query weighing the same, the share of ranks up to k is the mean recall@k. counts: exemplars a query [q].
    """

    ranks: np.ndarray
    parts: np.ndarray
    counts: np.ndarray
    n_database: int
    all_exemplars: int | None = None

    def candidates(self, m: np.ndarray) -> np.ndarray:
        """How many images a query with `m` exemplars of its own ranks."""
        return self.n_database + (m if self.all_exemplars is None else np.full_like(m, self.all_exemplars))

    @property
    def n_queries(self) -> int:
        return len(self.counts)

    @property
    def last(self) -> int:
        """The largest number of candidates of a query."""
        return int(self.candidates(self.counts).max())

    def recall(self, ks: np.ndarray) -> np.ndarray:
        """Mean recall@k for each of `ks`."""
        total = np.concatenate([[0.0], np.cumsum(self.parts)])
        return total[np.searchsorted(self.ranks, ks, side="right")] / self.n_queries

    def chance(self, ks: np.ndarray) -> np.ndarray:
        """Expected recall@k of a random ranking, for each of `ks`."""
        return self._mean(ks, lambda k, m: np.minimum(k, self.candidates(m)) / self.candidates(m))

    def ceiling(self, ks: np.ndarray) -> np.ndarray:
        """The recall@k of a perfect ranking, for each of `ks`."""
        return self._mean(ks, lambda k, m: np.minimum(k, m) / m)

    def _mean(self, ks, share) -> np.ndarray:
        m, queries = np.unique(self.counts, return_counts=True)
        return share(np.asarray(ks)[:, None], m[None, :]) @ queries / self.n_queries

    def quantile(self, share: float) -> int:
        """The smallest k with a mean recall@k of at least `share`."""
        total = np.cumsum(self.parts) / self.n_queries
        return int(self.ranks[min(np.searchsorted(total, share - 1e-12), len(total) - 1)])

    def chance_quantile(self, share: float) -> int:
        """`quantile` of a random ranking."""
        ks = range(1, self.last + 1)
        return ks[bisect_left(ks, share - 1e-12, key=lambda k: self.chance([k])[0])]


def prompt_types(rank_data: Iterable[MethodRanks]) -> list[str]:
    """The prompt types of all methods, in the order in which they first appear."""
    return list(dict.fromkeys(str(name) for method in rank_data for name in dict.fromkeys(method.prompt_type)))


def check_methods(rank_data: Iterable[MethodRanks]) -> dict[tuple[str, str], MethodRanks]:
    """The methods by (extractor, variant). Raises ValueError when one is given twice."""
    methods = {}
    for method in rank_data:
        key = (method.extractor, method.variant)
        if key in methods:
            raise ValueError(f"{method.extractor}_{method.variant} is given twice")
        methods[key] = method
    return methods
