"""Rankings and relevance in TREC's formats, which many tools for information retrieval read (docs/formats.md).

Both files come from rank files alone. A run holds the first k positions of each valid query's ranking, k being the number
of neighbours kept; the qrels hold its exemplars.

These positions are all known. Above any exemplar stand just the c(e) database images that count against it, and these are
the first c(e) in falling score; so the ranking is the exemplars at their ranks, and the database images in falling score
at all other positions. Position p <= k is then an exemplar's, or that of database image number p - (exemplars above p),
which is at most k: a neighbour that is kept. An exemplar below k is left out: what lies between is not kept, and at a
wrong position it would make a measure wrong.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from attribench.errors import InputError
from attribench.files import atomic_path
from attribench.rank_file import RankFile, read_rank_file

# What the judgments of a split are made from: the same for every method that they are to hold for.
_JUDGED = (
    *("query_path", "query_prompt_type", "query_entry"),
    *("exemplar_path", "exemplar_entry", "exemplar_valid"),
)


def write_trec(qrels: Path | str, runs: Sequence[Path | str], ranks: Sequence[Path | str]) -> None:
    """Write the qrels of a split, and the run of each method from its rank file in `ranks`, atomically.

    Raises InputError when the methods could not read the same images: no one qrels file would then hold for all of them.
    """
    first = read_rank_file(ranks[0])
    _write(qrels, qrels_lines(first))
    for path, rank_path in zip(runs, ranks, strict=True):
        content = first if rank_path == ranks[0] else read_rank_file(rank_path)
        _check_judgments(content, first, rank_path, ranks[0])
        _write(path, run_lines(content))


def first_positions(content: RankFile) -> np.ndarray:
    """Paths, text [Q, k], at positions 1 to k of each query's ranking among database and own exemplars; "" pads."""
    ranking, neighbours = content.ranking, content.neighbour_path
    n_queries, depth = neighbours.shape
    query = np.repeat(np.arange(n_queries), np.diff(ranking.offsets))
    kept = ranking.ranks <= depth
    where = query[kept], ranking.ranks[kept] - 1
    of_database = np.ones((n_queries, depth), bool)
    of_database[where] = False
    # The number of database images above a position is the column of the one that stands there.
    above = np.cumsum(of_database, axis=1) - of_database
    paths = np.take_along_axis(neighbours, np.minimum(above, depth - 1), axis=1)
    paths[where] = content.exemplar_path[ranking.exemplar[kept]]
    return paths


def run_lines(content: RankFile) -> Iterator[str]:
    """Lines `query Q0 image rank score method`, best first, of every valid query.

    The score only states the order: k for rank 1, falling by 1. Readers sort by it, some of them as float32, and break ties
    by name; the real scores are too near each other for that.
    """
    paths, method = first_positions(content), f"{content.extractor}_{content.variant}"
    depth = paths.shape[1]
    for q in np.flatnonzero(content.ranking.query_valid):
        query = field(content.query_path[q])
        for rank, path in enumerate(filter(None, paths[q]), start=1):
            yield f"{query} Q0 {field(path)} {rank} {depth + 1 - rank} {method}\n"


def qrels_lines(content: RankFile) -> Iterator[str]:
    """Lines `query prompt_type exemplar 1` for each valid exemplar of every valid query, in the split's order.

    The second field is one that readers ignore: here it lets one prompt type be selected.
    """
    ranking = content.ranking
    for q in np.flatnonzero(ranking.query_valid):
        query, prompt_type = field(content.query_path[q]), field(content.query_prompt_type[q]) or "-"
        for row in np.sort(ranking.exemplar[ranking.offsets[q] : ranking.offsets[q + 1]]):
            yield f"{query} {prompt_type} {field(content.exemplar_path[row])} 1\n"


def field(text: str) -> str:
    """`text` without white space, which separates fields: that and `%` as `%` and hexadecimal digits, as in a URL."""
    return re.sub(r"[\s%]", lambda match: quote(match[0], safe=""), text)


def _check_judgments(content: RankFile, first: RankFile, path: Path | str, first_path: Path | str) -> None:
    differing = [name for name in _JUDGED if not np.array_equal(getattr(content, name), getattr(first, name))]
    if not np.array_equal(content.ranking.query_valid, first.ranking.query_valid):
        differing.append("query_valid")
    if differing:
        raise InputError(
            f"{path}: {', '.join(differing)} differs from {first_path}; expected the same queries and exemplars, valid for "
            "both, since one qrels file has to hold for both; export them one at a time (config keys extractors, variants)"
        )


def _write(path: Path | str, lines: Iterator[str]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.writelines(lines)
