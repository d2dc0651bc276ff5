"""A method that is ready to answer: its database, mappers and calibrator; and its network, for images of one's own."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from attribench.common.errors import InputError
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.preprocessing import load_pixels
from attribench.decode.reading import Reading
from attribench.demo.rows import DatabaseRows, make_rows, open_rows, rows_key
from attribench.demo.run import MethodFiles
from attribench.formats.calibrator import Calibrator, read_calibrator
from attribench.formats.shards import first_bad_row, open_feature_shard
from attribench.rank.mappers import load_mappers
from attribench.rank.score import pair_scores, row_norms

_Map = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class ReadyMethod:
    """Hold what answers are made of. real maps features of database and exemplars, synth those of queries.

    calibrator: None where influence is off. seconds: what it took to get ready; made: whether rows were written for that.
    """

    files: MethodFiles
    rows: DatabaseRows
    real: _Map
    synth: _Map
    calibrator: Calibrator | None
    seconds: float
    made: bool


def get_ready(files: MethodFiles, threads: int, on_progress: Callable[[float], None]) -> ReadyMethod:
    """Return the method, and write its rows where they are not there; `on_progress` is called with the share that is done.

    Raises InputError for files that are missing, damaged, or do not belong together.
    """
    started = perf_counter()
    real, synth, dimension = _as_they_are, _as_they_are, None
    if files.mapper:
        mappers = load_mappers(files.mapper)
        real, synth = (_with_threads(mapper, threads) for mapper in mappers)
        dimension = mappers[0].output
    calibrator = read_calibrator(files.calibrator) if files.calibrator else None
    key = rows_key(files.database, files.mapper)
    rows = open_rows(files.rows, files.database, key)
    made = rows is None
    rows = rows or make_rows(files.rows, files.database, real, dimension, key, on_progress)
    _load_kernels(rows, real)
    return ReadyMethod(files, rows, real, synth, calibrator, perf_counter() - started, made)


def _load_kernels(rows: DatabaseRows, real: _Map) -> None:
    """Load what is compiled, and read all rows once, so that the first answer need not wait for that."""
    features, _ = rows.features(np.flatnonzero(rows.valid)[:1])
    unit = np.zeros((1, len(rows.centre)))
    rows.scores(unit[0])
    exact_scores(unit, real(features))
    exact_scores(unit, real(features.astype(np.float32)))


def _as_they_are(features: np.ndarray) -> np.ndarray:
    return features


def comparable(rows: np.ndarray) -> np.ndarray:
    """Return `rows` in a type that canonical scores are made of: float32 or float64."""
    return np.ascontiguousarray(rows, np.float32 if rows.dtype == np.float16 else rows.dtype)


def exact_scores(unit: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """Return the canonical scores float64 [n] of a unit row [1, d] and `mapped` features [n, d]."""
    if not len(mapped):
        return np.empty(0)
    rows = comparable(mapped)
    norms, _ = row_norms(rows)
    pairs = np.stack([np.zeros(len(rows), np.int64), np.arange(len(rows))], axis=1)
    return pair_scores(unit, rows, norms, pairs)


def _with_threads(mapper: Callable, threads: int) -> _Map:
    return lambda features: mapper(features, min(threads, max(1, len(features) // 64)))


class Network:
    """Run an extractor on one image, as the workflow does, but for the size of a batch: features agree to about 1e-6.

    root: the benchmark's. device: as the config key. Raises InputError for features that come from files alone, for weights
    that are not there, and where the shards of the database were not made by this network.
    """

    def __init__(self, files: MethodFiles, root: Path | str, device: str):
        from attribench.extract.extract import identity_of, load_forward
        from attribench.extract.extractors import preprocessing_of

        name = files.method.extractor
        if files.entry.library is None:
            raise InputError(
                f"{name}: its features come from files, so there is no network that an image could be given to; expected "
                "another extractor, or a query of a split"
            )
        self._preprocessing = preprocessing_of(files.entry, root)
        how = {"precision": files.precision, "device": device, "batch_size": 1}
        self._forward = load_forward(name, files.entry, root, **how)
        self._lock = threading.Lock()
        blank = np.zeros((1, self._preprocessing.crop, self._preprocessing.crop, 3), np.uint8)
        identity = identity_of(self._forward, name, str(self._preprocessing), self._forward(blank).shape[1])
        with open_feature_shard(files.database.shards[0]) as shard:
            if difference := identity.difference(shard.identity):
                raise InputError(f"{shard.path}: was not made by this network: {difference}; expected the run's own")

    def feature(self, path: Path | str, reading: Reading) -> np.ndarray:
        """Return the raw feature float32 [d] of the image at `path`.

        Raises UnreadableImage for a file that is no whole image, or that has no feature.
        """
        [pixels] = load_pixels(path, [self._preprocessing], reading)
        with self._lock:
            features = self._forward(pixels[None].copy())  # torch takes no array that is read-only
        if (bad := first_bad_row(features)) is not None:
            raise UnreadableImage(f"its feature {bad[1]}")
        return features[0]
