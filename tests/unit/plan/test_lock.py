"""Locks of a working folder: each goes when the run that it belongs to is dead, and not before."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from attribench.plan.lock import Locks
from helpers.config import REPOSITORY

# As a run does: it looks at the locks, sets its own, notes them, and works.
RUN = """
import sys, time
from pathlib import Path
from attribench.plan.lock import Locks
folder, name, number = sys.argv[1:]
locks = Locks(folder)
locks.settle()
Path(folder, "locks").mkdir(exist_ok=True)
Path(folder, "locks", f"{number}.input.lock").write_text("shared.csv\\n")
Path(folder, "locks", f"{number}.output.lock").write_text(f"{name}.csv\\n")
locks.note_run()
print("noted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a run with the output NAME.csv, whose lock files have a number."""
    running = []

    def start(name, number):
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow_scripts")}
        command = [sys.executable, "-c", RUN, tmp_path, name, str(number)]
        run = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(run)
        assert run.stdout.readline() == "noted\n"
        return run

    yield start
    for run in running:
        run.kill()
        run.communicate()


def end(run):
    run.kill()
    while psutil.Process(run.pid).status() != psutil.STATUS_ZOMBIE:
        pass  # it has ended, and its parent does not know yet


def outputs(folder):
    """Return what the output locks name, after the next command has begun."""
    Locks(folder).settle()
    return sorted(path.read_text().strip() for path in Path(folder, "locks").glob("*.output.lock"))


def test_of_two_runs_the_lock_of_the_dead_one_goes(start, tmp_path):
    first, second = start("first", 0), start("second", 1)
    assert outputs(tmp_path) == ["first.csv", "second.csv"]
    end(second)
    assert outputs(tmp_path) == ["first.csv"]
    assert list((tmp_path / "locks").glob("*.input.lock")), "both read it, and one still does"
    third = start("third", 5)
    end(first)
    assert outputs(tmp_path) == ["third.csv"]
    end(third)
    assert outputs(tmp_path) == []
    assert not list((tmp_path / "locks").iterdir()) and not list((tmp_path / "runs").iterdir())


def test_a_run_that_ends_takes_its_note_away(tmp_path):
    locks = Locks(tmp_path)
    locks.note_run()
    assert list((tmp_path / "runs").iterdir())
    locks.forget_run()
    assert not list((tmp_path / "runs").iterdir())


def test_a_lock_that_the_end_of_another_run_took_away_comes_back(start, tmp_path):
    """As Snakemake does it: a run that ends removes the folder of locks, whoever else has one in it."""
    first = start("first", 0)
    shutil.rmtree(tmp_path / "locks")
    assert outputs(tmp_path) == ["first.csv"]
    end(first)
    assert outputs(tmp_path) == []


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"locks": []}])
def test_a_lock_that_may_be_anothers_stays(start, tmp_path, change):
    """A run on another host may hold it, or one that no note names."""
    end(start("first", 0))
    [path] = (tmp_path / "runs").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert outputs(tmp_path) == ["first.csv"]


def test_a_number_that_another_process_has_now_is_no_sign_of_life(tmp_path):
    locks = Locks(tmp_path)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.output.lock").write_text("first.csv\n")
    locks.note_run()
    assert outputs(tmp_path) == ["first.csv"], "it is this process's"
    [path] = (tmp_path / "runs").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": 1.0}))
    assert outputs(tmp_path) == []
