"""Rank one split by an extractor with a variant: from a manifest and feature shards to a rank file."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attribench.common.errors import InputError
from attribench.formats.checkpoint import read_checkpoint
from attribench.formats.features import Invalid, database_paths, read_collection, stream_database
from attribench.formats.histogram import write_histogram
from attribench.formats.manifest import ManifestRow, manifest_length, read_manifest
from attribench.formats.rank_file import write_rank_file
from attribench.formats.ranking import Method, Ranking, Ranks
from attribench.rank.mappers import load_mappers
from attribench.rank.products import choose_products
from attribench.rank.ranker import Ranker

BLOCK_ROWS = 8192
_COPY = 1 - 1e-6  # the similarity from which on features of any extractor are those of a copy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Say what is ranked beyond the whole database.

    top_k: neighbours kept for each query; database_sizes: rising numbers of images; hard_negatives: whether the exemplars
    of the other entries are candidates; near_duplicates: the quantile of the similarities of exemplars and their `top_k`
    nearest database images from which on a database image is listed beside an exemplar, or None.
    """

    top_k: int = 10
    database_sizes: Sequence[int] = ()
    hard_negatives: bool = False
    near_duplicates: float | None = None


def rank_split(
    output: Path | str,
    *,
    manifest: Path | str,
    database_manifest: Path | str,
    split_shards: list[Path | str],
    database_shards: list[Path | str],
    mapper: Path | str | None,
    database: str,
    split: str,
    extractor: str,
    variant: str,
    options: Options,
    threads: int,
    device: str | None = None,
    mapper_of: str = "",
    histogram: Path | str | None = None,
    key: str = "",
) -> None:
    """Write the rank file of `split` by `extractor` with `variant`.

    mapper: the checkpoint of the variant's mapper, None for features as they are. mapper_of: the extractor whose mapper that
    is, if not this one. database: the name of the database's collection, whose manifest says how many images of its shards
    are ranked. device: a torch device, None for the processor alone. histogram: where score histograms go, None for none.
    key: that of the job. Memory is the split's features, a few blocks of the database, the tiles of scores of the threads,
    and 29 kB a query for histograms. Raises InputError for features that cannot be compared, or that do not belong to the
    images of the manifest.
    """
    rows = read_manifest(manifest)
    trained_on = _trained_on(mapper, mapper_of or extractor) if mapper else ""
    invalid = Invalid()
    features, valid, identity = read_collection(split_shards, rows, split, invalid)
    queries, exemplars = (_Images.of_role(role, rows, features, valid) for role in ("query", "exemplar"))
    del features
    n_images, split_paths = manifest_length(database_manifest), {row.path for row in rows}
    blocks = stream_database(database_shards, database, n_images, invalid, identity, BLOCK_ROWS, split_paths)
    ranker, near = _rank(mapper, queries, exemplars, n_images, blocks, options, threads, device, histogram is not None)
    ranks = ranker.finish()
    check_ranking(ranks, manifest, database, split)
    wanted = np.concatenate([ranks.neighbour_index.ravel(), near.index])
    paths = database_paths(database_shards, wanted[(wanted >= 0) & (wanted < ranks.database_size)])
    ranking = make_ranking(
        ranks,
        split,
        Method(extractor, variant),
        queries=queries.rows,
        exemplars=exemplars.rows,
        exemplar_valid=exemplars.valid,
        database_paths=paths,
        invalid=invalid.images,
        near_duplicates=near.listed(exemplars.rows, paths),
        trained_on=trained_on,
    )
    write_rank_file(output, ranking, key)
    if ranker.histogram is not None:
        write_histogram(histogram, ranker.histogram, ranks.query_valid, key)


