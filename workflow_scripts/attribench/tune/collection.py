"""Gather what a training reads: its splits' exemplars, and where queries and database images are in the shards."""

from dataclasses import dataclass

import numpy as np

from attribench.common.errors import InputError, listed
from attribench.common.hdf5 import read_array
from attribench.formats.features import CollectionFiles, Invalid, check_identity, each_shard
from attribench.formats.manifest import ManifestRow, read_manifest
from attribench.formats.shards import FeatureIdentity, open_feature_shard
from attribench.rank.rank import entries_of_images
from attribench.tune.batches import Part


@dataclass(frozen=True)
class Entries:
    """Hold the entries of all training splits under one numbering: exemplars in memory, queries as rows of shards.

    queries: the number of each is its entry's. exemplars: valid ones, float32 [E, d], entry by entry; entry m has the rows
    offsets[m] to offsets[m + 1]. entries_of: int64 [E, k], the entries of each exemplar's image; -1 pads. paths: of all
    images.
    """

    identity: FeatureIdentity
    queries: list[Part]
    exemplars: np.ndarray
    offsets: np.ndarray
    entries_of: np.ndarray
    paths: set[str]

    def draw_exemplars(self, entry: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a random exemplar, its row, of each of `entry` [b]."""
        first, n = self.offsets[entry], np.diff(self.offsets)[entry]
        return first + (rng.random(len(entry)) * n).astype(np.int64)

    def is_own(self, entry: np.ndarray, exemplar: np.ndarray) -> np.ndarray:
        """Return whether the exemplars [b], rows, are exemplars of each `entry` [b]: bool [b, b]."""
        own = np.zeros((len(entry), len(exemplar)), bool)
        for column in self.entries_of[exemplar].T:
            own |= entry[:, None] == column[None, :]
        return own


def read_entries(sources: list[CollectionFiles], invalid: Invalid) -> Entries:
    """Return the entries of all `sources`.

    Raises InputError for shards that do not fit, for an entry without a valid exemplar, and where no query is valid.
    """
    queries, features, kept, paths, identity, n_entries = [], [], [], set(), None, 0
    for source in sources:
        rows = read_manifest(source.manifest)
        paths.update(row.path for row in rows)
        for shard, expected in each_shard(source.shards, rows, source.collection, invalid):
            identity = check_identity(shard, identity, sources[0].shards[0])
            entry = n_entries + np.array([row.entry for row in expected], np.int64)
            is_query = np.array([row.role == "query" for row in expected], bool)
            chosen = np.flatnonzero(is_query & shard.rows.valid)
            queries.append(Part(shard.path, chosen, entry[chosen]))
            chosen = np.flatnonzero(~is_query & shard.rows.valid)
            if len(chosen):
                block = read_array(shard.data, slice(chosen[0], chosen[-1] + 1))
                features.append(block[chosen - chosen[0]].astype(np.float32))
                kept += [(int(entry[row]), expected[row].path) for row in chosen]
        refuse_entries_without_exemplars(source, rows, {entry - n_entries for entry, _ in kept})
        n_entries += 1 + max(row.entry for row in rows)
    n_queries = sum(len(part.rows) for part in queries)
    if n_queries < 2:
        raise InputError(
            f"{sources[0].manifest}: {n_queries or 'no'} query of the training splits is valid; expected at least two"
        )
    entry = np.array([entry for entry, _ in kept], np.int64)
    order = np.argsort(entry, kind="stable")
    return Entries(
        identity,
        queries,
        np.concatenate(features)[order],
        np.searchsorted(entry[order], np.arange(n_entries + 1)),
        entries_of_images([kept[row][1] for row in order], entry[order]),
        paths,
    )


def refuse_entries_without_exemplars(
    source: CollectionFiles, rows: list[ManifestRow], with_exemplars: set[int]
) -> None:
    """Raise InputError that lists the exemplars of entries of which none is valid."""
    bare = [row for row in rows if row.role == "exemplar" and row.entry not in with_exemplars]
    if bare:
        n = len({row.entry for row in bare})
        images = listed([f"entry {row.entry}: {row.path}" for row in bare])
        raise InputError(
            f"{source.manifest}: of {n} entries of {source.collection} every exemplar is invalid; expected a valid one of "
            f"each, or a split file without them:{images}"
        )


def refuse_one_entry(source: CollectionFiles, entries: Entries) -> None:
    """Raise InputError where every query is of the same entry: but for the database, its exemplars have no negatives."""
    drawn = {int(entry) for part in entries.queries for entry in np.unique(part.number)}
    if len(drawn) == 1:
        raise InputError(
            f"{source.manifest}: every valid query of the training splits is of entry {min(drawn)}, so there is nothing "
            "to tell its exemplars from; expected more entries, or `negatives` from the database"
        )


def database_parts(database: CollectionFiles, n_images: int, entries: Entries) -> list[Part]:
    """Return where the valid ones of the database's first `n_images` are; the number of each is its row in the manifest.

    Raises InputError for features that cannot be compared with those of `entries`, and for an image that is one of theirs.
    """
    parts, first = [], 0
    for path in database.shards:
        if first >= n_images:
            break
        with open_feature_shard(path) as shard:
            check_identity(shard, entries.identity, "the training splits' features")
            taken = shard.rows.paths[: n_images - first]
            if both := entries.paths.intersection(taken):
                raise InputError(
                    f"{min(both)}: is in {database.collection} and in a training split; expected it in one of them"
                )
            rows = np.flatnonzero(shard.rows.valid[: len(taken)])
            parts.append(Part(shard.path, rows, first + rows))
            first += len(taken)
    if not any(len(part.rows) for part in parts):
        raise InputError(f"{database.manifest}: no image is valid; expected some, as negatives")
    return parts
