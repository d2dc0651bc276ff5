"""Import features: turn an existing feature file into the feature shards of a collection, joined by path."""

import logging
from importlib.metadata import version
from itertools import islice, takewhile
from pathlib import Path

import numpy as np

from attribench.common.errors import InputError, listed, shown
from attribench.formats.feature_files import STORED_AS, Part, open_feature_file
from attribench.formats.manifest import shard_slice
from attribench.formats.shards import (
    IMPORTED,
    FeatureIdentity,
    Rows,
    feature_attributes,
    first_bad_row,
    write_shard,
)

log = logging.getLogger(__name__)

# Raise when the shards change: all that was imported is then imported anew.
VERSION = 1
_COMPARED = 20  # paths of the same file name, whose beginnings are compared


def import_shard(
    feature_file: Path | str,
    output: Path | str,
    paths: list[str],
    *,
    shard: str,
    extractor: str,
    collection: str,
    cut: int | None = None,
    are_all: bool = False,
    key: str = "",
) -> None:
    """Write the features of one shard of a collection from an existing feature file.

    paths: those of the whole collection, in the order of its manifest; the file has to have all of them. shard: the shard's
    name, IIIII-of-NNNNN. cut: as for `shard_slice`. are_all: the file may have no other images. key: that of the job. Rows
    are found by path, never by position. Raises InputError that lists paths which the file does not have, and for features
    that are NaN, infinite or all 0. Memory holds the paths and the shard.
    """
    rows_of_shard = shard_slice(len(paths), shard, cut)
    with open_feature_file(feature_file) as parts:
        known = [path for part in parts for path in part.paths]
        rows = _find_rows(feature_file, known, paths)
        if unused := len(known) - len(set(paths)):
            if are_all:
                wanted = set(paths)
                others = [path for path in known if path not in wanted]
                raise InputError(
                    f"{feature_file}: has {unused} images more than {collection}, which the first extractor's file lists; "
                    f"expected the same images, or a `list` or `folder` that says which are the database's:{listed(others)}"
                )
            log.info("%s: %d of %d rows are of no image of %s", feature_file, unused, len(known), collection)
        features = _read_rows(parts, rows[rows_of_shard])
    chosen = paths[rows_of_shard]
    if (bad := first_bad_row(features)) is not None:
        row, what = bad
        raise InputError(
            f"{feature_file}: the feature of {shown(chosen[row])} {what}; expected finite float32 numbers, not all of them "
            "(nearly) 0"
        )
    dtype = str(features.dtype)
    identity = FeatureIdentity(extractor, features.shape[1], IMPORTED, IMPORTED, dtype)
    attributes = feature_attributes(identity, collection, rows_of_shard.start, key, {"h5py": version("h5py")})
    with write_shard(output, "features", features.shape, dtype, Rows.all_valid(chosen), attributes) as writer:
        writer.append(features)


def _read_rows(parts: list[Part], rows: np.ndarray) -> np.ndarray:
    """Read the `rows` (int64 [k]) of all parts taken together: float16 [k, d] if all of them are, else float32.

    What is too large for float32 becomes infinite.
    """
    dtypes = {STORED_AS[part.dtype] for part in parts}
    features = np.empty((len(rows), parts[0].shape[1]), "float16" if dtypes == {"float16"} else "float32")
    first = 0
    for part in parts:
        inside = np.flatnonzero((rows >= first) & (rows < first + len(part.paths)))
        for chosen, block in part.read(rows[inside] - first):
            with np.errstate(over="ignore"):
                features[inside[chosen]] = block
        first += len(part.paths)
    return features


def _find_rows(feature_file: Path | str, known: list[str], paths: list[str]) -> np.ndarray:
    """Return the row, among the file's `known` paths, of each of `paths`: int64 [n]."""
    row_of = {path: row for row, path in enumerate(known)}
    if len(row_of) != len(known):
        twice = next(path for row, path in enumerate(known) if row_of[path] != row)
        raise InputError(f"{feature_file}: {shown(twice)} is there more than once; expected each path once")
    missing = [path for path in paths if path not in row_of]
    if missing:
        hint = _other_beginning(missing, row_of)
        if not hint and known and len(missing) == len(paths):
            hint = f"\nThe paths that it has are such as {shown(known[0])}"
        raise InputError(
            f"{feature_file}: has no feature of {len(missing)} of {len(paths)} images:{listed(missing)}{hint}"
        )
    return np.array([row_of[path] for path in paths], np.int64)


def _other_beginning(missing: list[str], row_of: dict[str, int]) -> str:
    """Return a hint if the file has all the `missing` paths with another beginning, such as without `dataset/`."""
    name = missing[0].rpartition("/")[2]
    for path in islice((path for path in row_of if path.rpartition("/")[2] == name), _COMPARED):
        pairs = zip(reversed(missing[0].split("/")), reversed(path.split("/")), strict=False)
        ending = "/".join(reversed([ours for ours, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]))
        ours, theirs = missing[0].removesuffix(ending), path.removesuffix(ending)
        if all(path.startswith(ours) and theirs + path.removeprefix(ours) in row_of for path in missing):
            return f"\nIt has them all under another beginning: {theirs!r} where {ours!r} is expected"
    return ""
