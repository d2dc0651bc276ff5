"""Shards beside bare h5py: the same bytes in the same chunks with HDF5's checksums, safely on disk at the end."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from attribench.formats.shards import Rows, open_shard, pixels_name, write_shard

from bench.measure import Contestant, Options, Row, compare

UNIT = "ms a MB"


@dataclass(frozen=True)
class ShardCase:
    """Describe a shard: rows of `shape` and `dtype`, and how many the workflow writes and reads at a time."""

    rows: int
    shape: tuple[int, ...]
    dtype: str
    written: int
    read: int


CASES = {
    "pixels, 224": ShardCase(2048, (224, 224, 3), "uint8", 8, 16),
    "pixels, 384": ShardCase(704, (384, 384, 3), "uint8", 8, 16),
    "features, float32 x 768": ShardCase(65_536, (768,), "float32", 16, 8192),
    "features, float16 x 512": ShardCase(131_072, (512,), "float16", 8192, 8192),
}


def side_by_side(options: Options) -> Iterator[Row]:
    """Measure writing and reading each case."""
    for name, case in CASES.items():
        with TemporaryDirectory() as folder:
            writers, readers = _contestants(case, max(case.written, round(case.rows * options.scale)), Path(folder))
            yield from compare(f"write {name}", UNIT, writers, options)
            yield from compare(f"read {name}", UNIT, readers, options)


def _contestants(case: ShardCase, n: int, folder: Path) -> tuple[list[Contestant], list[Contestant]]:
    block = np.random.default_rng(0).integers(0, 255, (case.written, *case.shape)).astype(case.dtype)
    rows = Rows.all_valid([f"some/folder/{i}.jpg" for i in range(n)])
    starts, data_name = range(0, n, case.written), pixels_name("bench") if case.dtype == "uint8" else "data"

    def ours() -> None:
        with write_shard(folder / "ours.h5", data_name, (n, *case.shape), case.dtype, rows, {}) as shard:
            for start in starts:
                shard.append(block[: n - start])

    ours()
    with h5py.File(folder / "ours.h5") as file:
        datasets: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        like = {
            name: dict(dtype=d.dtype, chunks=d.chunks, shape=d.shape, fletcher32=d.fletcher32)
            for name, d in datasets.items()
        }
        beside = {name: d[:] for name, d in datasets.items() if name != data_name}  # paths and the like, as bytes

    def bare() -> None:
        with h5py.File(folder / "bare.h5", "w", libver=("v110", "v110")) as file:
            data = file.create_dataset(data_name, **like[data_name])
            for start in starts:
                data[start : start + case.written] = block[: n - start]
            for name, values in beside.items():
                file.create_dataset(name, **like[name])[:] = values
        with open(folder / "bare.h5", "rb+") as file:
            os.fsync(file)

    def read_bare() -> None:
        with h5py.File(folder / "bare.h5") as file:
            for start in range(0, n, case.read):
                file[data_name][start : start + case.read]
            for name in beside:
                file[name][:]

    def read_ours() -> None:
        with open_shard(folder / "ours.h5", data_name) as shard:
            for _ in shard.blocks(case.read):
                pass

    megabytes = n * block[0].nbytes / 1e6
    return (
        [Contestant("h5py", bare, megabytes), Contestant("a shard", ours, megabytes)],
        [Contestant("h5py", read_bare, megabytes), Contestant("a shard", read_ours, megabytes)],
    )


BENCHMARKS = [side_by_side]
