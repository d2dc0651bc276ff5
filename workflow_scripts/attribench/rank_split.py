"""Rank one split by variants of an extractor: from manifests and feature shards to rank files."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Variant:
    """What to rank by: the variant's name, its mapper's checkpoint (None: features as they are), and its rank file."""

    name: str
    mapper: Path | str | None
    output: Path | str


def rank_split(
    variants: Sequence[Variant],
    manifest: Path | str,
    *,
    split_shards: list[Path | str],
    database_shards: list[Path | str],
    database: str,
    split: str,
    extractor: str,
    options: Options,
    threads: int,
    device: str | None = None,
) -> None:
    """Write the rank files of `split` by `extractor` with each of `variants`: split and database are read once for all.

    `database` is the name of the database's collection. Memory is the split's features, a few blocks of the database, and
    for each variant its queries and exemplars as float64 and as the filters multiply them (14 bytes a number), and the
    scores of a few queries with a block, for ranks and for near duplicates (128 MiB each up to 16 threads, twice that in
    float64). `device` is a torch device, None for the processor alone. Raises InputError for features that cannot
    be compared, or that do not belong to the images of the manifest.
    """
    rows = read_manifest(manifest)
    invalid = Invalid()
    features, valid, identity = read_collection(split_shards, rows, split, invalid)
    queries, exemplars = (_Images.of_role(role, rows, features, valid) for role in ("query", "exemplar"))
    del features
    work = (options, threads, device)
    passes = [_Pass(variant.mapper, queries, exemplars, *work) for variant in variants]
    blocks = stream_database(database_shards, database, invalid, identity, BLOCK_ROWS, {row.path for row in rows})
    n_images = _stream(blocks, passes)
    found = [each.finish(n_images) for each in passes]
    for ranking, _ in found:
        check_ranking(ranking, manifest, database, split)
    wanted = np.concatenate(
        [index for ranking, near in found for index in (ranking.neighbour_index.ravel(), near.index)]
    )
    paths = database_paths(database_shards, wanted[(wanted >= 0) & (wanted < n_images)])
    for variant, (ranking, near) in zip(variants, found, strict=True):
        about = {"split": split, "extractor": extractor, "variant": variant.name}
        described = describe(queries.rows, exemplars.rows, exemplars.valid, ranking, paths)
        listed = near.listed(exemplars.rows, paths)
        write_rank_file(variant.output, RankFile(**about, invalid=invalid.images, near_duplicates=listed, **described))


def _stream(blocks: Iterable[tuple[np.ndarray, np.ndarray]], passes: list["_Pass"]) -> int:
    """Add the database's blocks to each of `passes`; the number of its rows."""
    first_row = 0
    for features, valid in blocks:
        for each in passes:
            each.add(features, valid, first_row)
        first_row += len(features)
    return first_row


@dataclass(frozen=True)
class _Images:
    """A split's queries, or its exemplars: manifest rows, raw features [n, d], entry int64 [n], valid bool [n]."""

    rows: list[Row]
    features: np.ndarray
    entry: np.ndarray
    valid: np.ndarray

    @classmethod
    def of_role(cls, role: str, rows: list[Row], features: np.ndarray, valid: np.ndarray) -> "_Images":
        """Those of `role` among the split's."""
        index = np.array([i for i, row in enumerate(rows) if row.role == role], np.int64)
        chosen = [rows[i] for i in index]
        return cls(chosen, features[index], np.array([row.entry for row in chosen], np.int64), valid[index])


@dataclass(frozen=True)
class _Near:
    """Database rows near an exemplar: exemplar int64 [D], index int64 [D], similarity float64 [D]."""

    exemplar: np.ndarray
    index: np.ndarray
    similarity: np.ndarray

    def listed(self, exemplars: list[Row], paths: dict[int, str]) -> list[tuple[str, str, float]]:
        """Both images' paths, and their similarity; `paths` are those of database rows."""
        pairs = zip(self.exemplar.tolist(), self.index.tolist(), self.similarity.tolist(), strict=True)
        return [(exemplars[exemplar].path, paths[index], similarity) for exemplar, index, similarity in pairs]


class _Pass:
    """One variant's part of the pass over the database: its maps, its ranks, and what is near its exemplars.

    Near duplicates are the neighbours of exemplars as queries.
    """

    def __init__(
        self,
        mapper: Path | str | None,
        queries: _Images,
        exemplars: _Images,
        options: Options,
        threads: int,
        device: str | None,
    ):
        self._options, self._threads = options, threads
        self._real, synth = load_mappers(mapper) if mapper else (_as_they_are, _as_they_are)
        self._exemplars = replace(exemplars, features=self._real(exemplars.features, threads))
        about = {"top_k": options.top_k, "threads": threads, "device": device, "exemplar_valid": exemplars.valid}
        mapped, entry = self._exemplars.features, exemplars.entry
        given = (synth(queries.features, threads), queries.entry, mapped, entry)
        self._ranks = RankAccumulator(*given, query_valid=queries.valid, sizes=options.database_sizes, **about)
        self._audit = None
        if options.near_duplicates is not None:
            each = np.arange(len(mapped))
            self._audit = RankAccumulator(mapped, each, mapped, each, query_valid=exemplars.valid, **about)

    def add(self, features: np.ndarray, valid: np.ndarray, first_row: int) -> None:
        """Add database rows from `first_row` on: raw features [n, d], valid bool [n]."""
        mapped = self._real(features, self._threads)
        for accumulator in filter(None, (self._ranks, self._audit)):
            accumulator.add(mapped, valid, first_row)

    def finish(self, n_rows: int) -> tuple[Ranking, _Near]:
        """The ranking among all `n_rows` rows of the database."""
        if self._options.hard_negatives:
            about = self._exemplars
            self._ranks.add_hard_negatives(about.features, about.entry, about.valid, n_rows)
        return self._ranks.finish(), _near(self._audit and self._audit.finish(), self._options.near_duplicates)


def _as_they_are(features: np.ndarray, threads: int) -> np.ndarray:
    return features


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