def _trained_on(mapper: Path | str, extractor: str) -> str:
    """Return what a checkpoint says that it was trained on, as JSON; {} for one that does not say.

    Raises InputError for one of another extractor.
    """
    trained_on = read_checkpoint(mapper).trained_on
    if trained_on is None:
        return "{}"
    if trained_on.extractor != extractor:
        raise InputError(
            f"{mapper}: was trained on features of {trained_on.extractor}; expected a checkpoint for {extractor}"
        )
    return json.dumps(asdict(trained_on))


def _rank(
    mapper: Path | str | None,
    queries: "_Images",
    exemplars: "_Images",
    n_images: int,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    options: Options,
    threads: int,
    device: str | None,
    histogram: bool,
) -> tuple[Ranker, "_NearDuplicates"]:
    """Return the ranker that has seen the `n_images` database rows in `blocks`, and what is near the exemplars.

    Near duplicates are the neighbours of exemplars as queries.
    """
    real, synth = load_mappers(mapper) if mapper else (_as_they_are, _as_they_are)
    mapped = real(exemplars.features, threads)
    products = choose_products(mapped.shape[1], n_images * (len(queries.rows) + len(mapped)))
    # A job that keeps histograms reserves no GPU.
    device = None if histogram else device
    shared = {"top_k": options.top_k, "threads": threads, "products": products, "device": device}
    ranks = Ranker(
        *(synth(queries.features, threads), queries.entry, mapped, exemplars.entry),
        query_valid=queries.valid,
        exemplar_valid=exemplars.valid,
        sizes=options.database_sizes,
        histogram=histogram,
        **shared,
    )
    near_ranker = None
    if options.near_duplicates is not None:
        own = np.arange(len(mapped))
        near_ranker = Ranker(
            *(mapped, own, mapped, own),
            query_valid=exemplars.valid & exemplars.is_first,
            exemplar_valid=exemplars.valid,
            **shared,
        )
    for features, valid in blocks:
        rows = real(features, threads)
        for ranker in filter(None, (ranks, near_ranker)):
            ranker.add(rows, valid)
    if options.hard_negatives:
        ranks.add_hard_negatives(mapped, exemplars.entries, exemplars.valid & exemplars.is_first)
    return ranks, _near_duplicates(near_ranker and near_ranker.finish(), options.near_duplicates)


@dataclass(frozen=True)
class _Images:
    """Hold a split's queries, or its exemplars: manifest rows, raw features [n, d], entry int64 [n], valid bool [n]."""

    rows: list[ManifestRow]
    features: np.ndarray
    entry: np.ndarray
    valid: np.ndarray

    @classmethod
    def of_role(cls, role: str, rows: list[ManifestRow], features: np.ndarray, valid: np.ndarray) -> "_Images":
        """Return the images of `role`."""
        index = np.array([i for i, row in enumerate(rows) if row.role == role], np.int64)
        chosen = [rows[i] for i in index]
        return cls(chosen, features[index], np.array([row.entry for row in chosen], np.int64), valid[index])

    @property
    def is_first(self) -> np.ndarray:
        """Return which rows are the first of their image, bool [n]: it has a row for each entry whose exemplar it is."""
        return first_rows([row.path for row in self.rows]) == np.arange(len(self.rows))

    @property
    def entries(self) -> np.ndarray:
        """Return the entries of each row's image, int64 [n, m]; -1 pads."""
        return entries_of_images([row.path for row in self.rows], self.entry)


@dataclass(frozen=True)
class _NearDuplicates:
    """Hold database rows near an exemplar: exemplar int64 [D], index int64 [D], similarity float64 [D]."""

    exemplar: np.ndarray
    index: np.ndarray
    similarity: np.ndarray

    def listed(self, exemplars: list[ManifestRow], paths: dict[int, str]) -> list[tuple[str, str, float]]:
        """Return both images' paths, and their similarity; `paths` are those of database rows."""
        pairs = zip(self.exemplar.tolist(), self.index.tolist(), self.similarity.tolist(), strict=True)
        return [(exemplars[exemplar].path, paths[index], similarity) for exemplar, index, similarity in pairs]


