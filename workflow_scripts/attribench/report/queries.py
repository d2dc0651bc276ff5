"""The queries that the best method does best, and worst, with their exemplars and nearest images."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from attribench.decode.reading import Reading
from attribench.formats.ranking import Ranking
from attribench.metrics import average_precision
from attribench.plots.captions import listing
from attribench.plots.chosen import extreme_queries, spread
from attribench.report.pictures import Picture, thumbnail

_SIZE = 96  # pixels, the side of a thumbnail
_NEAREST, _EXEMPLARS = 5, 3


@dataclass(frozen=True)
class Shown:
    """Hold an image of a query's row: its path, its rank (None: the query itself), whether it is one of the exemplars."""

    path: str
    rank: int | None
    is_exemplar: bool
    picture: Picture | None


@dataclass(frozen=True)
class QueryRow:
    """Hold a query: whether it is among the `best` or the `worst`, its average precision, and the images of its row."""

    extreme: str
    query: Shown
    entry: str
    precision: float
    n_exemplars: int
    nearest: tuple[Shown, ...]
    exemplars: tuple[Shown, ...]


def equals(ranking: Ranking, prompt_type: str) -> str:
    """Return how many queries of a prompt type are as good as the best, and as bad as the worst, where these are several."""
    precision = average_precision(ranking.offsets, ranking.ranks)[ranking.query_prompt_type == prompt_type]
    known = precision[~np.isnan(precision)]
    n_equal = {value: int((known == value).sum()) for value in (known.max(), known.min())} if len(known) else {}
    parts = [
        f"{n} of {len(known):,} queries have average precision {value:.3f}" for value, n in n_equal.items() if n > 1
    ]
    return f"{listing(parts)}: the first of these, of different entries, are shown." if parts else ""


def query_rows(ranking: Ranking, prompt_type: str, root: Path, reading: Reading, n: int) -> list[QueryRow]:
    """Return the `n` best and the `n` worst queries of a prompt type, with thumbnails of those images that are there."""
    precision = average_precision(ranking.offsets, ranking.ranks)
    precision = np.where(ranking.query_prompt_type == prompt_type, precision, np.nan)
    read = _reader(root, reading)
    best = extreme_queries(precision, ranking.query_entry, n, is_best=True)
    precision_of = precision.tolist()
    precision[best] = np.nan
    worst = extreme_queries(precision, ranking.query_entry, n, is_best=False)
    return [
        _row(ranking, query, extreme, precision_of[query], read)
        for extreme, queries in (("best", best), ("worst", worst))
        for query in queries
    ]


def _reader(root: Path, reading: Reading):
    @cache
    def read(path: str, alt: str) -> Picture | None:
        return thumbnail(root / path, alt, _SIZE, reading)

    return read


def _row(ranking: Ranking, query: int, extreme: str, precision: float, read) -> QueryRow:
    def shown(path: str, rank: int | None, is_exemplar: bool) -> Shown:
        what = "exemplar" if is_exemplar else "database image"
        return Shown(path, rank, is_exemplar, read(path, f"{what} at rank {rank:,}" if rank else "query"))

    nearest = [shown(path, rank, own) for rank, path, own, _ in ranking.nearest_images(query, _NEAREST)]
    pairs = ranking.pairs(query)
    ranked = list(zip(ranking.ranks[pairs].tolist(), ranking.exemplar[pairs].tolist(), strict=True))
    exemplars = [ranked[i] for i in spread(len(ranked), _EXEMPLARS)]
    entry = int(ranking.query_entry[query])
    names = [f"entry {entry}", str(ranking.class_id[entry]), str(ranking.category[entry])]
    return QueryRow(
        extreme,
        shown(str(ranking.query_path[query]), None, False),
        ", ".join(filter(None, names)),
        precision,
        pairs.stop - pairs.start,
        tuple(nearest),
        tuple(shown(str(ranking.exemplar_path[exemplar]), rank, True) for rank, exemplar in exemplars),
    )
