"""Rank one split by one method: from manifests and feature shards to a rank file."""

import logging
from pathlib import Path

import numpy as np

from attribench.errors import InputError
from attribench.features import Invalid, database_paths, read_collection, stream_database
from attribench.manifest import Row, read_manifest
from attribench.rank import rank
from attribench.rank_file import RankFile, write_rank_file
from attribench.ranking import Ranking

BLOCK_ROWS = 8192

log = logging.getLogger(__name__)


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
    top_k: int,
    threads: int,
) -> None:
    """Write the rank file of `split` by `extractor` with `variant`; `database` is the name of the database's collection.

    Raises InputError for features that cannot be compared, or that do not belong to the images of the manifest.
    """
    rows = read_manifest(manifest)
    invalid = Invalid()
    features, valid, identity = read_collection(split_shards, rows, split, invalid)
    is_query = np.array([row.role == "query" for row in rows])
    entry = np.array([row.entry for row in rows], np.int64)
    queries, exemplars = np.flatnonzero(is_query), np.flatnonzero(~is_query)
    ranking = rank(
        features[queries],
        entry[queries],
        features[exemplars],
        entry[exemplars],
        stream_database(database_shards, database, invalid, identity, BLOCK_ROWS, {row.path for row in rows}),
        query_valid=valid[queries],
        exemplar_valid=valid[exemplars],
        top_k=top_k,
        threads=threads,
    )
    if ranking.n_database_invalid and not ranking.n_database:
        raise InputError(
            f"{database}: all {ranking.n_database_invalid} images are invalid; expected one that can be decoded"
        )
    if not ranking.query_valid.any():
        raise InputError(f"{manifest}: no query of {split} can be ranked; expected a valid query with a valid exemplar")
    log.info(
        "%d of %d queries against %d images (%d invalid)",
        ranking.query_valid.sum(),
        len(queries),
        ranking.n_database,
        ranking.n_database_invalid,
    )
    paths = database_paths(database_shards, ranking.neighbour_index[ranking.neighbour_index >= 0])
    described = _describe([rows[i] for i in queries], [rows[i] for i in exemplars], valid[exemplars], ranking, paths)
    write_rank_file(
        output, RankFile(split=split, extractor=extractor, variant=variant, invalid=invalid.images, **described)
    )


def _describe(
    queries: list[Row], exemplars: list[Row], exemplar_valid: np.ndarray, ranking: Ranking, paths: dict[int, str]
) -> dict:
    """The rank file's arrays that say what the ranking's numbers stand for."""
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
