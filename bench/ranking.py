"""Ranking beside the bare matrix products, the published benchmark's method, and faiss for the neighbours alone."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from attribench import rank_choice
from attribench.features import Invalid, stream_database
from attribench.rank import RankAccumulator
from attribench.rank_device import has_gpu
from attribench.shards import FeatureIdentity, Rows, feature_attributes, write_shard

from bench.measure import CLOCKS, Contestant, Options, Row, compare, in_fresh_process, peak_memory

UNIT = "ms a query, 1M rows"
TILE_QUERIES, TILE_ROWS = 1024, 8192
QUERIES, ROWS = 8192, 32_768  # a published split has 30,000 queries: they share what a row costs
PUBLISHED_ROWS = 2**20  # as many as the published database has
GPU_QUERIES, GPU_BLOCKS = 65_536, 8
PROCESS_BLOCKS = 40
SHARD_ROWS = 10_000
QUERIES_PER_ENTRY = 40


@dataclass(frozen=True)
class Kind:
    """What the rows are like: exemplars of an entry; whether they are ranked well, or anywhere; whether each image of the
    database is a `copy` of an exemplar, but for 1e-7; and a `form` (FORMS) that they are brought into."""

    n_exemplars: int
    ranked_well: bool = False
    copy: bool = False
    form: str = ""


WELL, DEEP = Kind(12, ranked_well=True), Kind(67)
KINDS = {"12 exemplars, well ranked": WELL, "67 exemplars, deep": DEEP}
FORMS = {  # of rows [n, d] in random directions, of unit length; many scores are close to a threshold then, or equal to it
    "images alike": lambda rows, rng: rows + 5 * _unit(np.cos(np.arange(rows.shape[1], dtype=np.float32)[None])),
    "codes of +1 and -1": lambda rows, rng: np.sign(rows),
    "codes of 0 and 1": lambda rows, rng: (rows > 0).astype(np.float32),
    "counts of words": lambda rows, rng: rng.poisson(0.3, rows.shape).astype(np.float32),
    "sparse": lambda rows, rng: _thinned(rows, rng),
    "probabilities": lambda rows, rng: np.exp(4 * np.sqrt(np.float32(rows.shape[1])) * rows),
    "a thousand images": lambda rows, rng: _one_of(1000, rows.shape, rng),
}
COUNTS = ("codes of 0 and 1", "counts of words")  # that stay whole numbers
HARD = {f"67, deep, {form}": Kind(67, form=form) for form in FORMS}
HARD["67, near copies of them only"] = Kind(67, copy=True)


@dataclass(frozen=True)
class Data:
    """Queries [Q, d] and exemplars [E, d] with their entries, and database rows [N, d]: float32, of unit length but for
    COUNTS."""

    queries: np.ndarray
    query_entry: np.ndarray
    exemplars: np.ndarray
    exemplar_entry: np.ndarray
    database: np.ndarray

    def accumulator(self, **options) -> RankAccumulator:
        return RankAccumulator(self.queries, self.query_entry, self.exemplars, self.exemplar_entry, **options)


def make(dimension: int, n_queries: int, n_rows: int, kind: Kind) -> Data:
    """Random directions. Exemplars that are ranked well lie where most are among a query's best hundredth."""
    rng = np.random.default_rng(dimension + kind.n_exemplars)

    def directions(n: int) -> np.ndarray:
        return _unit(rng.standard_normal((n, dimension), np.float32))

    query_entry = np.arange(n_queries) // (n_queries if kind.copy else QUERIES_PER_ENTRY)
    exemplar_entry = np.repeat(np.arange(query_entry[-1] + 1), kind.n_exemplars)
    centres = directions(query_entry[-1] + 1)
    queries = 0.8 * centres[query_entry] + 0.6 * directions(n_queries)
    # Scores of random rows have the deviation 1 / sqrt(d); so many of them above the mean are the exemplars' scores.
    deviations = rng.uniform(2.5, 5, len(exemplar_entry)).astype(np.float32) * kind.ranked_well
    toward = (deviations / 0.8 / np.sqrt(dimension))[:, None]
    exemplars = toward * centres[exemplar_entry] + np.sqrt(1 - toward**2) * directions(len(exemplar_entry))
    database = directions(n_rows)
    if kind.copy:
        database = _unit(exemplars[np.arange(n_rows) % len(exemplars)] + 1e-7 * database)
    if kind.form:
        queries, exemplars, database = (FORMS[kind.form](rows, rng) for rows in (queries, exemplars, database))
    if kind.form not in COUNTS:
        queries, exemplars, database = (_unit(rows) for rows in (queries, exemplars, database))
    return Data(queries, query_entry, exemplars, exemplar_entry, database.astype(np.float32))


