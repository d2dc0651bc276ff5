"""Files are there whole or not at all."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from attribench.common.files import atomic_path, is_full_disk, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.csv"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_full_disk_is_told_by_number_and_by_text():
    assert is_full_disk(OSError(errno.ENOSPC, "No space left on device"))
    assert is_full_disk(OSError("can't write (file write failed: errno = 28, error message = 'No space left')"))
    assert not is_full_disk(OSError(errno.ENOENT, "No such file"))
    assert not is_full_disk(ValueError("errno = 2, x"))


STAGE = """
import resource, signal, sys
from types import SimpleNamespace
import numpy as np
from attribench.formats.shards import Rows, write_shard
from attribench.provenance.job import job

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = sys.argv[1]
outputs = {"output": [folder + "/shard.h5"], "log": [folder + "/log"]}
with job(SimpleNamespace(**outputs, params={"key": "k"}, rule="extract")):
    rows = Rows(["a"] * 1000, np.ones(1000, bool), [""] * 1000)
    with write_shard(folder + "/shard.h5", "features", (1000, 512), "float32", rows, {}) as shard:
        shard.append(np.random.default_rng(0).random((1000, 512), np.float32))
"""


def test_a_stage_whose_shard_does_not_fit_the_disk_says_so_and_leaves_nothing(tmp_path):
    """A file-size limit stands for the full disk: the system refuses the write in the same way."""
    library = Path(__file__).parents[3] / "workflow_scripts"
    command = [sys.executable, "-c", STAGE, tmp_path]
    done = subprocess.run(command, env={"PYTHONPATH": str(library)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"Error in extract: {tmp_path / 'shard.h5'}: could not be written, the disk is full" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
