"""`make` sets .venv up, and deletes nothing but what it has made there itself."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
REQUIREMENTS = "# no packages: nothing has to be fetched\n"
# What stands in front of this Python, as `PYTHON=`: the same one, but for what a line of code changes at its start.
ANOTHER = "import sys; sys.version += ' (another build)'"
WITHOUT_VENV = "import sys; sys.modules['ensurepip'] = None"


@pytest.fixture
def clone(tmp_path):
    """The files that setting up needs, in a folder of their own."""
    folder = tmp_path / "clone"
    (folder / "envs").mkdir(parents=True)
    shutil.copy2(REPOSITORY / "Makefile", folder)
    shutil.copy2(REPOSITORY / "envs/venv.sh", folder / "envs")
    (folder / "envs/requirements.txt").write_text(REQUIREMENTS)
    return folder


def make(clone, *arguments):
    """Run make without a net; its status, and its output."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS", "MAKELEVEL")
    }
    environment |= {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}
    command = ["make", *arguments]
    done = subprocess.run(
        command, cwd=clone, env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    return done.returncode, done.stdout


def python(folder, change):
    """Return the argument that chooses this Python, changed by a line of code."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(change)
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {shlex.quote(sys.executable)} "$@"\n')
    script.chmod(0o755)
    return f"PYTHON={script}"


def whole_environment(folder):
    """Make an environment at `folder` that has all the packages of the requirements, and a file of somebody's."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (folder / ".ready").write_text(REQUIREMENTS)
    (folder / "mine.txt").touch()
    return folder


@pytest.mark.parametrize("name", ["My Projects", "it's", "a$b", "a`b", "a\\b", "a#b", "größer"])
def test_a_clone_where_no_job_could_run_is_refused(clone, name):
    """Snakemake does not quote the path of the Python that runs a script. Others need no quotes."""
    folder = clone.rename(clone.parent / name)
    (folder / ".venv").mkdir()
    status, output = make(folder, ".venv/.ready")
    reason = (
        "is there and no virtual environment"
        if name in ("a#b", "größer")
        else f"{folder}: its path has a space, a quote"
    )
    assert status and reason in output, output


@pytest.mark.parametrize("target", ["a folder", "an environment of other packages", "nothing"])
def test_a_linked_environment_that_is_not_whole_is_refused_and_left_as_it_is(clone, tmp_path, target):
    shared = tmp_path / "shared"
    if target == "a folder":
        shared.mkdir()
        (shared / ".ready").touch()
    elif target != "nothing":
        (whole_environment(shared) / ".ready").write_text("other\n")
    before = sorted(shared.rglob("*"))
    (clone / ".venv").symlink_to(shared)
    status, output = make(clone, ".venv/.ready")
    assert status and f".venv is a link to {shared}" in output and "venv is missing" not in output
    assert sorted(shared.rglob("*")) == before and (clone / ".venv").is_symlink()


def test_a_linked_environment_that_is_whole_is_used(clone, tmp_path):
    shared = whole_environment(tmp_path / "shared")
    (clone / ".venv").symlink_to(shared)
    assert make(clone, ".venv/.ready") == (0, "")
    (clone / "envs/requirements.txt").touch()
    assert make(clone, ".venv/.ready") == (0, ""), "its packages are the same"
    assert (shared / "mine.txt").exists()


def test_clean_deletes_nothing_behind_a_link(clone, tmp_path):
    names = (".venv", ".snakemake", "results", "resources")
    for name in names:
        (tmp_path / name / "sample").mkdir(parents=True)
        (clone / name).symlink_to(tmp_path / name)
    assert make(clone, "clean")[0] == 0
    assert all((tmp_path / name / "sample").is_dir() for name in names)
    assert [name for name in names if os.path.lexists(clone / name)] == ["resources"]


def test_an_environment_of_another_python_is_made_anew_where_one_was_chosen(clone, tmp_path):
    mine = whole_environment(clone / ".venv") / "mine.txt"
    assert make(clone, ".venv/.ready", f"PYTHON={sys.executable}") == (0, "")
    assert make(clone, ".venv/.ready")[0] == 0 and mine.exists(), "none was chosen"
    make(clone, ".venv/.ready", python(tmp_path / "another", ANOTHER))
    assert not mine.exists()


def test_what_is_no_environment_is_not_emptied(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv/mine.txt").touch()
    status, output = make(clone, ".venv/.ready")
    assert status and "no virtual environment" in output and (clone / ".venv/mine.txt").exists()


def test_venv_is_said_to_be_missing_only_where_it_is(clone, tmp_path):
    status, output = make(clone, ".venv/.ready", python(tmp_path / "lacking", WITHOUT_VENV))
    assert status and "venv is missing" in output and not (clone / ".venv").exists()
    for value in ("no-such-python", "false"):
        status, output = make(clone, ".venv/.ready", f"PYTHON={value}")
        assert status and f"{value} cannot be run; expected Python 3.11" in output and "venv is missing" not in output


def test_help_names_every_target(clone):
    text = (clone / "Makefile").read_text()
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    shown = [line.split()[1] for line in make(clone, "help")[1].splitlines() if line.startswith("make ")]
    assert sorted(shown) == sorted({*phony} - {"always"})
