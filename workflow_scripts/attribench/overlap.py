"""Overlap: images that are trained on and evaluated too, by path, by content and by nearly equal features.

How near features of different images are depends on the extractor, so its own distances (1 - cosine) tell what is a near
duplicate, those within the evaluated split: between it and a training split there may be any number of duplicates. An
evaluated image and a training image are near duplicates when their distance is at most a tenth of the usual one to the
nearest image of another entry, or a hundredth of that of any two images; usual is the median.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attribench.common.errors import InputError, listed
from attribench.formats.features import CollectionFiles, Invalid, each_shard
from attribench.formats.manifest import ManifestRow, read_manifest
from attribench.provenance.fingerprints import read_record

# Raise when what is refused changes: all is then compared anew.
VERSION = 3

CHOOSES = "which chooses among its steps"  # what a val split is for, in messages
_NEAREST_SHARE, _ANY_SHARE, _COPY = 0.1, 0.01, 1e-6
_ROWS = 2048  # compared with all images of the evaluated split at a time


class Nearest(NamedTuple):
    """Say how near an evaluated image is to a training split, at the most: both images, their cosine, and the threshold."""

    train_split: str
    train_image: str
    image: str
    cosine: float
    near_duplicate_from: float


@dataclass(frozen=True)
class _Images:
    """Hold a split's images: manifest rows, and which of them have features, unit float32 [n, d]."""

    rows: list[ManifestRow]
    valid: np.ndarray
    units: np.ndarray

    @property
    def entries(self) -> np.ndarray:
        """Return the entry of each row, int64 [n]."""
        return np.array([row.entry for row in self.rows], np.int64)


def refuse_overlap(
    trained: list[CollectionFiles],
    evaluated: CollectionFiles,
    near_duplicates: str = "refuse",
    purpose: str = "which is evaluated",
) -> list[Nearest]:
    """Return what is nearest to each of the `trained` splits of the split `evaluated`.

    Raises InputError that names images which are in both: by path, by content or, unless `near_duplicates` is `allow`, by
    nearly equal features. purpose: of the split `evaluated`, for the message.
    """
    images, contents, nearest = _read(evaluated), _contents(evaluated), []
    threshold = near_duplicate_distance(images.units[images.valid], images.entries[images.valid])
    for source in trained:
        rows = read_manifest(source.manifest)
        same = _same_paths(rows, images.rows) or _same_contents(_contents(source), contents, images.rows)
        sentence = f"of {source.collection}, on which mappers are tuned, {{}} {evaluated.collection}, {purpose}"
        _refuse(source, same, sentence.format("are in"), "no common image")
        found = _Comparison.of(source, rows, images, threshold)
        if near_duplicates == "refuse":
            expected = (
                f"no cosine of {1 - threshold:.6f} or more, or `near_duplicates: allow` in the entry below `tune`"
            )
            _refuse(source, found.near_duplicates(), sentence.format("have near duplicates in"), expected)
        nearest += found.nearest(source.collection)
    return nearest


