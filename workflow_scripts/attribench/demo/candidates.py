"""Choose whose influence is shown: a query of a split with its own exemplars, or one's own image with those of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from attribench.common.errors import InputError
from attribench.formats.features import CollectionFiles, Invalid, check_identity, read_collection
from attribench.formats.manifest import ManifestRow, read_manifest
from attribench.formats.shards import open_feature_shard


@dataclass(frozen=True, eq=False)
class QueryImage:
    """Hold a query, or an image of one's own, and the exemplars that join the database.

    feature: raw [d]. exemplars: manifest rows [m], and exemplar_features: raw [m, d]. are_own: whether they are those that
    the image was synthesized from, and so have a rank each.
    """

    feature: np.ndarray
    exemplars: Sequence[ManifestRow]
    exemplar_features: np.ndarray
    are_own: bool


@dataclass(frozen=True, eq=False)
class SplitFeatures:
    """Hold a split: its manifest rows, raw features [n, d] and valid bool [n]."""

    rows: list[ManifestRow]
    features: np.ndarray
    valid: np.ndarray

    @cached_property
    def queries(self) -> dict[int, list[ManifestRow]]:
        """Return the queries that can be ranked, by entry: valid ones, with a valid exemplar."""
        valid = [row for row, is_valid in zip(self.rows, self.valid, strict=True) if is_valid]
        entries = {row.entry for row in valid if row.role == "exemplar"}
        of_entry: dict[int, list[ManifestRow]] = {}
        for row in valid:
            if row.role == "query" and row.entry in entries:
                of_entry.setdefault(row.entry, []).append(row)
        return of_entry

    def query(self, path: str) -> QueryImage:
        """Return the query at `path` with its entry's exemplars."""
        number = next(i for i, row in enumerate(self.rows) if row.path == path and row.role == "query")
        entry = self.rows[number].entry
        return self._with_exemplars(
            self.features[number], [i for i in self._exemplars() if self.rows[i].entry == entry], True
        )

    def with_all_exemplars(self, feature: np.ndarray) -> QueryImage:
        """Return an image of one's own, raw `feature` [d], with the exemplars of all entries, each image once."""
        first = {self.rows[i].path: i for i in reversed(self._exemplars())}
        return self._with_exemplars(feature, sorted(first.values()), False)

    def _exemplars(self) -> list[int]:
        return [i for i, row in enumerate(self.rows) if row.role == "exemplar" and self.valid[i]]

    def _with_exemplars(self, feature: np.ndarray, exemplars: list[int], are_own: bool) -> QueryImage:
        return QueryImage(feature, [self.rows[i] for i in exemplars], self.features[exemplars], are_own)


def alone(feature: np.ndarray) -> QueryImage:
    """Return an image of one's own, raw `feature` [d], with no exemplars."""
    return QueryImage(feature, [], np.empty((0, len(feature)), feature.dtype), False)


def read_split(split: CollectionFiles, database: CollectionFiles) -> SplitFeatures:
    """Read a split's features. Raises InputError where they do not belong to its manifest, or to the database's."""
    rows = read_manifest(split.manifest)
    features, valid, identity = read_collection(split.shards, rows, split.collection, Invalid())
    with open_feature_shard(database.shards[0]) as shard:
        check_identity(shard, identity, "the split's features")
    read = SplitFeatures(rows, features, valid)
    if not read.queries:
        raise InputError(f"{split.manifest}: no query can be ranked; expected a valid one with a valid exemplar")
    return read


def entry_title(row: ManifestRow) -> str:
    """Return what the page calls a row's entry: its number, and class and category where it has some."""
    parts = dict.fromkeys(part for part in (row.class_id, row.category) if part)
    return " · ".join([f"entry {row.entry}", *parts])


def query_titles(rows: Sequence[ManifestRow]) -> dict[str, ManifestRow]:
    """Return an entry's queries by what the page calls them: prompt type and file name, or path where names are alike."""
    short = {f"{row.prompt_type} · {PurePosixPath(row.path).name}": row for row in rows}
    return short if len(short) == len(rows) else {f"{row.prompt_type} · {row.path}": row for row in rows}
