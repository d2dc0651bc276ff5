"""Import: turn an existing feature file into the feature shards of a collection, joined by path."""

from collections.abc import Iterable
from importlib.metadata import version
from itertools import count, islice, takewhile
from pathlib import Path

import numpy as np

from attribench.errors import InputError
from attribench.feature_files import Part, open_feature_file
from attribench.feature_rows import READ_AS, READ_BYTES
from attribench.manifest import shard_slice
from attribench.progress import progress
from attribench.shards import IMPORTED, FeatureIdentity, Rows, feature_attributes, write_shard

_SHOWN = 20  # paths in a message


def import_features(
    source: Path | str, outputs: list[Path | str], paths: Iterable[str], *, extractor: str, collection: str
) -> None:
    """Write the features of a collection's `paths`, in that order, from the feature file `source` to its shards.

    outputs: the paths of all shards of the collection, IIIII-of-NNNNN.h5. Rows are found by path, never by position.
    Raises InputError that lists paths which the file does not have, and for features that are NaN or infinite. Memory
    holds the paths and a block of rows, if the file can be mapped: all but torch's old format can.
    """
    with open_feature_file(source, Path(outputs[0]).parent) as parts:
        rows = _locate(source, [path for part in parts for path in part.paths], paths)
        kinds = {READ_AS[part.features.kind] for part in parts}
        dtype = "float16" if kinds == {"float16"} else "float32"
        identity = FeatureIdentity(extractor, int(parts[0].features.shape[1]), IMPORTED, IMPORTED, dtype)
        for output in progress(outputs, f"import {collection}", len(outputs), "shard"):
            part = shard_slice(len(rows), Path(output).stem)
            chosen, first_row = rows[part], part.start
            _write(source, output, parts, chosen, identity, collection, first_row)


def _locate(source: Path | str, known: list[str], paths: Iterable[str]) -> np.ndarray:
    """The row, among the file's `known` paths, of each of `paths`: int64 [n]."""
    where = dict(zip(known, count(), strict=False))
    if len(where) != len(known):
        twice = next(path for row, path in enumerate(known) if where[path] != row)
        raise InputError(f"{source}: {twice} is there more than once; expected each path once")
    missing: list[str] = []

    def row_of(path: str) -> int:
        if path not in where:
            missing.append(path)
        return where.get(path, -1)

    rows = np.fromiter(map(row_of, paths), np.int64)
    if missing:
        shown = "".join(f"\n  {path}" for path in missing[:_SHOWN])
        rest = f"\n  … and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        hint = _other_beginning(missing, known, where)
        raise InputError(f"{source}: has no feature of {len(missing)} of {len(rows)} images:{shown}{rest}{hint}")
    return rows


def _other_beginning(missing: list[str], known: list[str], where: dict[str, int]) -> str:
    """What to say when the file has all the `missing` paths with another beginning, such as without `dataset/`."""
    name = missing[0].rpartition("/")[2]
    for path in islice((path for path in known if path.rpartition("/")[2] == name), _SHOWN):
        pairs = zip(reversed(missing[0].split("/")), reversed(path.split("/")), strict=False)
        ending = "/".join(reversed([a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]))
        ours, theirs = missing[0].removesuffix(ending), path.removesuffix(ending)
        if all(m.startswith(ours) and theirs + m[len(ours) :] in where for m in missing):
            return f"\nIt has them all under another beginning: {theirs!r} where {ours!r} is expected"
    return ""


def _write(
    source: Path | str,
    output: Path | str,
    parts: list[Part],
    chosen: np.ndarray,
    identity: FeatureIdentity,
    collection: str,
    first_row: int,
) -> None:
    """Write one shard: the rows `chosen` (int64 [n]) of all parts taken together, in that order."""
    starts = np.cumsum([0, *(len(part.paths) for part in parts)])
    part_of = np.searchsorted(starts, chosen, side="right") - 1
    row_of = chosen - starts[part_of]
    paths = [parts[p].paths[r] for p, r in zip(part_of.tolist(), row_of.tolist(), strict=True)]
    rows = Rows(paths, np.ones(len(paths), bool), [""] * len(paths))
    attributes = feature_attributes(identity, collection, first_row, {"h5py": version("h5py")})
    dtype = identity.precision
    block_rows = max(1, READ_BYTES // (identity.dimension * np.dtype(dtype).itemsize))
    with write_shard(output, "features", (len(paths), identity.dimension), dtype, rows, attributes) as writer:
        for start in range(0, len(paths), block_rows):
            block_of = slice(start, start + block_rows)
            block = _gather(parts, part_of[block_of], row_of[block_of], identity.dimension, dtype)
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                bad = paths[start + int(np.argmin(finite))]
                raise InputError(f"{source}: the feature of {bad} holds NaN or Inf; expected finite float32 numbers")
            writer.append(block)


def _gather(parts: list[Part], part_of: np.ndarray, row_of: np.ndarray, dimension: int, dtype: str) -> np.ndarray:
    """The rows `row_of` of the parts `part_of`, each part read in the order of the file."""
    if (part_of == part_of[0]).all() and (np.diff(row_of) > 0).all():
        return parts[part_of[0]].features.read(row_of).astype(dtype, copy=False)
    block = np.empty((len(part_of), dimension), dtype)
    for number in np.unique(part_of):
        mine = np.flatnonzero(part_of == number)
        order = mine[np.argsort(row_of[mine], kind="stable")]
        block[order] = parts[number].features.read(row_of[order])
    return block