def first_rows(paths: Sequence[str]) -> np.ndarray:
    """Return the first row with the same path as each row: int64 [n]."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(path, row) for row, path in enumerate(paths)], np.int64)


def entries_of_images(paths: Sequence[str], entry: np.ndarray) -> np.ndarray:
    """Return the numbers `entry` [n] of all rows that have each row's path: int64 [n, m]; -1 pads."""
    first = first_rows(paths)
    of_image: dict[int, list[int]] = {}
    for row, number in zip(first.tolist(), entry.tolist(), strict=True):
        of_image.setdefault(row, []).append(number)
    entries = np.full((len(paths), max(map(len, of_image.values()), default=1)), -1)
    for row, image in enumerate(first.tolist()):
        entries[row, : len(of_image[image])] = of_image[image]
    return entries


def _as_they_are(features: np.ndarray, threads: int) -> np.ndarray:
    return features


def _near_duplicates(ranks: Ranks | None, quantile: float | None) -> _NearDuplicates:
    """Return the neighbours of exemplars whose similarity is at least a quantile of that of all, and every copy.

    An extractor's own similarities tell what is near: from some networks all pairs of images have a cosine of 0.99.
    """
    if ranks is None or not (ranks.neighbour_index >= 0).any():
        return _NearDuplicates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    known = ranks.neighbour_index >= 0
    threshold = np.quantile(ranks.neighbour_score[known], quantile, method="higher")
    exemplar, column = np.nonzero(known & (ranks.neighbour_score >= min(threshold, _COPY)))
    return _NearDuplicates(exemplar, ranks.neighbour_index[exemplar, column], ranks.neighbour_score[exemplar, column])


def check_ranking(ranks: Ranks, manifest: Path | str, database: str, split: str) -> None:
    """Refuse a ranking with nothing in it, and log what was ranked."""
    if ranks.n_database_invalid and not ranks.n_database:
        raise InputError(
            f"{database}: all {ranks.n_database_invalid} images are invalid; expected one that can be decoded"
        )
    if not ranks.query_valid.any():
        raise InputError(f"{manifest}: no query of {split} can be ranked; expected a valid query with a valid exemplar")
    log.info(
        "%d of %d queries against %d images (%d invalid)",
        ranks.query_valid.sum(),
        len(ranks.query_valid),
        ranks.n_database,
        ranks.n_database_invalid,
    )


def make_ranking(
    ranks: Ranks,
    split: str,
    method: Method,
    *,
    queries: list[ManifestRow],
    exemplars: list[ManifestRow],
    exemplar_valid: np.ndarray,
    database_paths: dict[int, str],
    **others: Any,
) -> Ranking:
    """Return the record of `ranks`, with the images that its rows stand for.

    database_paths: by database row, at least those of neighbours. others: `invalid`, `near_duplicates` and `trained_on` of
    the record.
    """
    paths = database_paths | {ranks.database_size + e: row.path for e, row in enumerate(exemplars)}
    row_of_entry = {row.entry: row for row in exemplars}
    entries = [row_of_entry[number] for number in range(len(row_of_entry))]
    neighbours = [[paths.get(index, "") for index in row] for row in ranks.neighbour_index.tolist()]
    return Ranking(
        **vars(ranks),
        split=split,
        extractor=method.extractor,
        variant=method.variant,
        query_path=_text([row.path for row in queries]),
        query_prompt_type=_text([row.prompt_type for row in queries]),
        query_entry=np.array([row.entry for row in queries], np.int64),
        exemplar_path=_text([row.path for row in exemplars]),
        exemplar_entry=np.array([row.entry for row in exemplars], np.int64),
        exemplar_valid=exemplar_valid,
        class_id=_text([row.class_id for row in entries]),
        category=_text([row.category for row in entries]),
        neighbour_path=_text(neighbours).reshape(ranks.neighbour_index.shape),
        **others,
    )


def _text(values: list) -> np.ndarray:
    return np.array(values, dtype=object) if values else np.empty(0, object)
