"""Compiled loops kept on disk: what numba alone would keep for too long."""

import shutil
import subprocess
import sys

import pytest
from clone import LIBRARY, REPOSITORY

INNER = """from attribench.compiled import compiled

@compiled
def inner(x):
    return x + {}
"""
OUTER = """from attribench.compiled import compiled
from attribench.inner import inner

@compiled(fastmath=True)
def outer(x):
    return inner(x)
"""
RUN = "from attribench.outer import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"


@pytest.mark.parametrize("folder", ["beside the module", "the user's own", "NUMBA_CACHE_DIR"])
def test_a_change_of_a_called_module_is_seen(folder, tmp_path):
    package = tmp_path / "attribench"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy2(REPOSITORY / LIBRARY / "compiled.py", package)
    (package / "outer.py").write_text(OUTER)
    environment = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    if folder == "the user's own":
        (package / "__pycache__").touch()  # no folder can be there
    elif folder == "NUMBA_CACHE_DIR":
        environment[folder] = str(tmp_path / "cache")

    def answer():
        run = [sys.executable, "-c", RUN]
        shown = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
        return [int(value) for value in shown.split()]

    (package / "inner.py").write_text(INNER.format(1))
    assert answer() == [2, 0]
    assert answer() == [2, 1]
    (package / "unrelated.py").write_text("x = 1\n")
    assert answer() == [2, 1]
    (package / "inner.py").write_text(INNER.format(20))
    assert answer() == [21, 0]
    assert answer() == [21, 1]
    assert (tmp_path / "cache").exists() == (folder != "beside the module")
