"""Import: turn an existing feature file into the feature shards of a collection, joined by path."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from attribench.errors import InputError
from attribench.feature_files import Part, open_feature_file
from attribench.shards import IMPORTED, FeatureIdentity, Rows, feature_attributes, write_shard

BLOCK_ROWS = 8192


def import_shard(
    source: Path | str, output: Path | str, paths: list[str], *, extractor: str, collection: str, first_row: int
) -> None:
    """Write the features of `paths` from the feature file `source` to the shard `output`, in the order of `paths`.

    Rows are found by path, never by position. Raises InputError that lists paths which the file does not have, and for
    features that are NaN or infinite. Memory holds one block of rows; the file is memory-mapped.
    """
    parts = open_feature_file(source)
    part_of, row_of = _locate(source, parts, paths)
    dtype = "float16" if all(part.dtype == "float16" for part in parts) else "float32"
    identity = FeatureIdentity(extractor, int(parts[0].features.shape[1]), IMPORTED, IMPORTED, dtype)
    rows = Rows(list(paths), np.ones(len(paths), bool), [""] * len(paths))
    attributes = feature_attributes(identity, collection, first_row, {"h5py": version("h5py")})
    with write_shard(output, "features", (len(paths), identity.dimension), dtype, rows, attributes) as writer:
        for start in range(0, len(paths), BLOCK_ROWS):
            chosen = slice(start, start + BLOCK_ROWS)
            block = _gather(parts, part_of[chosen], row_of[chosen], identity.dimension, dtype)
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                bad = paths[start + int(np.argmin(finite))]
                raise InputError(f"{source}: the feature of {bad} holds NaN or Inf; expected finite numbers")
            writer.append(block)


def _locate(source: Path | str, parts: list[Part], paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each path, int64 [n]: the part that has it, and its row there."""
    where: dict[str, tuple[int, int]] = {}
    for number, part in enumerate(parts):
        for row, path in enumerate(part.paths):
            if where.setdefault(path, (number, row)) != (number, row):
                raise InputError(f"{source}: {path} is there more than once; expected each path once")
    missing = [path for path in paths if path not in where]
    if missing:
        shown = "".join(f"\n  {path}" for path in missing[:20])
        raise InputError(f"{source}: has no feature of {len(missing)} of {len(paths)} images:{shown}")
    found = np.array([where[path] for path in paths], np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _gather(parts: list[Part], part_of: np.ndarray, row_of: np.ndarray, dimension: int, dtype: str) -> np.ndarray:
    block = np.empty((len(part_of), dimension), dtype)
    for number in np.unique(part_of):
        mine = np.flatnonzero(part_of == number)
        order = mine[np.argsort(row_of[mine], kind="stable")]
        block[order] = parts[number].rows(row_of[order])
    return block
