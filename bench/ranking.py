"""Ranking beside the bare matrix products, the published benchmark's method, and faiss for the neighbours alone."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from attribench.formats.features import Invalid, stream_database
from attribench.formats.shards import FeatureIdentity, Rows, feature_attributes, write_shard
from attribench.rank.device import has_gpu
from attribench.rank.score import row_norms

from bench.measure import CLOCKS, Contestant, Options, Row, compare, in_fresh_process, peak_memory
from bench.rows import HARD, KINDS, WELL, Data, Kind, features, made_up

UNIT = "ms a query, 1M rows"
TILE_QUERIES, TILE_ROWS = 1024, 8192
QUERIES, ROWS = 8192, 32_768  # a published split has 30,000 queries: they share what a row costs
REAL_ROWS = 8192
PUBLISHED_ROWS = 2**20  # as many as the published database has
GPU_QUERIES, GPU_BLOCKS = 65_536, 8
PROCESS_BLOCKS = 40
SHARD_ROWS = 10_000


def side_by_side(options: Options) -> Iterator[Row]:
    """Compare all contestants on well-behaved rows, and exact ranks with the bare product on real and on hard ones."""
    n_rows = max(TILE_ROWS, round(ROWS * options.scale))
    for dimension in (512, 768):
        for name, kind in KINDS.items():
            case, data = f"d = {dimension}, {name}", made_up(dimension, QUERIES, n_rows * (options.rounds + 1), kind)
            yield from compare(case, UNIT, [*products(data, n_rows, options)[:2], *others(data, n_rows)], options)
            # By itself: the memory that it takes and gives back each time disturbs who comes after it.
            published = the_published_method(data.first(n_rows), round(PUBLISHED_ROWS * options.scale))
            yield compare(case, UNIT, [products(data, n_rows, options)[0], published], options)[1]
    for extractor, data in features(Path(options.folder) / "features", REAL_ROWS, options.threads).items():
        case = f"features of the sample benchmark, {extractor}, d = {data.database.shape[1]}"
        yield from compare(case, UNIT, real(data, options), options)
    for name, kind in HARD.items():
        data = made_up(512, QUERIES, n_rows * (options.rounds + 1), kind)
        yield from compare(f"d = 512, {name}", UNIT, products(data, n_rows, options), options)


def products(data: Data, n_rows: int, options: Options) -> list[Contestant]:
    """Return the bare float32 product, which every ratio is to, and exact ranks.

    These go on to the next `n_rows` of the database each time: among the same ones, the nearest would tie with themselves.
    """
    return [_bare(data.first(n_rows)), _ranking("exact ranks", data, n_rows, threads=options.threads)]


def _ranking(name: str, data: Data, n_rows: int, **options) -> Contestant:
    ranking, added = data.ranker(**options), [0]

    def ours() -> None:
        ranking.add(data.database[added[0] : added[0] + n_rows], None)
        added[0] += n_rows

    return Contestant(name, ours, len(data.queries) * n_rows / 1e6)


def with_histograms(options: Options) -> Iterator[Row]:
    """Compare exact ranks with those that keep score histograms, for influence, which do without bfloat16."""
    n_rows, threads = max(TILE_ROWS, round(ROWS * options.scale)), options.threads
    for name, kind in KINDS.items():
        data = made_up(512, QUERIES, n_rows * (options.rounds + 1), kind)
        contestants = [
            _ranking("exact ranks", data, n_rows, threads=threads),
            _ranking("without bfloat16", data, n_rows, threads=threads, products=("float32", "float64")),
            _ranking("with score histograms", data, n_rows, threads=threads, histogram=True),
        ]
        yield from compare(f"influence, d = 512, {name}", UNIT, contestants, options)


def real(data: Data, options: Options) -> list[Contestant]:
    """Return the bare float32 product, and exact ranks, of the second half of the database: the first was added before."""
    half = len(data.database) // 2
    rankings = [data.ranker(threads=options.threads) for _ in range(options.rounds + 1)]
    for ranking in rankings:
        ranking._memory = rankings[0]._memory  # as of a long ranking, which has used all of it before
        ranking.add(data.database[:half], None)
    rest = replace(data, database=data.database[half:])
    work = len(data.queries) * len(rest.database) / 1e6
    return [_bare(rest), Contestant("exact ranks", lambda: rankings.pop().add(rest.database, None), work)]


def _bare(data: Data) -> Contestant:
    out = np.empty((TILE_QUERIES, TILE_ROWS), np.float32)
    return Contestant(
        "float32 product alone", lambda: _product(data, out), len(data.queries) * len(data.database) / 1e6
    )


def _product(data: Data, out: np.ndarray) -> None:
    for a in range(0, len(data.queries), TILE_QUERIES):
        queries = data.queries[a : a + TILE_QUERIES]
        for b in range(0, len(data.database), TILE_ROWS):
            rows = data.database[b : b + TILE_ROWS]
            np.matmul(queries, rows.T, out=out[: len(queries), : len(rows)])


def others(data: Data, n_rows: int) -> list[Contestant]:
    """Return the bare bfloat16 product of torch, and faiss."""
    import faiss
    import torch

    queries, rows = (torch.from_numpy(part).bfloat16() for part in (data.queries, data.database[:n_rows]))
    out = torch.empty(TILE_QUERIES, TILE_ROWS, dtype=torch.bfloat16)

    def product() -> None:
        for a in range(0, len(queries), TILE_QUERIES):
            for b in range(0, len(rows), TILE_ROWS):
                torch.mm(queries[a : a + TILE_QUERIES], rows[b : b + TILE_ROWS].T, out=out)

    index = faiss.IndexFlatIP(data.database.shape[1])
    index.add(data.database[:n_rows])
    work = len(data.queries) * n_rows / 1e6
    return [
        Contestant("bf16 product alone", product, work),
        Contestant("faiss, 10 neighbours", lambda: index.search(data.queries, 10), work),
    ]


def the_published_method(data: Data, n_rows: int) -> Contestant:
    """Return one query's work: copy the database with the entry's exemplars, one matrix-vector product, sort all of it."""
    database = np.tile(data.database, (-(-n_rows // len(data.database)), 1))
    own = data.exemplars[data.exemplar_entry == data.query_entry[0]]

    def work() -> np.ndarray:
        order = np.argsort(-(np.concatenate([database, own]) @ data.queries[0]), kind="stable")
        return np.flatnonzero(order >= len(database)) + 1

    return Contestant("the published method", work, len(database) / 1e6)


def scaling(options: Options) -> Iterator[Row]:
    """Measure time over the number of rows and of queries; each line's ratio is to the first, 1 being linear."""
    most = 10_000_000 if options.large else max(10_000, 150_000 * options.scale)
    sizes = [n for n in (10_000, 100_000, 1_000_000, 10_000_000) if n <= most]
    data = made_up(512, 2048, 100_000, WELL)
    first = None
    for n in sizes:
        value = _seconds(data, n, options) * 1e3 / (len(data.queries) * n / 1e6)
        first = first or value
        yield Row("scaling, d = 512", f"{n:,} rows", UNIT, value, value / first, [value])
    for n in (1024, 4096):
        value = _seconds(made_up(512, n, 50_000, WELL), 50_000, options) * 1e3 / (n * 0.05)
        yield Row("scaling, d = 512", f"{n:,} queries", UNIT, value, value / first, [value])


