"""The same DAG on a real Slurm of three nodes (tests/helpers/slurm_cluster.sh) gives the bytes of the local run."""

import shutil
import subprocess
from collections import Counter

import pytest
from helpers.clone import TINY, Clone

pytestmark = [pytest.mark.workflow, pytest.mark.slurm]


def idle_nodes():
    if not shutil.which("sinfo"):
        return 0
    done = subprocess.run(["sinfo", "-h", "-N", "-o", "%N"], capture_output=True, text=True, timeout=30)
    return len(set(done.stdout.split()))


# What one split's jobs of every stage make, but the tables, which all splits share.
MADE = [f"results/metrics/sample_style/{extractor}/pretrained.csv" for extractor in TINY["extractors"]]
MADE += ["results/plots/sample_style_contact.png"]


@pytest.mark.skipif(idle_nodes() < 3, reason="no Slurm of three nodes; as root: tests/helpers/slurm_cluster.sh start")
def test_slurm_gives_the_bytes_of_a_local_run(finished, tmp_path):
    clone = Clone(tmp_path / "clone", TINY)
    # The three nodes share two processors and keep no accounts; all else is the shipped profile.
    here = ["--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
    clone.run("--profile", "slurm", *here, "--max-threads", "2", *MADE, timeout=1500)
    for name in MADE:
        assert (clone.folder / name).read_bytes() == (finished.folder / name).read_bytes(), name
    assert clone.planned(None, *MADE) == Counter()
    log = next((clone.folder / ".snakemake/log").glob("*.log")).read_text()
    assert "submitted with SLURM jobid" in log
