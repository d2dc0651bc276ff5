"""The page keeps the results that were used last, and none of a failure."""

import os

import pytest
from attribench.demo.cache import Cache, file_times
from attribench.demo.run import Run


def test_what_was_used_last_is_kept():
    kept, made = Cache(2), []

    def get(key):
        return kept.get(key, lambda: made.append(key) or key)

    for key in "abacab":
        get(key)
    assert "".join(made) == "abcb"


def test_a_failure_is_not_kept():
    kept = Cache(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 / 0)
    assert kept.get("a", lambda: 5) == 5


def test_a_file_that_is_made_anew_changes_the_stamp(finished_demo):
    run = Run([finished_demo])
    files = run.files_of(run.methods[0])
    before = file_times(files, "zoo")
    assert file_times(files, "zoo") == before
    time = os.stat(files.calibrator)
    os.utime(files.calibrator, ns=(time.st_atime_ns, time.st_mtime_ns + 1000))
    assert file_times(files, "zoo") != before
