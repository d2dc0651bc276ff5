"""Set up what the tests share."""

import os

import pytest
from attribench.rank.device import has_gpu
from filelock import FileLock
from helpers.clone import TINY, Clone

# Two test processes share the cores: threads that wait for work should not take time from the other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Without a GPU, Triton's kernels run in its interpreter, on arrays of the processor. Triton reads this when it is loaded.
if not has_gpu():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items):
    """Order the files: of ranking, whose compiled code clones copy, then those that run workflows, then the short ones.

    What comes last should be short, or one test process waits for the other.
    """
    slow = {item.path for item in items if item.get_closest_marker("workflow") or item.get_closest_marker("slurm")}
    items.sort(key=lambda item: (item.path.parent.name != "rank", item.path not in slow))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a skipped check is a failed one: everything that a check needs is there, or has to be put there."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped, which CI does not allow: {reason}"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A clone in which the tiny sample benchmark has run to its end. Tests copy it and leave it as it is.

    The first of the test processes makes it, the others wait for it.
    """
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent
    with FileLock(folder / "finished.lock"):
        if (folder / "finished-well").exists():
            return Clone(folder / "finished", open_only=True)
        clone = Clone(folder / "finished", TINY)
        clone.run()
        (folder / "finished-well").touch()
        return clone


@pytest.fixture
def finished_copy(finished, tmp_path):
    """A copy, for one test alone, of the clone in which the tiny sample benchmark has run."""
    return Clone(tmp_path / "clone", copy_from=finished)
