"""Rank one split by a method that gives scores and no features: from manifests and a score file to a rank file.

Ranks, ties and neighbours are as defined in `rank.py`, of the scores as they are in the file, compared as float64.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

from attribench.errors import InputError
from attribench.manifest import Row, read_manifest
from attribench.rank_file import RankFile, write_rank_file
from attribench.rank_kernels import scan_scores
from attribench.rank_split import Options, check_ranking, describe
from attribench.ranking import Ranking
from attribench.score_file import ScoreFile, open_score_file
from attribench.tally import Tally, entry_pairs, sorted_pairs

VARIANT = "scores"  # stands for the variant in tables and file names
_BLOCK = 1024, 8192  # queries x images


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
) -> None:
    """Write the rank file of `split` by the score file `scores` of `method`. `options.near_duplicates` is not used.

    Raises InputError for a file that lacks an image of the manifests, and for scores that are NaN or infinite.
    """
    rows = read_manifest(manifest)
    queries = [row for row in rows if row.role == "query"]
    exemplars = [row for row in rows if row.role == "exemplar"]
    paths = [row.path for row in read_manifest(database_manifest)]
    with open_score_file(scores) as file:
        ranking = _rank(file, queries, exemplars, paths, options, threads)
    check_ranking(ranking, manifest, database, split)
    described = describe(queries, exemplars, np.ones(len(exemplars), bool), ranking, dict(enumerate(paths)))
    write_rank_file(output, RankFile(split=split, extractor=method, variant=VARIANT, **described))


def _rank(
    file: ScoreFile, queries: list[Row], exemplars: list[Row], paths: list[str], options: Options, threads: int
) -> Ranking:
    query = file.positions("queries", [row.path for row in queries])
    exemplar = file.positions("exemplars", [row.path for row in exemplars])
    column = file.positions("database", paths)
    query_entry, exemplar_entry = (np.array([row.entry for row in group], np.int64) for group in (queries, exemplars))
    offsets, pairs = entry_pairs(query_entry, exemplar_entry)
    found, pairs = sorted_pairs(offsets, pairs, _pair_scores(file, query, exemplar, offsets, pairs))
    valid = np.ones(len(queries), bool)
    tally = Tally(valid, offsets, found, pairs, options.top_k, list(options.database_sizes))
    tally.take_all(len(paths))
    with ThreadPoolExecutor(threads) as pool:

        def scan(block, block_query, rows, stretch):
            cuts = np.linspace(0, len(block), threads + 1).astype(int)
            about = (offsets, tally.threshold, tally.counts[stretch], tally.top_score, tally.top_index)
            # Threads own disjoint queries, so nothing they do meets.
            list(
                pool.map(
                    lambda cut: scan_scores(block[slice(*cut)], block_query[slice(*cut)], rows, *about), pairwise(cuts)
                )
            )

        for part, columns, block in file.blocks("database_scores", *_BLOCK):
            rows = column[columns]
            _refuse_not_finite(file, "database_scores", block, part, columns, (query[part, None] >= 0) & (rows >= 0))
            stretch = tally.stretch_of(rows)
            for number in np.unique(stretch[rows >= 0]).tolist():
                scan(block, query[part], np.where(stretch == number, rows, -1), number)
        if options.hard_negatives:
            stretch = tally.take_hard_negatives()
            for part, columns, block in file.blocks("exemplar_scores", *_BLOCK):
                known = (query[part, None] >= 0) & (exemplar[columns] >= 0)
                own = query_entry[query[part], None] == exemplar_entry[exemplar[columns]]
                _refuse_not_finite(file, "exemplar_scores", block, part, columns, known)
                rows = np.where(exemplar[columns] >= 0, len(paths) + exemplar[columns], -1)
                scan(np.where(own, -np.inf, block), query[part], rows, stretch)
    return tally.finish()


def _pair_scores(
    file: ScoreFile, query: np.ndarray, exemplar: np.ndarray, offsets: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Scores float64 [R] of the pairs: query q with the exemplars `pairs[offsets[q]:offsets[q + 1]]`."""
    scores = np.full(len(pairs), np.nan)
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    file_row, file_column = np.empty(len(offsets) - 1, np.int64), np.empty(exemplar.max(initial=-1) + 1, np.int64)
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
