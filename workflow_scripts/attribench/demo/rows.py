"""A method's database as it is scored: unit rows of mapped features, float32, in a memory-mapped file.

They are made once, before the first answer, and again when the features or the mapper change. A row is kept less the centre
of all: where an extractor's rows are close together, their differences are what float32 has to hold.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

import numpy as np

from attribench.common import hdf5
from attribench.common.errors import InputError
from attribench.common.files import atomic_path, sha256_file
from attribench.formats.features import CollectionFiles, Invalid, stream_database
from attribench.formats.manifest import manifest_length
from attribench.formats.shards import FeatureIdentity, open_feature_shard
from attribench.provenance.keys import carried_key, digest
from attribench.rank.bounds import FLOAT32, SLACK, float32_error, shared_error
from attribench.rank.score import row_norms

VERSION = 1  # raise when what the files hold changes
_BLOCK = 8192  # rows that are mapped, written or scored at a time
_Map = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class DatabaseRows:
    """Hold where a database of N images lies: `data` float32 [N, d], unit rows less `centre`, zeros where not valid.

    centre: float64 [d]. valid: bool [N]. starts: int64 [shards + 1], the first row of each shard, and N. longest: the
    longest of the rows.
    """

    data: Path
    shards: list[Path | str]
    centre: np.ndarray
    valid: np.ndarray
    starts: np.ndarray
    longest: float

    def scores(self, unit: np.ndarray) -> np.ndarray:
        """Return the scores float64 [N] with a query's unit row float64 [d], each within `error`; NaN where not valid."""
        import torch  # whose product of a matrix and a vector is twice as fast as NumPy's

        query, products = torch.from_numpy(unit.astype(np.float32)), np.empty(len(self.valid), np.float32)
        for start in range(0, len(products), _BLOCK):
            products[start : start + _BLOCK] = torch.mv(torch.from_numpy(self._block(start)), query).numpy()
        return np.where(self.valid, unit @ self.centre + products, np.nan)

    @property
    def are_there(self) -> bool:
        """Return whether the file of rows is there, whole."""
        return self.data.exists() and self.data.stat().st_size == len(self.valid) * len(self.centre) * 4

    @property
    def error(self) -> float:
        """Return how far `scores` can be from the canonical ones."""
        d = len(self.centre)
        return float32_error(d, 1, SLACK, self.longest, 0) + shared_error(d)

    def float64_scores(self, unit: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the scores float64 [k] of `rows` int64 [k], each within `float64_error`, by products in float64."""
        if not len(rows):
            return np.empty(0)
        all_rows = np.memmap(self.data, np.float32, "r", shape=(len(self.valid), len(self.centre)))
        return unit @ self.centre + all_rows[rows].astype(np.float64) @ unit

    @property
    def float64_error(self) -> float:
        """Return how far `float64_scores` can be from the canonical ones: what rounding rows to float32 leaves."""
        return 2 * FLOAT32 * self.longest + shared_error(len(self.centre))

    def features(self, rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Return the raw features [k, d] and the paths of `rows` int64 [k], rising, from the shards."""
        features, paths = [], []
        for number, path in enumerate(self.shards):
            first, end = self.starts[number], self.starts[number + 1]
            inside = rows[(rows >= first) & (rows < end)] - first
            if not len(inside):
                continue
            with hdf5.open_checked(path, "shard") as file, hdf5.damage_as_input_error(path):
                features.append(file["features"][inside])
                paths += [text.decode() for text in file["paths"][inside].tolist()]
        return np.concatenate(features), paths

    def _block(self, start: int) -> np.ndarray:
        """Return the rows from `start` on: a map of the file for each block, so that memory holds few of them at a time."""
        n, d = min(_BLOCK, len(self.valid) - start), len(self.centre)
        return np.memmap(self.data, np.float32, "c", offset=start * d * 4, shape=(n, d))


def rows_key(files: CollectionFiles, mapper: str | None) -> str:
    """Return the key of the rows of a database: a digest of the keys of its shards, its length, and the mapper's content.

    Raises InputError for a shard that is not there, or that carries no key.
    """
    keys = []
    for path in files.shards:
        if not os.path.exists(path):
            raise InputError(f"{path}: the shard does not exist")
        if (key := carried_key(path)) is None:
            raise InputError(f"{path}: carries no key; expected a feature shard that the workflow made")
        keys.append(key)
    return digest("demo", VERSION, keys, manifest_length(files.manifest), sha256_file(mapper) if mapper else None)


def open_rows(folder: Path, files: CollectionFiles, key: str) -> DatabaseRows | None:
    """Return the rows in `folder`; None where there are none with this `key`, whole."""
    if carried_key(folder / "rows.h5") != key:
        return None
    with hdf5.open_checked(folder / "rows.h5", "index") as file:
        arrays = {name: hdf5.read_array(file[name]) for name in ("centre", "valid", "starts")}
        rows = DatabaseRows(folder / "rows.f32", files.shards, **arrays, longest=float(file.attrs["longest"]))
    return rows if rows.are_there else None


def make_rows(
    folder: Path,
    files: CollectionFiles,
    real: _Map,
    dimension: int | None,
    key: str,
    on_progress: Callable[[float], None],
) -> DatabaseRows:
    """Write the rows of a database into `folder`, and return them.

    real: what maps raw features [n, d] to [n, dimension]; dimension: None for that of the features. on_progress is called
    with the share that is done. Raises InputError as `stream_database` does, and where the disk has too little space.
    """
    n = manifest_length(files.manifest)
    with open_feature_shard(files.shards[0]) as shard:
        identity = shard.identity
    dimension = dimension or identity.dimension
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.h5").unlink(missing_ok=True)  # it says what the other file holds
    (folder / "rows.f32").unlink(missing_ok=True)
    _refuse_small_disk(folder, 4 * n * dimension)
    centre, longest, valid = None, 0.0, np.zeros(n, bool)
    with atomic_path(folder / "rows.f32") as temporary, open(temporary, "wb") as file:
        done = 0
        for features, is_valid in _blocks(files, n, identity):
            units = np.zeros((len(features), dimension))
            units[is_valid] = _unit_rows(real(features[is_valid]), files.collection)
            if centre is None and is_valid.any():
                centre = units[is_valid].mean(axis=0)
            if centre is not None:
                units[is_valid] -= centre
                longest = max(longest, float(np.sqrt(np.einsum("ij,ij->i", units, units).max())))
            file.write(units.astype(np.float32))
            valid[done : done + len(units)] = is_valid
            done += len(units)
            on_progress(done / n)
    if centre is None:
        raise InputError(f"{files.collection}: no image is valid; expected one that can be decoded")
    with hdf5.create(folder / "rows.h5", key=key, longest=longest * SLACK) as file:
        for name, values in (("centre", centre), ("valid", valid), ("starts", _starts(files.shards, n))):
            hdf5.add_array(file, name, values)
    return open_rows(folder, files, key)


def _blocks(files: CollectionFiles, n: int, identity: FeatureIdentity) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return stream_database(files.shards, files.collection, n, Invalid(), identity, _BLOCK, set())


def _unit_rows(rows: np.ndarray, collection: str) -> np.ndarray:
    """Return the unit rows float64 of `rows`. Raises InputError for NaN and the like, marked as valid."""
    rows = rows.astype(np.float32) if rows.dtype == np.float16 else rows
    norms, bad = row_norms(np.ascontiguousarray(rows))
    if bad >= 0:
        raise InputError(f"{collection}: a row holds NaN, Inf or huge values, but is marked valid")
    return rows / norms[:, None]


def _starts(shards: list[Path | str], n: int) -> np.ndarray:
    """Return the first row of each shard, and `n`: int64 [shards + 1]."""
    lengths = []
    for path in shards:
        with hdf5.open_checked(path, "shard") as file:
            lengths.append(len(file["features"]))
    return np.minimum(np.concatenate([[0], np.cumsum(lengths)]), n).astype(np.int64)


def _refuse_small_disk(folder: Path, size: int) -> None:
    free = disk_usage(folder).free
    if free < size + (1 << 28):
        raise InputError(
            f"{folder}: the rows take {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; expected more"
        )