def _seconds(data: Data, n_rows: int, options: Options) -> float:
    """Return the time to rank against `n_rows` rows, the data's own over and over."""
    ranking = data.ranker(threads=options.threads)
    ranking.add(data.database[:1024], None)  # chooses
    start = CLOCKS[options.clock]()
    for first in range(0, n_rows, TILE_ROWS):
        place = first % max(1, len(data.database) - TILE_ROWS)
        ranking.add(data.database[place : place + min(TILE_ROWS, n_rows - first)], None)
    return CLOCKS[options.clock]() - start


def processes(options: Options) -> Iterator[Row]:
    """Measure two processes with one thread each against one: the work done in the same time, in medians of the rounds.

    So much for the float32 product alone, too: what the machine gives two.
    """
    blocks = max(1, round(PROCESS_BLOCKS * options.scale))
    works = {"the float32 product alone": _multiply_alone, "exact ranks": _rank_alone}
    with _one_thread_each(), multiprocessing.get_context("spawn").Pool(2) as pool:
        for work in works.values():
            pool.map(work, [1] * 4)  # both have compiled
        for name, work in works.items():
            gain = []
            for _ in range(options.rounds):
                alone, both = (_seconds_in(pool, work, blocks, n) for n in (1, 2))
                gain.append(2 * alone / both)
            what = f"{name}, work in the same time"
            yield Row("two processes over one", what, "times", float(np.median(gain)), None, gain)


def _seconds_in(pool, work: Callable[[int], float], blocks: int, n: int) -> float:
    """Return the time in which `n` processes of the `pool` do the `work` on `blocks` each: that of the slower one."""
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
    return _seconds(made_up(512, 1024, TILE_ROWS, WELL), blocks * TILE_ROWS, Options())


def _multiply_alone(blocks: int) -> float:
    product = _bare(made_up(512, 1024, TILE_ROWS, WELL))
    product.run()
    start = time.perf_counter()
    for _ in range(blocks):
        product.run()
    return time.perf_counter() - start