def _thinned(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of the values of `rows` [n, d], one in fifty, and one in each row; 0 for the others."""
    kept = rng.random(rows.shape, np.float32) < 0.02
    kept[np.arange(len(rows)), rng.integers(0, rows.shape[1], len(rows))] = True
    return rows * kept


def _one_of(n: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Rows [shape], each one of the same `n`, whatever `rng` is."""
    images = np.random.default_rng(0).standard_normal((n, shape[1]), np.float32)
    return images[rng.integers(0, n, shape[0])]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def side_by_side(options: Options) -> Iterator[Row]:
    """The contestants on the same rows, for two dimensions and two kinds of rows; and kinds made to be hard."""
    n_rows = max(TILE_ROWS, round(ROWS * options.scale))
    for dimension in (512, 768):
        for name, kind in KINDS.items():
            *quick, published = contestants(dimension, n_rows, kind, options)
            yield from compare(f"d = {dimension}, {name}", UNIT, quick, options)
            # By itself: the memory that it takes and gives back each time disturbs who comes after it.
            yield compare(f"d = {dimension}, {name}", UNIT, [quick[0], published], options)[1]
    for name, kind in HARD.items():
        yield from compare(f"d = 512, {name}", UNIT, contestants(512, n_rows, kind, options)[:2], options)


def contestants(dimension: int, n_rows: int, kind: Kind, options: Options) -> list[Contestant]:
    """The bare float32 product first: every ratio is to it."""
    import torch

    rank_choice.PATIENCE = 0  # choose at once; a real ranking has the time to wait a little
    everything = make(dimension, QUERIES, n_rows * (options.rounds + 1), kind)
    data, added = replace(everything, database=everything.database[:n_rows]), [0]
    accumulator = data.accumulator(threads=options.threads)

    def ours() -> None:  # each time the next rows: among the same ones again, the nearest would tie with themselves
        for first in range(added[0], added[0] + n_rows, TILE_ROWS):
            accumulator.add(everything.database[first : min(first + TILE_ROWS, added[0] + n_rows)], None, first)
        added[0] += n_rows

    low = [torch.from_numpy(rows).bfloat16() for rows in (data.queries, data.database)]
    tile, low_tile = (torch.empty(TILE_QUERIES, TILE_ROWS, dtype=kind) for kind in (torch.float32, torch.bfloat16))
    work = len(data.queries) * n_rows / 1e6
    long = np.tile(data.database, (-(-round(PUBLISHED_ROWS * options.scale) // n_rows), 1))
    return [
        Contestant("float32 product alone", lambda: _product(data, tile.numpy()), work),
        Contestant("exact ranks", ours, work),
        Contestant("bf16 product alone", lambda: _bf16_product(*low, low_tile), work),
        Contestant("faiss, 10 neighbours", _faiss(data), work),
        Contestant("the published method", lambda: _published_method(data, long), len(long) / 1e6),
    ]


def _product(data: Data, out: np.ndarray) -> None:
    for a in range(0, len(data.queries), TILE_QUERIES):
        for b in range(0, len(data.database), TILE_ROWS):
            np.matmul(data.queries[a : a + TILE_QUERIES], data.database[b : b + TILE_ROWS].T, out=out)


def _bf16_product(queries, database, out) -> None:
    import torch

    for a in range(0, len(queries), TILE_QUERIES):
        for b in range(0, len(database), TILE_ROWS):
            torch.mm(queries[a : a + TILE_QUERIES], database[b : b + TILE_ROWS].T, out=out)


def _published_method(data: Data, database: np.ndarray) -> np.ndarray:
    """One query: copy the database with the entry's exemplars, one matrix-vector product, sort all of it."""
    own = data.exemplars[data.exemplar_entry == data.query_entry[0]]
    scores = np.concatenate([database, own]) @ data.queries[0]
    order = np.argsort(-scores, kind="stable")
    return np.flatnonzero(order >= len(database)) + 1


def _faiss(data: Data):
    import faiss

    index = faiss.IndexFlatIP(data.database.shape[1])
    index.add(data.database)
    return lambda: index.search(data.queries, 10)


def scaling(options: Options) -> Iterator[Row]:
    """Time over the number of rows and of queries; each line's ratio is to the first, 1 being linear."""
    most = 10_000_000 if options.large else max(10_000, 150_000 * options.scale)
    sizes = [n for n in (10_000, 100_000, 1_000_000, 10_000_000) if n <= most]
    data = make(512, 2048, 100_000, WELL)
    first = None
    for n in sizes:
        seconds = _seconds(data, n, options)
        value = seconds * 1e3 / (len(data.queries) * n / 1e6)
        first = first or value
        yield Row("scaling, d = 512", f"{n:,} rows", UNIT, value, value / first, [value])
    for n in (1024, 4096):
        value = _seconds(make(512, n, 50_000, WELL), 50_000, options) * 1e3 / (n * 0.05)
        yield Row("scaling, d = 512", f"{n:,} queries", UNIT, value, value / first, [value])


def _seconds(data: Data, n_rows: int, options: Options) -> float:
    """The time to rank against `n_rows` rows, the data's own over and over."""
    rank_choice.PATIENCE = 0
    accumulator = data.accumulator(threads=options.threads)
    accumulator.add(data.database[:1024], None, n_rows)  # chooses
    accumulator.add(data.database[:1024], None, n_rows + 1024)
    start = CLOCKS[options.clock]()
    for first in range(0, n_rows, TILE_ROWS):
        place = first % max(1, len(data.database) - TILE_ROWS)
        accumulator.add(data.database[place : place + min(TILE_ROWS, n_rows - first)], None, first)
    return CLOCKS[options.clock]() - start


def processes(options: Options) -> Iterator[Row]:
    """Two processes with one thread each against one: the work done in the same time, in medians of the rounds.

    So much for the float32 product alone, too: what the machine gives two.
    """
    blocks = max(1, round(PROCESS_BLOCKS * options.scale))
    works = {"the float32 product alone": _multiply_alone, "exact ranks": _rank_alone}
    with _one_thread_each(), multiprocessing.get_context("spawn").Pool(2) as pool:
        for work in works.values():
            pool.map(work, [1] * 4)  # both have compiled and chosen
        gains = {name: [] for name in works}
        for _ in range(options.rounds):
            for name, work in works.items():
                alone, both = (_seconds_in(pool, work, blocks, n) for n in (1, 2))
                gains[name].append(2 * alone / both)
    for name, gain in gains.items():
        yield Row(
            "two processes over one", f"{name}, work in the same time", "times", float(np.median(gain)), None, gain
        )


def _seconds_in(pool, work, blocks: int, n: int) -> float:
    """The time in which `n` processes of the `pool` do the `work` on `blocks` each: that of the slower one."""
    return max(pool.map(work, [blocks] * n, chunksize=1))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let libraries that are loaded by processes which start in the block have one thread."""
    before = dict(os.environ)
    os.environ.update({f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _rank_alone(blocks: int) -> float:
    return _seconds(make(512, 1024, TILE_ROWS, WELL), blocks * TILE_ROWS, Options())


def _multiply_alone(blocks: int) -> float:
    data, tile = make(512, 1024, TILE_ROWS, WELL), np.empty((TILE_QUERIES, TILE_ROWS), np.float32)
    _product(data, tile)
    start = time.perf_counter()
    for _ in range(blocks):
        _product(data, tile)
    return time.perf_counter() - start


def memory(options: Options) -> Iterator[Row]:
    """Peak memory of a process that ranks feature shards read from disk, less what it held with the queries loaded."""
    cases = [(16_384, 100_000)]
    if options.large:
        cases += [(2048, 100_000), (2048, 1_000_000), (2048, 10_000_000)]
    for n_queries, n_rows in cases:
        paths = _write_database(Path(options.folder), n_rows)
        seconds, used = in_fresh_process(_rank_files, paths, n_queries, options)
        for path in paths:
            path.unlink()
        case = f"{n_queries:,} queries, d = 768, float16 shards"
        yield Row(case, f"memory beyond the queries, {n_rows:,} rows", "GB", used, None, [used])
        value = seconds * 1e3 / (n_queries * n_rows / 1e6)
        yield Row(case, f"reading and ranking, {n_rows:,} rows", UNIT, value, None, [seconds])


_IDENTITY = FeatureIdentity("bench", 768, "none", "none", "float16")


def _write_database(folder: Path, n_rows: int) -> list[Path]:
    """Shards of at most SHARD_ROWS float16 rows; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    block = make(768, 40, TILE_ROWS, Kind(1)).database.astype(np.float16)
    paths = []
    for first in range(0, n_rows, SHARD_ROWS):
        n = min(SHARD_ROWS, n_rows - first)
        rows = Rows([f"{first + i}" for i in range(n)], np.ones(n, bool), [""] * n)
        about = feature_attributes(_IDENTITY, "database", first, {})
        paths.append(folder / f"ranking_{first}.h5")
        with write_shard(paths[-1], "features", (n, 768), "float16", rows, about) as shard:
            for start in range(0, n, TILE_ROWS):
                shard.append(block[: min(TILE_ROWS, n - start)])
    return paths


def _rank_files(paths: list[Path], n_queries: int, options: Options) -> tuple[float, float]:
    """Seconds, and GB beyond what was held before."""
    data = make(768, n_queries, 1, WELL)
    with peak_memory() as memory:
        start, first = CLOCKS[options.clock](), 0
        accumulator = data.accumulator(threads=options.threads)
        for block, valid in stream_database(paths, "database", Invalid(), _IDENTITY, TILE_ROWS, set()):
            accumulator.add(block, valid, first)
            first += len(block)
        seconds = CLOCKS[options.clock]() - start
    return seconds, memory.grown


def on_a_gpu(options: Options) -> Iterator[Row]:
    """The contestants on a GPU, where there is one: a tile of many queries and one block of rows."""
    if not has_gpu():
        return
    for dimension in (512, 768):
        for name, kind in KINDS.items():
            data = make(dimension, round(GPU_QUERIES * options.scale), TILE_ROWS, kind)
            case = f"GPU, d = {dimension}, {name}"
            yield from compare(case, UNIT, gpu_contestants(data, options), replace(options, clock="wall"))


def gpu_contestants(data: Data, options: Options) -> list[Contestant]:
    """The bare float16 product first. The rows are on the device, but for the last one, which has them in memory."""
    import torch
    from attribench.rank_cuda_filters import Operand

    accumulator, rows = data.accumulator(threads=options.threads, device="cuda"), np.arange(TILE_ROWS)
    accumulator.add(data.database, None, 0)
    accumulator.flush()
    device, added = accumulator._device, [TILE_ROWS]
    if device is None:
        raise RuntimeError("the GPU is not used; the log says why")
    counts = np.zeros(accumulator._tally.counts.shape[1], np.int64)
    units = data.database / np.linalg.norm(data.database.astype(np.float64), axis=1, keepdims=True)
    block = Operand.of(units, torch.device("cuda"))
    low = [torch.from_numpy(part).cuda().half() for part in (data.queries, data.database)]
    out = torch.empty((len(low[0]), len(low[1])), dtype=torch.float16, device="cuda")

    def product() -> None:
        for _ in range(GPU_BLOCKS):
            torch.mm(low[0], low[1].T, out=out)
        torch.cuda.synchronize()

    def there() -> None:  # the same rows again, as further ones, and so below
        for _ in range(GPU_BLOCKS):
            device.add(units, added[0] + rows, counts, block=block)
            added[0] += TILE_ROWS
        device.flush()

    def ours() -> None:
        for _ in range(GPU_BLOCKS):
            accumulator.add(data.database, None, added[0])
            added[0] += TILE_ROWS
        accumulator.flush()

    work = len(data.queries) * GPU_BLOCKS * TILE_ROWS / 1e6
    return [
        Contestant("float16 product alone", product, work),
        Contestant("exact ranks, of rows on the GPU", there, work),
        Contestant("exact ranks", ours, work),
    ]


BENCHMARKS = [side_by_side, scaling, processes, memory, on_a_gpu]
