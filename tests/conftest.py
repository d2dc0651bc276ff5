"""What the tests share."""

import os

import pytest
from clone import TINY, Clone


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
    """A clone in which the tiny sample benchmark has run to its end. Tests copy it and leave it as it is."""
    clone = Clone(tmp_path_factory.mktemp("finished") / "clone", TINY)
    clone.run()
    return clone


@pytest.fixture
def finished_copy(finished, tmp_path):
    """A copy, for one test alone, of the clone in which the tiny sample benchmark has run."""
    return Clone(tmp_path / "clone", copy_from=finished)