def near_duplicate_distance(units: np.ndarray, entries: np.ndarray) -> float:
    """Return the distance up to which images are near duplicates, from unit features [n, d] of images of `entries` [n]."""
    if not len(units):
        return _COPY
    sample = slice(None, None, -(-len(units) // _ROWS))
    distances = 1 - units[sample] @ units.T
    usual = np.median(distances)
    distances[entries[sample, None] == entries] = np.inf
    nearest = np.median(distances.min(axis=1))  # infinite where there is one entry only
    return max(_COPY, float(_ANY_SHARE * usual), float(_NEAREST_SHARE * nearest) if np.isfinite(nearest) else 0.0)


def identities(source: CollectionFiles) -> set[str]:
    """Return the paths of a split's images, and the SHA-256 of its files: splits with none in common share no image."""
    return {row.path for row in read_manifest(source.manifest)} | {*_contents(source)}


def _refuse(source: CollectionFiles, lines: list[str], found: str, expected: str) -> None:
    if lines:
        raise InputError(f"{source.manifest}: {len(lines)} images {found}; expected {expected}:{listed(lines)}")


def _read(source: CollectionFiles) -> _Images:
    rows, units, valid = read_manifest(source.manifest), [], []
    for shard, _ in each_shard(source.shards, rows, source.collection, Invalid()):
        units.append(_unit(shard.read()))
        valid.append(shard.rows.valid)
    return _Images(rows, np.concatenate(valid), np.concatenate(units))


def _unit(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _described(row: ManifestRow) -> str:
    return f"{row.path} (entry {row.entry})"


def _same_paths(trained: list[ManifestRow], evaluated: list[ManifestRow]) -> list[str]:
    by_path = {row.path: row for row in evaluated}
    return [f"{_described(by_path[row.path])}: the same path" for row in trained if row.path in by_path]


def _contents(source: CollectionFiles) -> dict[str, str]:
    """Return path by SHA-256 of the files that the collection was made from; its images, where these were read."""
    record = read_record(source.record)
    return {fingerprint.sha256: path for path, fingerprint in record.fingerprints.items()} if record else {}


def _same_contents(trained: dict[str, str], evaluated: dict[str, str], rows: list[ManifestRow]) -> list[str]:
    by_path = {row.path: _described(row) for row in rows}
    both = sorted(trained.keys() & evaluated.keys(), key=trained.get)
    return [f"{trained[same]} = {by_path.get(evaluated[same], evaluated[same])}: the same content" for same in both]


@dataclass(frozen=True)
class _Comparison:
    """Hold the nearest training image of each valid evaluated one: paths, and distances (1 - cosine), float32 [n].

    threshold: the distance up to which images are near duplicates.
    """

    trained: list[str]
    evaluated: list[ManifestRow]
    distance: np.ndarray
    threshold: float

    @classmethod
    def of(cls, source: CollectionFiles, rows: list[ManifestRow], images: _Images, threshold: float) -> "_Comparison":
        """Compare `images` with those of a training split, which has the manifest `rows`."""
        units = images.units[images.valid]
        distance, which = np.full(len(units), np.inf, np.float32), np.zeros(len(units), np.int64)
        for numbers, block in _blocks(source, rows) if len(units) else ():
            distances = 1 - units @ block.T
            column = distances.argmin(axis=1)
            smallest = distances[np.arange(len(units)), column]
            which = np.where(smallest < distance, numbers[column], which)
            distance = np.minimum(distance, smallest)
        evaluated = [row for row, valid in zip(images.rows, images.valid, strict=True) if valid]
        return cls([rows[number].path for number in which], evaluated, distance, threshold)

    def near_duplicates(self) -> list[str]:
        """Return a line for each evaluated image that is a near duplicate, the nearest first."""
        order = np.argsort(self.distance, kind="stable")
        return [
            f"{self.trained[row]} = {_described(self.evaluated[row])}: features of cosine {1 - self.distance[row]:.6f}"
            for row in order[self.distance[order] <= self.threshold]
        ]

    def nearest(self, split: str) -> list[Nearest]:
        """Return the nearest of all; none where no image is valid."""
        if not np.isfinite(self.distance).any():
            return []
        row = int(np.argmin(self.distance))
        cosine, threshold = (round(1 - float(value), 6) for value in (self.distance[row], self.threshold))
        return [Nearest(split, self.trained[row], self.evaluated[row].path, cosine, threshold)]


def _blocks(source: CollectionFiles, rows: list[ManifestRow]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the manifest rows and the unit features of the valid images of a split, block by block."""
    first = 0
    for shard, expected in each_shard(source.shards, rows, source.collection, Invalid()):
        for start, block in zip(range(0, len(expected), _ROWS), shard.blocks(_ROWS), strict=True):
            valid = shard.rows.valid[start : start + len(block)]
            if valid.any():
                yield first + start + np.flatnonzero(valid), _unit(block[valid])
        first += len(expected)
