"""The live page: how long a method takes to get ready and to answer, against 1M float16 rows, and what memory that takes."""

import time
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from attribench.demo.run import MethodFiles
from attribench.extract.registry import ExtractorEntry
from attribench.formats.calibrator import Calibrator, write_calibrator
from attribench.formats.features import CollectionFiles
from attribench.formats.manifest import ManifestRow, write_manifest
from attribench.formats.ranking import Method
from attribench.formats.shards import IMPORTED, FeatureIdentity, Rows, feature_attributes, write_shard

from bench.measure import Options, Row, in_fresh_process, peak_memory

_ROWS, _D, _SHARDS, _BLOCK = 1_000_000, 512, 10, 10_000
_EXEMPLARS, _ANSWERS, _SHOWN = 8, 5, 12


def answers(options: Options) -> Iterator[Row]:
    """Yield the seconds until a method is ready, the first time and when its rows are kept, and of answers; and memory."""
    n, case = max(1000, round(_ROWS * options.scale)), "{}, {:,} rows of 512, float16"
    Path(options.folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=options.folder) as folder:
        _write_database(Path(folder), n)
        for variant in ("pretrained", "tuned"):
            files = _method(Path(folder), variant)
            for name, unit, value in in_fresh_process(_measure, files, options.threads):
                yield Row(case.format(variant, n), name, unit, value)


def _measure(files: MethodFiles, threads: int) -> list[tuple[str, str, float]]:
    """Return name, unit and value of what is measured, in a process that has loaded what the page loads anyway."""
    import torch
    from attribench.demo.attribution import attribute
    from attribench.demo.candidates import QueryImage
    from attribench.demo.method import get_ready

    import_module("streamlit")
    torch.set_num_threads(threads)
    rng, measured = np.random.default_rng(1), []
    feature, exemplars = rng.standard_normal(_D, np.float32), rng.standard_normal((_EXEMPLARS, _D), np.float32)
    rows = [ManifestRow(f"e/{i}.png", "exemplar", 0) for i in range(_EXEMPLARS)]
    query = QueryImage(feature, rows, feature + 3 * exemplars, True)
    with peak_memory() as memory:
        for name in ("ready, rows are made", "ready, rows are kept"):
            started = time.perf_counter()
            ready = get_ready(files, threads, lambda share: None)
            measured.append((name, "s", time.perf_counter() - started))
        times = []
        for _ in range(_ANSWERS):
            started = time.perf_counter()
            attribute(query, ready, _SHOWN)
            times.append(time.perf_counter() - started)
    measured += [("first answer", "s", times[0]), ("answers after it", "s", float(np.median(times[1:])))]
    return [*measured, ("memory beyond the start, at most", "GB", memory.grown)]


def _write_database(folder: Path, n: int) -> None:
    rng, identity = np.random.default_rng(0), FeatureIdentity("made_up", _D, IMPORTED, IMPORTED, "float16")
    centre, paths = rng.standard_normal(_D, np.float32), [f"database/{i // 10_000:04}/{i:09}.jpg" for i in range(n)]
    write_manifest(folder / "database.csv", [ManifestRow(path, "database") for path in paths])
    cuts = np.linspace(0, n, _SHARDS + 1).astype(int).tolist()
    for number, (first, end) in enumerate(pairwise(cuts)):
        attributes = feature_attributes(identity, "database", first, f"bench {number}", {})
        rows = Rows.all_valid(paths[first:end])
        with write_shard(folder / f"{number}.h5", "features", (end - first, _D), "float16", rows, attributes) as writer:
            for start in range(first, end, _BLOCK):
                block = rng.standard_normal((min(_BLOCK, end - start), _D), np.float32)
                writer.append((centre + block).astype(np.float16))


def _method(folder: Path, variant: str) -> MethodFiles:
    import torch

    mapper, calibrator = None, folder / "calibrator.pth"
    write_calibrator(calibrator, Calibrator(30.0, 0.0))
    if variant == "tuned":
        mapper = str(folder / "mapper.pth")
        state = {"weight": torch.eye(_D) + 0.01 * torch.randn(_D, _D), "bias": torch.zeros(_D)}
        torch.save({"real_mapper": state, "synth_mapper": state}, mapper)
    database = CollectionFiles("database", folder / "database.csv", "", [folder / f"{i}.h5" for i in range(_SHARDS)])
    entry, where = ExtractorEntry(features="made_up.npy"), folder / "rows" / variant
    return MethodFiles(
        Method("made_up", variant), variant, database, {}, where, mapper, str(calibrator), entry, "float16"
    )


BENCHMARKS = [answers]
