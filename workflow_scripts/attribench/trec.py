"""Rankings and relevance in TREC's formats, which many tools for information retrieval read (docs/formats.md).

Both files come from rank files alone. A run holds the first k positions of each valid query's ranking, k being the number
of neighbours kept; the qrels hold its exemplars. These positions are all known (`Ranks.first_positions` says why). An
exemplar below k is left out: not all images above it are known, so its position would be wrong, and so any measure.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from attribench.common.errors import InputError
from attribench.common.files import atomic_path
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import Ranking

# What the qrels of a split are made from: the same for every method that they are to hold for.
_JUDGED = (
    *("query_path", "query_prompt_type", "query_entry", "query_valid"),
    *("exemplar_path", "exemplar_entry", "exemplar_valid"),
)


def write_trec(qrels: Path | str, runs: Sequence[Path | str], ranks: Sequence[Path | str]) -> None:
    """Write the qrels of a split, and the run of each method from its rank file in `ranks`, atomically.

    Raises InputError when the methods could not read the same images: no one qrels file would then hold for all of them.
    """
    first = read_rank_file(ranks[0])
    _write(qrels, qrels_lines(first))
    for path, rank_path in zip(runs, ranks, strict=True):
        ranking = first if rank_path == ranks[0] else read_rank_file(rank_path)
        _refuse_other_images(ranking, first, rank_path, ranks[0])
        _write(path, run_lines(ranking))


def first_paths(ranking: Ranking) -> np.ndarray:
    """Return the paths at positions 1 to k of each query's ranking, text [Q, k]; "" pads."""
    pair, neighbour = ranking.first_positions(ranking.neighbour_path.shape[1])
    paths = np.full(pair.shape, "", object)
    query, position = np.nonzero(neighbour >= 0)
    paths[query, position] = ranking.neighbour_path[query, neighbour[query, position]]
    paths[pair >= 0] = ranking.exemplar_path[ranking.exemplar[pair[pair >= 0]]]
    return paths


def run_lines(ranking: Ranking) -> Iterator[str]:
    """Yield lines `query Q0 image rank score method`, best first, of every valid query.

    The score only states the order: k for rank 1, falling by 1. Readers sort by it, some of them as float32, and break ties
    by name; the real scores are too near each other for that.
    """
    paths, method = first_paths(ranking), ranking.method.name
    depth = paths.shape[1]
    for q in np.flatnonzero(ranking.query_valid):
        query = field(ranking.query_path[q])
        for rank, path in enumerate(filter(None, paths[q]), start=1):
            yield f"{query} Q0 {field(path)} {rank} {depth + 1 - rank} {method}\n"


def qrels_lines(ranking: Ranking) -> Iterator[str]:
    """Yield lines `query prompt_type exemplar 1` for each valid exemplar of every valid query, in the split's order.

    The second field is one that readers ignore: here it lets one prompt type be selected.
    """
    for q in np.flatnonzero(ranking.query_valid):
        query, prompt_type = field(ranking.query_path[q]), field(ranking.query_prompt_type[q]) or "-"
        for row in np.sort(ranking.exemplar[ranking.pairs(q)]):
            yield f"{query} {prompt_type} {field(ranking.exemplar_path[row])} 1\n"


def field(text: str) -> str:
    """Return `text` with white space (the separator of fields) and `%` escaped as in a URL: `%20`, `%25`."""
    return re.sub(r"[\s%]", lambda match: quote(match[0], safe=""), text)


def _refuse_other_images(ranking: Ranking, first: Ranking, path: Path | str, first_path: Path | str) -> None:
    differing = [name for name in _JUDGED if not np.array_equal(getattr(ranking, name), getattr(first, name))]
    if differing:
        raise InputError(
            f"{path}: {', '.join(differing)} differs from {first_path}; expected the same queries and exemplars, valid for "
            "both, since one qrels file has to hold for both; export them one at a time (config keys extractors, variants)"
        )


def _write(path: Path | str, lines: Iterable[str]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.writelines(lines)
