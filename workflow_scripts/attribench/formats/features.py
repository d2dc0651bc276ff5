"""A collection's features over its shards: checked against the manifest, whole or as a stream."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attribench.common.errors import InputError
from attribench.common.hdf5 import read_array
from attribench.common.prefetch import read_ahead
from attribench.formats.manifest import ManifestRow
from attribench.formats.shards import FeatureIdentity, ShardReader, open_feature_shard

_BLOCKS_AHEAD = 2


@dataclass(frozen=True)
class CollectionFiles:
    """Name a collection with its manifest, the record of its given files, and the feature shards of one extractor."""

    collection: str
    manifest: Path | str
    record: Path | str
    shards: list[Path | str]


@dataclass
class Invalid:
    """Collect the images without a feature: (collection, path, role, reason), in the order in which they are read."""

    images: list[tuple[str, str, str, str]] = field(default_factory=list)

    def note(self, collection: str, shard: ShardReader, roles: list[str]) -> None:
        """Add the invalid ones of the first rows of `shard`, whose images have these `roles`."""
        for row in np.flatnonzero(~shard.rows.valid[: len(roles)]):
            self.images.append((collection, shard.rows.paths[row], roles[row], shard.rows.reasons[row]))


def each_shard(
    shards: list[Path | str], rows: list[ManifestRow], collection: str, invalid: Invalid
) -> Iterator[tuple[ShardReader, list[ManifestRow]]]:
    """Yield each shard of the collection with manifest `rows`, open, with the rows that it holds.

    Raises InputError when the shards do not hold just these images, or were made in different ways.
    """
    identity, first = None, 0
    for path in shards:
        with open_feature_shard(path) as shard:
            expected = rows[first : first + len(shard.rows.paths)]
            _check_paths(shard, [row.path for row in expected])
            identity = check_identity(shard, identity, shards[0])
            invalid.note(collection, shard, [row.role for row in expected])
            yield shard, expected
            first += len(expected)
    if first != len(rows):
        raise InputError(
            f"{shards[-1]}: the shards of {collection} hold {first} images; its manifest lists {len(rows)}"
        )


def read_collection(
    shards: list[Path | str], rows: list[ManifestRow], collection: str, invalid: Invalid
) -> tuple[np.ndarray, np.ndarray, FeatureIdentity]:
    """Return all features [n, d] of the collection with manifest `rows`, valid bool [n], and how they were made.

    Raises InputError as `each_shard` does.
    """
    blocks, valid, identity = [], [], None
    for shard, _ in each_shard(shards, rows, collection, invalid):
        identity = shard.identity
        blocks.append(shard.read())
        valid.append(shard.rows.valid)
    return np.concatenate(blocks), np.concatenate(valid), identity


def stream_database(
    shards: list[Path | str],
    collection: str,
    n_images: int,
    invalid: Invalid,
    identity: FeatureIdentity,
    block_rows: int,
    split_paths: set[str],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks (features [b, d], valid bool [b]) of the database's first `n_images`, while a thread reads the next ones.

    Raises InputError for shards that hold fewer, for a shard whose features cannot be compared with those made as
    `identity`, and for an image that is among `split_paths`: an exemplar that is also in the database would be its own
    distractor.
    """

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        taken = 0
        for path in shards:
            if taken == n_images:
                return
            with open_feature_shard(path) as shard:
                check_identity(shard, identity, "the split's features")
                paths = shard.rows.paths[: n_images - taken]
                both = split_paths.intersection(paths)
                if both:
                    raise InputError(f"{min(both)}: is in the database and in the split; expected it in one of them")
                invalid.note(collection, shard, ["database"] * len(paths))
                for start in range(0, len(paths), block_rows):
                    rows = slice(start, min(start + block_rows, len(paths)))
                    yield read_array(shard.data, rows), shard.rows.valid[rows]
                taken += len(paths)
        if taken < n_images:
            raise InputError(
                f"{shards[-1]}: the shards of {collection} hold {taken} images; its manifest lists {n_images}"
            )

    return read_ahead(blocks(), _BLOCKS_AHEAD)


def database_paths(shards: list[Path | str], rows: np.ndarray) -> dict[int, str]:
    """Return the paths of the database rows `rows` (int64, any order), by row."""
    paths: dict[int, str] = {}
    rows, first = np.unique(rows), 0
    for path in shards:
        with open_feature_shard(path) as shard:
            inside = rows[(rows >= first) & (rows < first + len(shard.rows.paths))]
            paths |= {row: shard.rows.paths[row - first] for row in inside.tolist()}
            first += len(shard.rows.paths)
    return paths


def _check_paths(shard: ShardReader, expected: list[str]) -> None:
    present = shard.rows.paths
    if present != expected:
        pairs = enumerate(zip(present, expected, strict=False))
        row = next((i for i, pair in pairs if pair[0] != pair[1]), len(expected))
        shown = [paths[row] if row < len(paths) else "nothing" for paths in (present, expected)]
        raise InputError(f"{shard.path}: row {row} is {shown[0]!r}; expected {shown[1]!r}, as the manifest has it")


def check_identity(shard: ShardReader, identity: FeatureIdentity | None, other: Path | str) -> FeatureIdentity:
    """Return the first identity: `identity`, or the shard's if it is None. Raises InputError for features that differ."""
    if identity is None:
        return shard.identity
    difference = shard.identity.difference(identity)
    if difference:
        raise InputError(f"{shard.path}: its features cannot be compared with {other}: {difference}")
    return identity
