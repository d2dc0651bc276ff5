"""The record of a ranking. Rank files hold it; metrics, tables, figures, contact sheets and TREC runs are made from it.

Letters stand for lengths: Q queries, E exemplars and M entries of the split, k neighbours that are kept of each query, S
database sizes, and R pairs of a query and one of its exemplars. This module loads neither numba nor torch.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from attribench.formats.checkpoint import TrainedOn

PRETRAINED, SCORES = "pretrained", "scores"  # variants without a mapper: features as they are; a method's own scores


class Method(NamedTuple):
    """Name what ranks: an extractor with a variant, or a method that gives scores (its name, `scores`)."""

    extractor: str
    variant: str

    @property
    def name(self) -> str:
        """Return EXTRACTOR_VARIANT, the method's name in SPLIT.csv and TREC runs."""
        return f"{self.extractor}_{self.variant}"


def method_labels(
    methods: Iterable[Method], extractors: Mapping[str, str] | None = None, variants: Mapping[str, str] | None = None
) -> dict[Method, str]:
    """Return what figures call each method: the extractor, and the variant unless it has no mapper and is the only one.

    extractors, variants: labels in place of names.
    """
    methods, extractors, variants = list(dict.fromkeys(methods)), extractors or {}, variants or {}
    n_variants = Counter(method.extractor for method in methods)
    labels = {}
    for method in methods:
        label = extractors.get(method.extractor, method.extractor)
        is_plain = method.variant in (PRETRAINED, SCORES) and n_variants[method.extractor] == 1
        labels[method] = label if is_plain else f"{label} {variants.get(method.variant, method.variant)}"
    return labels


