"""Rank one split by one method: from manifests and feature shards to a rank file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attribench.errors import InputError
from attribench.features import Invalid, database_paths, read_collection, stream_database
from attribench.manifest import Row, read_manifest
from attribench.mappers import load_mappers
from attribench.rank import RankAccumulator
from attribench.rank_file import RankFile, write_rank_file
from attribench.ranking import Ranking

BLOCK_ROWS = 8192

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What is ranked beyond the ranks among the whole database.

    top_k: neighbours kept for each query; database_sizes: rising numbers of images; hard_negatives: whether the exemplars
    of the other entries are candidates; near_duplicates: the similarity from which a database image is listed beside
    an exemplar, or None.
    """

    top_k: int = 10
    database_sizes: Sequence[int] = ()
    hard_negatives: bool = False
    near_duplicates: float | None = None


def rank_split(
    output: Path | str,
    manifest: Path | str,
    *,
    split_shards: list[Path | str],
    database_shards: list[Path | str],
    database: str,
    split: str,
    extractor: str,
    variant: str,
    mapper: Path | str | None,
    options: Options,
    threads: int,
) -> None:
    """Write the rank file of `split` by `extractor` with `variant`; `database` is the name of the database's collection.

    `mapper` is the variant's checkpoint, None for features as they are. Raises InputError for features that cannot be
    compared, or that do not belong to the images of the manifest.
    """
    rows = read_manifest(manifest)
    invalid = Invalid()
    features, valid, identity = read_collection(split_shards, rows, split, invalid)
    is_query = np.array([row.role == "query" for row in rows])
    queries, exemplars = np.flatnonzero(is_query), np.flatnonzero(~is_query)
    real, synth = load_mappers(mapper) if mapper else (_as_they_are, _as_they_are)
    blocks = stream_database(database_shards, database, invalid, identity, BLOCK_ROWS, {row.path for row in rows})
    ranking, near = _rank(
        synth(features[queries], threads),
        real(features[exemplars], threads),
        ((real(block, threads), valid) for block, valid in blocks),
        np.array([row.entry for row in rows], np.int64)[[*queries, *exemplars]],
        (valid[queries], valid[exemplars]),
        options,
        threads,
    )
    check_ranking(ranking, manifest, database, split)
    wanted = np.concatenate([ranking.neighbour_index.ravel(), near.index])
    paths = database_paths(database_shards, wanted[(wanted >= 0) & (wanted < n_rows(ranking))])
    exemplar_rows = [rows[i] for i in exemplars]
    described = describe([rows[i] for i in queries], exemplar_rows, valid[exemplars], ranking, paths)
    listed = [
        (exemplar_rows[e].path, paths[i], s)
        for e, i, s in zip(near.exemplar.tolist(), near.index.tolist(), near.similarity.tolist(), strict=True)
    ]
    about = {"split": split, "extractor": extractor, "variant": variant}
    write_rank_file(output, RankFile(**about, invalid=invalid.images, near_duplicates=listed, **described))


def _as_they_are(features: np.ndarray, threads: int) -> np.ndarray:
    return features


@dataclass(frozen=True)
class _Near:
    """Database rows near an exemplar: exemplar int64 [D], index int64 [D], similarity float64 [D]."""

    exemplar: np.ndarray
    index: np.ndarray
    similarity: np.ndarray


def _rank(queries, exemplars, blocks, entry, valid, options: Options, threads: int) -> tuple[Ranking, _Near]:
    """Rank in one pass over the database's `blocks`; near duplicates are the neighbours of exemplars as queries."""
    query_entry, exemplar_entry = np.split(entry, [len(queries)])
    about = {"top_k": options.top_k, "threads": threads}
    ranks = RankAccumulator(
        queries,
        query_entry,
        exemplars,
        exemplar_entry,
        query_valid=valid[0],
        exemplar_valid=valid[1],
        sizes=options.database_sizes,
        **about,
    )
    audit = None
    if options.near_duplicates is not None:
        each = np.arange(len(exemplars))
        audit = RankAccumulator(
            exemplars, each, exemplars, each, query_valid=valid[1], exemplar_valid=valid[1], **about
        )
    first_row = 0
    for features, is_valid in blocks:
        for accumulator in filter(None, (ranks, audit)):
            accumulator.add(features, is_valid, first_row)
        first_row += len(features)
    if options.hard_negatives:
        ranks.add_hard_negatives(exemplars, exemplar_entry, valid[1], first_row)
    return ranks.finish(), _near(audit.finish() if audit else None, options.near_duplicates)


def _near(ranking: Ranking | None, similarity: float | None) -> _Near:
    if ranking is None:
        return _Near(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    exemplar, place = np.nonzero((ranking.neighbour_index >= 0) & (ranking.neighbour_score >= similarity))
    return _Near(exemplar, ranking.neighbour_index[exemplar, place], ranking.neighbour_score[exemplar, place])


def n_rows(ranking: Ranking) -> int:
    """The number of database rows, invalid ones with them; hard negatives are numbered from here on."""
    return ranking.n_database + ranking.n_database_invalid


def check_ranking(ranking: Ranking, manifest: Path | str, database: str, split: str) -> None:
    """Refuse a ranking with nothing in it, and log what was ranked."""
    if ranking.n_database_invalid and not ranking.n_database:
        raise InputError(
            f"{database}: all {ranking.n_database_invalid} images are invalid; expected one that can be decoded"
        )
    if not ranking.query_valid.any():
        raise InputError(f"{manifest}: no query of {split} can be ranked; expected a valid query with a valid exemplar")
    log.info(
        "%d of %d queries against %d images (%d invalid)",
        ranking.query_valid.sum(),
        len(ranking.query_valid),
        ranking.n_database,
        ranking.n_database_invalid,
    )


def describe(
    queries: list[Row], exemplars: list[Row], exemplar_valid: np.ndarray, ranking: Ranking, paths: dict[int, str]
) -> dict:
    """The rank file's arrays that say what the ranking's numbers stand for; `paths` are those of database rows."""
    paths = paths | {n_rows(ranking) + j: row.path for j, row in enumerate(exemplars)}
    about = {row.entry: row for row in exemplars}
    entries = [about[number] for number in range(len(about))]
    neighbours = [[paths.get(index, "") for index in row] for row in ranking.neighbour_index.tolist()]
    return {
        "query_path": _text([row.path for row in queries]),
        "query_prompt_type": _text([row.prompt_type for row in queries]),
        "query_entry": np.array([row.entry for row in queries], np.int64),
        "exemplar_path": _text([row.path for row in exemplars]),
        "exemplar_entry": np.array([row.entry for row in exemplars], np.int64),
        "exemplar_valid": exemplar_valid,
        "class_id": _text([row.class_id for row in entries]),
        "category": _text([row.category for row in entries]),
        "neighbour_path": _text(neighbours).reshape(ranking.neighbour_index.shape),
        "ranking": ranking,
    }


def _text(values: list) -> np.ndarray:
    return np.array(values, dtype=object) if values else np.empty(0, object)
