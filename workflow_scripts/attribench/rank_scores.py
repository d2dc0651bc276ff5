"""Rank one split by a method that gives scores and no features: from manifests and a score file to a rank file.

Ranks and neighbours are as defined in `rank.ranker`, of the scores in the file, compared as float64. A score ties with one
that is equal, and with no other: what is a small difference depends on the method's unit.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
from numba import njit

from attribench.common.errors import InputError
from attribench.formats.manifest import ManifestRow, read_manifest
from attribench.formats.rank_file import write_rank_file
from attribench.formats.ranking import SCORES, Method, Ranks
from attribench.formats.score_file import ScoreFile, open_score_file
from attribench.rank.rank import Options, check_ranking, entries_of_images, first_rows, make_ranking
from attribench.rank.scan import keep_best
from attribench.rank.tally import Tally, entry_pairs
from attribench.rank.ties import sorted_pairs

_BLOCK = 1024, 4096  # queries x images


def rank_scores(
    output: Path | str,
    scores: Path | str,
    *,
    manifest: Path | str,
    database_manifest: Path | str,
    database: str,
    split: str,
    method: str,
    options: Options,
    threads: int,
    key: str = "",
) -> None:
    """Write the rank file of `split` by the score file `scores` of `method`. `options.near_duplicates` is not used.

    Raises InputError for a file that lacks an image of the manifests, and for scores that are NaN or infinite.
    """
    rows = read_manifest(manifest)
    queries = [row for row in rows if row.role == "query"]
    exemplars = [row for row in rows if row.role == "exemplar"]
    paths = [row.path for row in read_manifest(database_manifest)]
    with open_score_file(scores) as file:
        ranks = _rank(file, queries, exemplars, paths, options, threads)
    check_ranking(ranks, manifest, database, split)
    ranking = make_ranking(
        ranks,
        split,
        Method(method, SCORES),
        queries=queries,
        exemplars=exemplars,
        exemplar_valid=np.ones(len(exemplars), bool),
        database_paths=dict(enumerate(paths)),
    )
    write_rank_file(output, ranking, key)


def _rank(
    file: ScoreFile,
    queries: list[ManifestRow],
    exemplars: list[ManifestRow],
    paths: list[str],
    options: Options,
    threads: int,
) -> Ranks:
    query = file.positions("queries", [row.path for row in queries])
    # An image has a row for each entry whose exemplar it is, and one column in the file: that of its first row.
    exemplar_path = [row.path for row in exemplars]
    first = first_rows(exemplar_path)
    images = np.unique(first)
    number = file.positions("exemplars", [exemplar_path[row] for row in images])
    exemplar = np.where(number >= 0, images[number], -1)
    column = file.positions("database", paths)
    query_entry, exemplar_entry = (np.array([row.entry for row in group], np.int64) for group in (queries, exemplars))
    offsets, pairs = entry_pairs(query_entry, exemplar_entry)
    scores, pairs = sorted_pairs(offsets, pairs, _pair_scores(file, query, exemplar, offsets, first[pairs]))
    valid = np.ones(len(queries), bool)
    tally = Tally(valid, offsets, scores, pairs, options.top_k, list(options.database_sizes), tolerance=0)
    tally.next_blocks(np.ones(len(paths), bool), len(paths))
    with ThreadPoolExecutor(threads) as pool:

        def scan(block: np.ndarray, block_query: np.ndarray, rows: np.ndarray, stretch: int) -> None:
            parts = [slice(a, b) for a, b in pairwise(np.linspace(0, len(block), threads + 1).astype(int))]
            # Threads own disjoint queries, so nothing that they change is shared.
            list(pool.map(lambda part: _scan(block[part], block_query[part], rows, tally, stretch), parts))

        for part, columns, block in file.blocks("database_scores", *_BLOCK):
            rows = column[columns]
            _refuse_not_finite(file, "database_scores", block, part, columns, (query[part, None] >= 0) & (rows >= 0))
            stretch = tally.stretch_of(rows)
            for number in np.unique(stretch[rows >= 0]).tolist():
                scan(block, query[part], np.where(stretch == number, rows, -1), number)
        if options.hard_negatives:
            stretch, entries = tally.begin_hard_negatives(), entries_of_images(exemplar_path, exemplar_entry)
            for part, columns, block in file.blocks("exemplar_scores", *_BLOCK):
                known = (query[part, None] >= 0) & (exemplar[columns] >= 0)
                own = (query_entry[query[part], None, None] == entries[exemplar[columns]]).any(axis=2)
                _refuse_not_finite(file, "exemplar_scores", block, part, columns, known)
                rows = np.where(exemplar[columns] >= 0, len(paths) + exemplar[columns], -1)
                scan(np.where(own, -np.inf, block), query[part], rows, stretch)
    return tally.finish()


def _scan(scores: np.ndarray, query: np.ndarray, rows: np.ndarray, tally: Tally, stretch: int) -> None:
    """Count, and keep neighbours, from `scores` float64 [n, r] of the queries `query` [n] and the rows `rows` [r].

    A negative query or row is none, and minus infinity is no candidate.
    """
    is_known = query >= 0
    scores, query = np.where(rows >= 0, scores, -np.inf)[is_known], query[is_known]
    _count(scores, query, tally.offsets, tally.threshold, tally.counts[stretch])
    if tally.top_score.shape[1]:
        i, column = np.nonzero((scores >= tally.top_score[query, -1:]) & (scores > -np.inf))
        keep_best(scores[i, column], np.stack([query[i], column], axis=1), rows, tally.top_score, tally.top_index)


@njit(cache=True, nogil=True)
def _count(scores, query, offsets, threshold, counts):
    for i in range(scores.shape[0]):
        first, last = offsets[query[i]], offsets[query[i] + 1]
        for score in scores[i]:
            for j in range(last - 1, first - 1, -1):  # from the lowest threshold on
                if score < threshold[j]:
                    break
                counts[j] += 1


def _pair_scores(
    file: ScoreFile, query: np.ndarray, exemplar: np.ndarray, offsets: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Return scores float64 [R]: of query q with the exemplars `pairs[offsets[q]:offsets[q + 1]]`, by first rows."""
    scores = np.full(len(pairs), np.nan)
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    file_row, file_column = np.full(len(offsets) - 1, -1), np.full(exemplar.max(initial=-1) + 1, -1)
    file_row[query[query >= 0]] = np.flatnonzero(query >= 0)
    file_column[exemplar[exemplar >= 0]] = np.flatnonzero(exemplar >= 0)
    row, column = file_row[owner], file_column[pairs]
    for part, columns, block in file.blocks("exemplar_scores", *_BLOCK):
        here = (row >= part.start) & (row < part.stop) & (column >= columns.start) & (column < columns.stop)
        scores[here] = block[row[here] - part.start, column[here] - columns.start]
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        where = f"row {row[bad[0]]}, column {column[bad[0]]} (counted from 0)"
        raise InputError(f"{file.path}: exemplar_scores holds {scores[bad[0]]} at {where}; expected a finite number")
    return scores


def _refuse_not_finite(
    file: ScoreFile, name: str, block: np.ndarray, part: slice, columns: slice, needed: np.ndarray
) -> None:
    bad = needed & ~np.isfinite(block)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        where = f"row {part.start + row}, column {columns.start + column} (counted from 0)"
        raise InputError(f"{file.path}: {name} holds {block[row, column]} at {where}; expected a finite number")