def labels_of(rows: Iterable[Sequence[str]]) -> dict[Method, str]:
    """Return labels by method, from rows of extractor, variant and label."""
    return {Method(extractor, variant): label for extractor, variant, label in rows}


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranks:
    """Hold what the ranking engine makes: numbers alone, without the names of the images.

    Query q has the pairs `offsets[q]` to `offsets[q + 1]`, best first: rows of `ranks`, `scores` and `exemplar`. A query
    that is not valid has no pairs and no neighbours.
    """

    query_valid: np.ndarray  # bool [Q]
    offsets: np.ndarray  # int64 [Q + 1]
    ranks: np.ndarray  # int64 [R], from 1, rising within a query: among the database and the query's own exemplars
    scores: np.ndarray  # float64 [R], of query and exemplar
    exemplar: np.ndarray  # int64 [R], row of the exemplars
    neighbour_index: np.ndarray  # int64 [Q, k], row of the database, the best first; -1 pads
    neighbour_score: np.ndarray  # float64 [Q, k], NaN pads
    n_database: int  # valid images of the database, which are ranked
    n_database_invalid: int  # invalid ones, which are not
    hard_negatives: bool  # the other entries' exemplars are candidates too: exemplar e is row `database_size` + e
    sizes: np.ndarray  # int64 [S], rising: ranks are also given among the first `sizes[s]` images of the database
    n_database_at: np.ndarray  # int64 [S], valid images among these
    ranks_at: np.ndarray  # int64 [S, R], as `ranks`

    @property
    def database_size(self) -> int:
        """Return the number of the database's images, invalid ones with them."""
        return self.n_database + self.n_database_invalid

    @property
    def query(self) -> np.ndarray:
        """Return each pair's query, int64 [R]."""
        return np.repeat(np.arange(len(self.query_valid)), np.diff(self.offsets))

    def pairs(self, query: int) -> slice:
        """Return the pairs of `query`: rows of `ranks`, `scores` and `exemplar`."""
        return slice(int(self.offsets[query]), int(self.offsets[query + 1]))

    def first_positions(self, n: int, query: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return what stands at positions 1 to `n` of each query's ranking: (pair, neighbour), both int64 [Q, n].

        query: the only one that is asked for; Q is then 1. pair is that of the exemplar which stands there, else -1.
        neighbour is the column of `neighbour_index` whose image stands there; -1 where an exemplar does, and where the image
        was not kept.

        The first k positions are all known. Above an exemplar e stand just the c(e) database images that count against it,
        and these are the first c(e) in falling score. So the ranking is the exemplars at their ranks, and the database
        images in falling score at all other positions: position p is that of database image number p - (exemplars above p).
        """
        asked = slice(0, len(self.query_valid)) if query is None else slice(query, query + 1)
        first, end = self.offsets[asked.start], self.offsets[asked.stop]
        row = np.repeat(np.arange(asked.stop - asked.start), np.diff(self.offsets[asked.start : asked.stop + 1]))
        kept = np.flatnonzero(self.ranks[first:end] <= n)
        pair = np.full((asked.stop - asked.start, n), -1)
        pair[row[kept], self.ranks[first:end][kept] - 1] = first + kept
        of_database = pair < 0
        neighbour = np.cumsum(of_database, axis=1) - 1
        n_kept = (self.neighbour_index[asked] >= 0).sum(axis=1, keepdims=True)
        return pair, np.where(of_database & (neighbour < n_kept), neighbour, -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking(Ranks):
    """Hold how one method ranks the exemplars of one split's queries; text arrays are arrays of `str` objects."""

    split: str
    extractor: str
    variant: str
    query_path: np.ndarray  # text [Q], in the order of the split file
    query_prompt_type: np.ndarray  # text [Q]
    query_entry: np.ndarray  # int64 [Q]
    exemplar_path: np.ndarray  # text [E]
    exemplar_entry: np.ndarray  # int64 [E]
    exemplar_valid: np.ndarray  # bool [E]
    class_id: np.ndarray  # text [M], of each entry
    category: np.ndarray  # text [M], of each entry
    neighbour_path: np.ndarray  # text [Q, k], "" pads
    invalid: Sequence[tuple[str, str, str, str]] = ()  # quarantined images: (collection, path, role, reason)
    near_duplicates: Sequence[tuple[str, str, float]] = ()  # (exemplar's path, database image's path, similarity)
    trained_on: str = ""  # what the mappers were, as JSON (`checkpoint.TrainedOn`); {}: unknown, "": there are none

    @property
    def method(self) -> Method:
        """Return the extractor with its variant."""
        return Method(self.extractor, self.variant)

    @property
    def prompt_types(self) -> list[str]:
        """Return the prompt types in the order of the split file."""
        return list(dict.fromkeys(self.query_prompt_type.tolist()))

    @property
    def n_exemplars(self) -> np.ndarray:
        """Return how many valid exemplars each query's entry has, int64 [Q]."""
        return np.bincount(self.exemplar_entry[self.exemplar_valid], minlength=len(self.class_id))[self.query_entry]

    @property
    def n_candidates(self) -> np.ndarray:
        """Return how many images each query ranks, int64 [Q]: database and own exemplars; all with hard negatives."""
        n_exemplars = self.n_exemplars
        if self.hard_negatives:
            # An image that is an exemplar of several entries is one candidate.
            n_exemplars = np.full_like(n_exemplars, len(set(self.exemplar_path[self.exemplar_valid].tolist())))
        return self.n_database + n_exemplars

    def nearest_images(self, query: int, n: int) -> list[tuple[int, str, bool, float]]:
        """Return the known ones of the first `n` positions of a query: (rank, path, whether an exemplar, score).

        A position is unknown when it is beyond the neighbours that were kept.
        """
        pairs, neighbours = (positions[0].tolist() for positions in self.first_positions(n, query))
        images = []
        for rank, (pair, neighbour) in enumerate(zip(pairs, neighbours, strict=True), start=1):
            if pair >= 0:
                images.append((rank, self.exemplar_path[self.exemplar[pair]], True, float(self.scores[pair])))
            elif neighbour >= 0:
                score = float(self.neighbour_score[query, neighbour])
                images.append((rank, self.neighbour_path[query, neighbour], False, score))
        return images

    def at_size(self, size: int) -> "Ranking":
        """Return the ranking among the first `size` images of the database, one of `sizes`; neighbours stay the whole's."""
        s = int(np.searchsorted(self.sizes, size))
        n_valid = int(self.n_database_at[s])
        return replace(self, ranks=self.ranks_at[s], n_database=n_valid, n_database_invalid=size - n_valid)


def seen_of(ranking: Ranking, benchmark: str) -> str:
    """Return what part the ranking's split had in the training of its mappers.

    `train`, `val`, or `no` for none; `unknown` where the checkpoint does not say; empty for a method without mappers.
    """
    plain = json.loads(ranking.trained_on or "null")
    if not plain:
        return "" if plain is None else "unknown"
    return TrainedOn.from_plain("rank file", plain).seen(benchmark, ranking.split)
