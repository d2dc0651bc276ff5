"""Shards beside bare h5py: the same bytes in the same chunks with the same checksums, safely on disk at the end."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from attribench.shards import Rows, ShardReader, write_shard

from bench.measure import Contestant, Options, Row, compare

UNIT = "ms a MB"


@dataclass(frozen=True)
class Kind:
    """A kind of shard: rows of `shape` and `dtype`, written and read so many at a time as the workflow does."""

    rows: int
    shape: tuple[int, ...]
    dtype: str
    written: int
    read: int


KINDS = {
    "pixels, 224": Kind(2048, (224, 224, 3), "uint8", 8, 16),
    "pixels, 384": Kind(704, (384, 384, 3), "uint8", 8, 16),
    "features, float32 x 768": Kind(65_536, (768,), "float32", 16, 8192),
    "features, float16 x 512": Kind(131_072, (512,), "float16", 8192, 8192),
}


def side_by_side(options: Options) -> Iterator[Row]:
    """Writing and reading each kind."""
    for name, kind in KINDS.items():
        with TemporaryDirectory() as folder:
            writers, readers = _contestants(kind, max(kind.written, round(kind.rows * options.scale)), Path(folder))
            yield from compare(f"write {name}", UNIT, writers, options)
            yield from compare(f"read {name}", UNIT, readers, options)


def _contestants(kind: Kind, n: int, folder: Path) -> tuple[list[Contestant], list[Contestant]]:
    block = np.random.default_rng(0).integers(0, 255, (kind.written, *kind.shape)).astype(kind.dtype)
    rows = Rows([f"some/folder/{i}.jpg" for i in range(n)], np.ones(n, bool), [""] * n)
    starts = range(0, n, kind.written)

    def ours() -> None:
        with write_shard(folder / "ours.h5", "data", (n, *kind.shape), kind.dtype, rows, {}) as shard:
            for start in starts:
                shard.append(block[: n - start])

    ours()
    with h5py.File(folder / "ours.h5") as file:
        like = {name: dict(dtype=d.dtype, chunks=d.chunks, shape=d.shape) for name, d in file.items()}
        beside = {name: d[:] for name, d in file.items() if name != "data"}  # paths and the like, as bytes

    def bare() -> None:
        with h5py.File(folder / "bare.h5", "w", libver=("v110", "v110")) as file:
            data = file.create_dataset("data", fletcher32=True, **like["data"])
            for start in starts:
                data[start : start + kind.written] = block[: n - start]
            for name, values in beside.items():
                file.create_dataset(name, fletcher32=True, **like[name])[:] = values
        with open(folder / "bare.h5", "rb+") as file:
            os.fsync(file)

    def read_bare() -> None:
        with h5py.File(folder / "bare.h5") as file:
            for start in range(0, n, kind.read):
                file["data"][start : start + kind.read]
            for name in beside:
                file[name][:]

    def read_ours() -> None:
        with ShardReader(folder / "ours.h5", "data") as shard:
            for _ in shard.blocks(kind.read):
                pass

    megabytes = n * block[0].nbytes / 1e6
    return (
        [Contestant("h5py", bare, megabytes), Contestant("a shard", ours, megabytes)],
        [Contestant("h5py", read_bare, megabytes), Contestant("a shard", read_ours, megabytes)],
    )


BENCHMARKS = [side_by_side]
