"""Given files: a touch changes nothing, a changed byte does."""

import os

import pytest
from attribench.errors import InputError
from attribench.sources import current_token, record

FILES = ["a.jpg", "b/c.jpg"]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "b").mkdir()
    for name in FILES:
        (tmp_path / name).write_text(name)
    record(tmp_path / "record.csv", tmp_path, FILES, "token-1", threads=2)
    return tmp_path


def token(root, files=FILES):
    return current_token(root / "record.csv", root, files)


def test_without_a_record_no_two_contents_share_a_token(root):
    (root / "record.csv").unlink()
    first = token(root)
    (root / "a.jpg").write_text("other")
    assert token(root) != first


def test_unchanged_and_touched_files_keep_their_token(root):
    assert token(root) == "token-1"
    os.utime(root / "a.jpg", ns=(1, 1))
    assert token(root) == "token-1"


def test_a_file_moved_to_another_root_keeps_its_token(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "b").mkdir()
    for name in FILES:
        (other / name).write_text(name)
    assert current_token(root / "record.csv", other, FILES) == "token-1"


def test_every_change_gives_another_token(root):
    seen = {token(root), token(root, FILES[:1]), token(root, [*FILES, "d.jpg"])}
    (root / "d.jpg").write_text("new")
    seen.add(token(root, [*FILES, "d.jpg"]))
    status = os.stat(root / "a.jpg")
    (root / "a.jpg").write_text("A.jpg")  # of the same size
    os.utime(root / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    seen.add(token(root))
    (root / "a.jpg").unlink()
    seen.add(token(root))
    assert len(seen) == 6


def test_a_token_is_stable_once_recorded(root):
    (root / "a.jpg").write_text("other")
    changed = token(root)
    record(root / "record.csv", root, FILES, changed)
    assert token(root) == changed


def test_a_touched_file_is_read_once(root):
    os.utime(root / "a.jpg", ns=(1, 1))
    before = (root / "record.csv").read_text()
    assert token(root) == "token-1"
    after = (root / "record.csv").read_text()
    assert before != after
    assert ",1," in after
    assert token(root) == "token-1"
    assert (root / "record.csv").read_text() == after


def test_missing_files_are_listed_and_nothing_is_written(root):
    before = (root / "record.csv").read_bytes()
    with pytest.raises(InputError, match=r"1 file\(s\) missing below .*\n  no.jpg"):
        record(root / "record.csv", root, ["a.jpg", "no.jpg"], "t")
    assert (root / "record.csv").read_bytes() == before
