"""Measure what the workflow itself costs: a job's start, stage by stage, and the plan of the whole published benchmark."""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.measure import Options, Row

REPOSITORY = Path(__file__).parents[1]
SHARDS = (100, 1_000)


def job_start(options: Options) -> Iterator[Row]:
    """Measure a fresh process that imports what a stage's script does, and what Snakemake puts before it."""
    for script in sorted((REPOSITORY / "workflow_scripts").glob("*.py")):
        imports = [node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        code = "\n".join(["import snakemake.script", *map(ast.unparse, imports), "import sys"])
        command = [sys.executable, "-c", code + "\nprint('torch' in sys.modules)"]
        seconds = [_seconds(command) for _ in range(options.rounds)]
        uses_torch = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=True).stdout
        what = script.stem + (" (torch)" if uses_torch.strip() == "True" else "")
        yield Row("start of a job", what, "s", float(np.median(seconds)), None, seconds)


def plan(options: Options) -> Iterator[Row]:
    """Measure `snakemake -n` of the published benchmark, nothing there yet, beside Snakemake's own start."""
    version = [sys.executable, "-m", "snakemake", "--version"]
    seconds = [_seconds(version) for _ in range(options.rounds)]
    yield Row("plan of the published benchmark", "snakemake --version", "s", float(np.median(seconds)), None, seconds)
    with TemporaryDirectory() as root:
        Path(root, "root").mkdir()  # one that is given has to exist
        for shards in SHARDS:
            settings = ["benchmark=abc", f"database_shards={shards}", f"root={root}/root", f"results={root}/results"]
            command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--config", *settings]
            seconds = [_seconds(command) for _ in range(max(1, options.rounds // 2))]
            median = float(np.median(seconds))
            yield Row("plan of the published benchmark", f"{shards:,} shards", "s", median, None, seconds)


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=REPOSITORY, env=_environment(), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow_scripts")}


BENCHMARKS = [job_start, plan]
