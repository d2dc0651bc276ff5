"""The benchmarks that take seconds run to their end, and say what they measured."""

import json
import os
import subprocess
import sys

from helpers.clone import REPOSITORY, planned_jobs

NAMES = ["decode", "shards"]  # the others take minutes, however little they measure


def test_benchmarks_leave_a_table_and_a_plot(tmp_path):
    options = ["--scale", "0.01", "--rounds", "1", "--threads", "2", "--folder", str(tmp_path)]
    command = [sys.executable, "-m", "bench", *NAMES, *options]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow_scripts")}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {name: json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in NAMES}
    assert {row["name"] for row in rows["shards"]} == {"h5py", "a shard"}
    assert len([row for row in rows["decode"] if row["case"].startswith("decode")]) == 3
    assert all(row["value"] > 0 for row in (*rows["decode"], *rows["shards"]))
    assert (tmp_path / "decode.png").stat().st_size > 10_000
    assert "| decode, PNG 512 x 512 | one preprocessing |" in done.stdout


def test_an_unknown_benchmark_is_refused():
    done = subprocess.run([sys.executable, "-m", "bench", "speed"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert "speed is no benchmark; expected ranking, extraction, decode" in done.stderr


def test_the_run_that_makes_real_features_is_one_that_the_workflow_takes(tmp_path):
    code = (
        "import pathlib, sys; from bench.rows import write_config; print(write_config(pathlib.Path(sys.argv[1]), 8192))"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow_scripts")}
    python = {"cwd": REPOSITORY, "env": environment, "capture_output": True, "text": True}
    config = subprocess.run([sys.executable, "-c", code, tmp_path / "bench"], check=True, **python).stdout.strip()
    command = [sys.executable, "-m", "snakemake", "features", "-n", "--configfile", config]
    done = subprocess.run(command, **python)
    assert done.returncode == 0 and planned_jobs(done.stdout)["extract"] >= 3, done.stdout + done.stderr
