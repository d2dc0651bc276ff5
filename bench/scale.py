"""The model of docs/scale.md: a job takes a start and a price a row. Fitted on two runs, held against two larger ones."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from bench.decode import photographs
from bench.measure import Options, Row
from bench.workflow import REPOSITORY

FITTED, PREDICTED = (500, 1500), (3000, 5000)
ENTRIES, QUERIES = 4, 10
EXTRACTOR = "efficientnet_lite0"
# The job of each stage that grows with the database; one shard, so there is one of each.
JOBS = {
    "manifest": "manifest/mine_database",
    "decode": "decode/mine_database/00000-of-00001",
    "extract": f"extract/mine_database/{EXTRACTOR}/00000-of-00001",
    "rank": f"rank/photographs/{EXTRACTOR}/pretrained",
}


def predictions(options: Options) -> Iterator[Row]:
    """Seconds of each stage's job as Snakemake measures them, over what the model says; 1 is a perfect model."""
    sizes = [max(i, round(n * options.scale)) for i, n in enumerate((*FITTED, *PREDICTED), 1)]
    with TemporaryDirectory() as folder:
        measured = {n: _run(Path(folder), n, options.threads) for n in sizes}
    (n1, n2), predicted = sizes[: len(FITTED)], sizes[len(FITTED) :]
    for stage in JOBS:
        price = max(0.0, (measured[n2][stage] - measured[n1][stage]) / (n2 - n1))
        start = measured[n1][stage] - price * n1
        yield Row("model", f"{stage}: start of a job", "s", start)
        yield Row("model", f"{stage}: a thousand rows more", "s", 1000 * price)
        for n in predicted:
            said, found = start + price * n, measured[n][stage]
            yield Row("model", f"{stage}: {n:,} rows, {said:.1f} s predicted", "s", found, found / said)


def _run(folder: Path, n: int, cores: int) -> dict[str, float]:
    """Run the workflow on a database of `n` photographs; the seconds of each stage's job."""
    with photographs(n + ENTRIES * (1 + QUERIES), "jpg") as (root, names):
        (root / "database").mkdir()
        for name in names[:n]:
            (root / name).rename(root / "database" / name)
        others = iter(names[n:])
        entries = [
            {"exemplar": [next(others)], "synth": {"gpt": [next(others) for _ in range(QUERIES)]}}
            for _ in range(ENTRIES)
        ]
        (root / "split.json").write_text(json.dumps(entries))
        results = folder / str(n)
        mine = {"splits": {"photographs": "split.json"}, "database": {"folder": "database"}, "extractors": [EXTRACTOR]}
        settings = {"benchmark": "mine", "root": str(root), "results": str(results), "benchmarks": {"mine": mine}}
        (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "snakemake", "--quiet", "all", "--cores", str(cores), "ranks"]
        done = subprocess.run(
            [*command, "--configfile", str(folder / "mine.yaml")], cwd=REPOSITORY, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
    return {stage: _seconds(results / "benchmarks" / f"{job}.tsv") for stage, job in JOBS.items()}


def _seconds(path: Path) -> float:
    with open(path, newline="") as file:
        return float(next(csv.DictReader(file, delimiter="\t"))["s"])


BENCHMARKS = [predictions]
