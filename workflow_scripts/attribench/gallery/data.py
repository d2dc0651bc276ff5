"""Make the data that the gallery shows of a split: its queries, and what each method ranks nearest to them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attribench.formats.influence import Influence
from attribench.formats.ranking import Method, Ranking
from attribench.metrics import average_precision
from attribench.plots.chosen import choose_queries
from attribench.plots.style import method_styles

_DIGITS = 6  # of scores and influence that are kept


@dataclass
class ImageList:
    """Number the images that a page shows, in the order of first use.

    large: the numbers of those that are shown large, the queries.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    large: set[int] = field(default_factory=set)

    def sizes(self, size: int) -> dict[str, int]:
        """Return the side in pixels of each image's thumbnail, in the order of numbers: `size`, or twice that."""
        return {path: 2 * size if number in self.large else size for path, number in self.numbers.items()}

    def number(self, path: str, *, large: bool = False) -> int:
        """Return the number of the image at `path`."""
        number = self.numbers.setdefault(path, len(self.numbers))
        if large:
            self.large.add(number)
        return number


def split_data(
    rankings: Sequence[Ranking],
    influences: Mapping[Method, Influence],
    n_queries: int | None,
    n_neighbours: int,
    labels: Mapping[Method, str],
    prompts: Mapping[str, str],
    images: ImageList,
) -> dict[str, Any]:
    """Return what the page shows of a split: plain dicts, lists, text and numbers (docs/formats.md).

    rankings: of each method, of the same queries. influences: of those methods that have it. n_queries: how many queries to
    choose, as contact sheets do; None for all that every method ranks. n_neighbours: how many of the first positions of
    each ranking to show. prompts: those that are known, by the query's path. `images` gets all that are shown. Raises
    ValueError where the methods' queries differ.
    """
    first = rankings[0]
    for other in rankings[1:]:
        if other.split != first.split or not np.array_equal(other.query_path, first.query_path):
            raise ValueError(f"{first.method.name} and {other.method.name} have different queries")
    ranked = np.all([ranking.query_valid for ranking in rankings], axis=0)
    chosen = sorted(choose_queries(rankings, int(ranked.sum()) if n_queries is None else n_queries))
    views = [_MethodView(ranking, influences.get(ranking.method), images) for ranking in rankings]
    return {
        "split": first.split,
        "n_queries": len(ranked),
        "n_not_ranked": int((~ranked).sum()),
        "n_database": first.n_database,
        "hard_negatives": first.hard_negatives,
        "methods": _methods(rankings, influences, labels),
        "entries": {
            str(entry): _entry(first, entry, images) for entry in np.unique(first.query_entry[chosen]).tolist()
        },
        "queries": [
            _query(first, query, prompts, images) | {"methods": [view.of(query, n_neighbours) for view in views]}
            for query in chosen
        ],
    }


def _methods(
    rankings: Sequence[Ranking], influences: Mapping[Method, Influence], labels: Mapping[Method, str]
) -> list[dict]:
    styles = method_styles([ranking.method for ranking in rankings], labels)
    return [
        {
            "name": method.name,
            "label": labels[method],
            "extractor": method.extractor,
            "variant": method.variant,
            "colour": styles[method].colour,
            "has_influence": method in influences,
        }
        for method in (ranking.method for ranking in rankings)
    ]


def _entry(ranking: Ranking, entry: int, images: ImageList) -> dict:
    own = np.flatnonzero(ranking.exemplar_entry == entry).tolist()
    return {
        "class_id": ranking.class_id[entry],
        "category": ranking.category[entry],
        "exemplars": [images.number(ranking.exemplar_path[exemplar]) for exemplar in own],
    }


def _query(ranking: Ranking, query: int, prompts: Mapping[str, str], images: ImageList) -> dict:
    path = ranking.query_path[query]
    return {
        "number": query,
        "image": images.number(path, large=True),
        "prompt_type": ranking.query_prompt_type[query],
        "entry": int(ranking.query_entry[query]),
        "prompt": prompts.get(path, ""),
    }


class _MethodView:
    """Give what one method says of a query."""

    def __init__(self, ranking: Ranking, influence: Influence | None, images: ImageList):
        self.ranking, self.influence, self.images = ranking, influence, images
        self.precision = average_precision(ranking.offsets, ranking.ranks)
        # The database has none of the split's images, so another entry's exemplar is there as a hard negative alone.
        self.exemplars = frozenset(ranking.exemplar_path.tolist())

    def of(self, query: int, n_neighbours: int) -> dict:
        """Return a query's average precision, its exemplars by rank, and what stands at the first positions.

        An exemplar is a list of image, rank, score and influence; a position is a list of rank, image, what the image is
        ("database", "exemplar", "other exemplar"), score and influence.
        """
        exemplars = self._exemplars(query)
        shares = {rank: share for _, rank, _, share in exemplars}
        return {
            "average_precision": _number(self.precision[query]),
            "influence": _number(self._influence(query).sum()),
            "exemplars": exemplars,
            "nearest": [
                [rank, self.images.number(path), self._what(path, is_exemplar), _number(score), share]
                for (rank, path, is_exemplar, score), share in self._nearest(query, n_neighbours, shares)
            ],
        }

    def _exemplars(self, query: int) -> list[list]:
        pairs, ranking = self.ranking.pairs(query), self.ranking
        paths = [ranking.exemplar_path[exemplar] for exemplar in ranking.exemplar[pairs].tolist()]
        rows = zip(paths, ranking.ranks[pairs].tolist(), ranking.scores[pairs], self._influence(query), strict=True)
        return [[self.images.number(path), rank, _number(score), _number(share)] for path, rank, score, share in rows]

    def _influence(self, query: int) -> np.ndarray:
        """Return the influence of each of the query's exemplars; NaN where the method has none."""
        pairs = self.ranking.pairs(query)
        return np.full(pairs.stop - pairs.start, np.nan) if self.influence is None else self.influence.exemplar[pairs]

    def _nearest(self, query: int, n: int, shares: Mapping[int, float | None]) -> Iterator[tuple]:
        """Yield the known ones of the first `n` positions with their influence; `shares` has that of exemplars, by rank."""
        top = [] if self.influence is None else self.influence.top[query].tolist()
        for position in self.ranking.nearest_images(query, n):
            rank = position[0]
            yield position, shares[rank] if rank in shares else _number(top[rank - 1] if rank <= len(top) else np.nan)

    def _what(self, path: str, is_exemplar: bool) -> str:
        if is_exemplar:
            return "exemplar"
        return "other exemplar" if path in self.exemplars else "database"


def _number(value: float) -> float | None:
    """Return `value` to six digits; None for one that is not known."""
    return None if np.isnan(value) else float(f"{value:.{_DIGITS}g}")
