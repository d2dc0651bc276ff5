"""A job notes the files that it makes."""

import subprocess
import sys
from pathlib import Path

from attribench.provenance.keys import carried_key, was_made_here, write_key

LIBRARY = Path(__file__).parents[3] / "workflow_scripts"

# A job that is killed when one of its two files is there.
KILLED = """
import os, signal
from pathlib import Path
from types import SimpleNamespace
from attribench.provenance.job import job

with job(SimpleNamespace(log=["job.log"], params={}, output=["a.csv", "b.csv"], rule="cut")):
    Path("a.csv").write_text("half of the job")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_job_leaves_is_known_to_be_of_this_folder(tmp_path, monkeypatch):
    """Else the next run would take it for a file that was brought from elsewhere, and refuse it.

    And it has no key: with that of the file which was there before, a run that needs that one again would keep it.
    """
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("of other settings")
    write_key("a.csv", "others")
    done = subprocess.run([sys.executable, "-c", KILLED], env={"PYTHONPATH": str(LIBRARY)})
    assert done.returncode == -9 and Path("a.csv").read_text() == "half of the job"
    assert was_made_here("a.csv") and was_made_here("b.csv")
    assert carried_key("a.csv") is None