def memory(options: Options) -> Iterator[Row]:
    """Measure the peak memory of a process that ranks shards read from disk, less what it held with the queries loaded."""
    cases = [(16_384, 100_000)]
    if options.large:
        cases += [(2048, 100_000), (2048, 1_000_000), (2048, 10_000_000)]
    for n_queries, n_rows in cases:
        paths = _write_database(Path(options.folder), n_rows)
        seconds, used = in_fresh_process(_rank_files, paths, n_rows, n_queries, options)
        for path in paths:
            path.unlink()
        case = f"{n_queries:,} queries, d = 768, float16 shards"
        yield Row(case, f"memory beyond the queries, {n_rows:,} rows", "GB", used, None, [used])
        value = seconds * 1e3 / (n_queries * n_rows / 1e6)
        yield Row(case, f"reading and ranking, {n_rows:,} rows", UNIT, value, None, [seconds])


_IDENTITY = FeatureIdentity("bench", 768, "none", "none", "float16")


def _write_database(folder: Path, n_rows: int) -> list[Path]:
    """Write shards of at most SHARD_ROWS float16 rows; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    block = made_up(768, 40, TILE_ROWS, Kind(1)).database.astype(np.float16)
    paths = []
    for first in range(0, n_rows, SHARD_ROWS):
        n = min(SHARD_ROWS, n_rows - first)
        rows = Rows([f"{first + i}" for i in range(n)], np.ones(n, bool), [""] * n)
        about = feature_attributes(_IDENTITY, "database", first, "", {})
        paths.append(folder / f"ranking_{first}.h5")
        with write_shard(paths[-1], "features", (n, 768), "float16", rows, about) as shard:
            for start in range(0, n, TILE_ROWS):
                shard.append(block[: min(TILE_ROWS, n - start)])
    return paths


def _rank_files(paths: list[Path], n_rows: int, n_queries: int, options: Options) -> tuple[float, float]:
    """Return seconds, and GB beyond what was held before."""
    data = made_up(768, n_queries, 1, WELL)
    with peak_memory() as used:
        start = CLOCKS[options.clock]()
        ranking = data.ranker(threads=options.threads)
        for block, valid in stream_database(paths, "database", n_rows, Invalid(), _IDENTITY, TILE_ROWS, set()):
            ranking.add(block, valid)
        seconds = CLOCKS[options.clock]() - start
    return seconds, used.grown


def on_a_gpu(options: Options) -> Iterator[Row]:
    """Compare the contestants on a GPU, where there is one: many queries, and blocks of rows one after the other."""
    if not has_gpu():
        return
    for dimension in (512, 768):
        for name, kind in KINDS.items():
            n_rows = TILE_ROWS * GPU_BLOCKS * (options.rounds + 1)
            data = made_up(dimension, round(GPU_QUERIES * options.scale), n_rows, kind)
            case = f"GPU, d = {dimension}, {name}"
            yield from compare(case, UNIT, gpu_contestants(data, options), replace(options, clock="wall"))


def gpu_contestants(data: Data, options: Options) -> list[Contestant]:
    """Return the bare float16 product, exact ranks of blocks that are on the device, and of blocks in memory."""
    import torch
    from attribench.rank.gpu import Operand

    there, here = (data.ranker(threads=options.threads, device="cuda") for _ in range(2))
    if there._device is None or here._device is None:
        raise RuntimeError("the GPU is not used; the log says why")
    queries, rows = (torch.from_numpy(part).cuda().half() for part in (data.queries, data.database[:TILE_ROWS]))
    out = torch.empty((len(queries), len(rows)), dtype=torch.float16, device="cuda")
    norms = row_norms(data.database)[0]
    parts = [slice(i, i + TILE_ROWS) for i in range(0, len(data.database), TILE_ROWS)]
    raw, lengths = torch.from_numpy(data.database).cuda(), torch.from_numpy(norms).cuda()
    blocks = [Operand.of(raw[part], lengths[part], is_centred=True) for part in parts]
    next_there, next_here = iter(zip(parts, blocks, strict=True)), iter(parts[::GPU_BLOCKS])

    def product() -> None:
        for _ in range(GPU_BLOCKS):
            torch.mm(queries, rows.T, out=out)
        torch.cuda.synchronize()

    def of_the_device() -> None:
        for _ in range(GPU_BLOCKS):
            part, block = next(next_there)
            numbers = np.arange(part.start, part.stop)
            there._device.add(data.database[part], norms[part], numbers, 0, block)
        torch.cuda.synchronize()

    def of_the_host() -> None:
        first = next(next_here).start
        here.add(data.database[first : first + TILE_ROWS * GPU_BLOCKS], None)
        torch.cuda.synchronize()

    work = len(data.queries) * GPU_BLOCKS * TILE_ROWS / 1e6
    return [
        Contestant("float16 product alone", product, work),
        Contestant("exact ranks, of rows on the GPU", of_the_device, work),
        Contestant("exact ranks", of_the_host, work),
    ]


BENCHMARKS = [side_by_side, with_histograms, scaling, processes, memory, on_a_gpu]
