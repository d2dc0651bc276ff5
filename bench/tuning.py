"""Tuning: steps beside the bare matrix products of a step, and the memory of a training on many queries."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from attribench.formats.shards import FeatureIdentity, Rows, feature_attributes, write_shard
from attribench.rank.device import has_gpu
from attribench.tune.batches import Part
from attribench.tune.collection import Entries
from attribench.tune.settings import Training
from attribench.tune.training import Data, Run

from bench.measure import Contestant, Options, Row, compare, in_fresh_process, peak_memory

UNIT = "ms a step"
QUERIES, MANY_QUERIES, DATABASE, SHARD_ROWS = 65_536, 500_000, 65_536, 50_000
QUERIES_PER_ENTRY = 40
STEPS = 4  # of a round
TRAINING = {"batch": 1024, "negatives": 1024}


def steps(options: Options) -> Iterator[Row]:
    """Compare steps of a linear head, from shards to the update, with their matrix products alone."""
    torch.set_num_threads(options.threads)
    device = "cuda" if has_gpu() else "cpu"
    with TemporaryDirectory() as folder:
        for dimension in (512, 768):
            for penalty in (0.0, 0.1):
                training = Training(penalty=[penalty], **TRAINING)
                data = made_up(Path(folder), dimension, QUERIES, training)
                contestants = [products(dimension, training, penalty, device), ours(data, training, penalty, device)]
                case = f"linear head on {device}, d = {dimension}, {'with' if penalty else 'without'} penalty"
                yield from compare(case, UNIT, contestants, options)


def memory(options: Options) -> list[Row]:
    """Measure the memory that a training on 500,000 queries takes."""
    if not options.large:
        return []
    return [in_fresh_process(_memory_of_many, options.threads)]


def made_up(folder: Path, dimension: int, n: int, training: Training) -> Data:
    """Return `n` queries and a database in shards below `folder`, with an exemplar for each entry."""
    rng = np.random.default_rng(0)
    label = np.arange(n) // QUERIES_PER_ENTRY
    exemplars = rng.standard_normal((int(label[-1]) + 1, dimension), np.float32)
    parts = [
        _write(folder / f"q{first}.h5", rng, label[first : first + SHARD_ROWS], dimension)
        for first in range(0, n, SHARD_ROWS)
    ]
    database = [_write(folder / "database.h5", rng, np.arange(DATABASE), dimension)]
    numbers = np.arange(len(exemplars))
    identity = FeatureIdentity("made", dimension, "w", "p", "float32")
    entries = Entries(identity, parts, exemplars, np.arange(len(exemplars) + 1), numbers[:, None], set())
    return Data.of(entries, database, training)


def _write(path: Path, rng: np.random.Generator, label: np.ndarray, dimension: int) -> Part:
    identity = FeatureIdentity("made", dimension, "w", "p", "float32")
    attributes, rows = feature_attributes(identity, "made", 0, "", {}), Rows.all_valid([""] * len(label))
    with write_shard(path, "features", (len(label), dimension), "float32", rows, attributes) as writer:
        for start in range(0, len(label), 4096):
            writer.append(rng.standard_normal((len(label[start : start + 4096]), dimension), np.float32))
    return Part(path, np.arange(len(label)), label)


def ours(data: Data, training: Training, penalty: float, device: str) -> Contestant:
    """Return steps as a training takes them, each round from where the last one ended."""
    run = Run(training, penalty, data.entries.exemplars.shape[1], device)
    queries, database = data.queries.from_batch(0), data.database.from_batch(0)

    def take() -> None:
        for _ in range(STEPS):
            loss = run._take_step(data.entries, *next(queries), next(database)[0])
        float(loss)  # waits for a GPU

    return Contestant("steps", take, STEPS)


def products(dimension: int, training: Training, penalty: float, device: str) -> Contestant:
    """Return the matrix products of as many steps: of mapping and scores forward and back, and of the penalty."""
    n, m, d = training.batch, training.batch + training.negatives, dimension
    queries, images, weight = (torch.randn(rows, d, device=device) for rows in (n, m, d))
    scores = torch.randn(n, m, device=device)
    pairs = [(queries, weight), (images, weight), (queries.T, queries.T), (images.T, images.T)]
    pairs += [(queries, images), (scores, images.T), (scores.T, queries.T)]
    pairs += [(weight, weight)] * 4 if penalty else []  # two sides, forward and back

    def multiply() -> None:
        for _ in range(STEPS):
            for left, right in pairs:
                product = left @ right.T
        float(product[0, 0])

    return Contestant("matrix products alone", multiply, STEPS)


def _memory_of_many(threads: int) -> Row:
    torch.set_num_threads(threads)
    training = Training(penalty=[0.0], **TRAINING)
    with TemporaryDirectory() as folder:
        data = made_up(Path(folder), 768, MANY_QUERIES, training)
        take = ours(data, training, 0.0, "cpu").run
        with peak_memory() as peak:
            for _ in range(MANY_QUERIES // training.batch // STEPS):
                take()
    return Row(f"linear head, {MANY_QUERIES:,} queries, d = 768, a pass", "memory beyond the start", "GB", peak.grown)


BENCHMARKS = [steps, memory]
