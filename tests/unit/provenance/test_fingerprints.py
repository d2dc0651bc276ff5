"""Fingerprints of given files: a touch changes nothing, a changed byte does."""

import os

import pytest
from attribench.common.errors import InputError
from attribench.provenance.fingerprints import compare, is_as_recorded, note_touched, read_record, write_fingerprints
from helpers.unprivileged import call_unprivileged

FILES = ["a.jpg", "b/c.jpg"]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "b").mkdir()
    for name in FILES:
        (tmp_path / name).write_text(name)
    write_fingerprints(tmp_path / "record.csv", tmp_path, FILES, "token-1", threads=2)
    return tmp_path


def token(root, files=FILES):
    return compare(root / "record.csv", root, files).token


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
    assert compare(root / "record.csv", other, FILES).token == "token-1"


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
    write_fingerprints(root / "record.csv", root, FILES, changed)
    assert token(root) == changed


def test_a_touched_file_is_read_until_that_is_noted(root):
    os.utime(root / "a.jpg", ns=(1, 1))
    before = (root / "record.csv").read_text()
    found = compare(root / "record.csv", root, FILES)
    assert found.token == "token-1" and list(found.touched) == ["a.jpg"]
    assert (root / "record.csv").read_text() == before, "to compare changes no byte"
    note_touched(root / "record.csv", found.touched)
    assert compare(root / "record.csv", root, FILES)[:2] == ("token-1", {})
    fingerprints = read_record(root / "record.csv").fingerprints
    assert fingerprints["a.jpg"].mtime_ns == 1 and list(fingerprints) == FILES


def test_a_file_is_as_recorded_while_its_content_is(root):
    known = read_record(root / "record.csv")
    assert is_as_recorded(known, root, "a.jpg")
    os.utime(root / "a.jpg", ns=(1, 1))
    assert is_as_recorded(known, root, "a.jpg")
    (root / "a.jpg").write_text("A.jpg")
    assert not is_as_recorded(known, root, "a.jpg")
    assert not is_as_recorded(known, root, "none.jpg") and not is_as_recorded(None, root, "b/c.jpg")


def test_missing_files_are_listed_and_nothing_is_written(root):
    before = (root / "record.csv").read_bytes()
    with pytest.raises(InputError, match=r"1 file\(s\) missing below .*\n  no.jpg"):
        write_fingerprints(root / "record.csv", root, ["a.jpg", "no.jpg"], "t")
    assert (root / "record.csv").read_bytes() == before


UNREADABLE = {
    "a" * 300 + ".jpg": "File name too long",
    "a\0.jpg": "embedded null byte",
    "loop.jpg": "Too many levels of symbolic links",
    "b": "no file",
    "pipe.jpg": "no file",
}


@pytest.mark.parametrize("name", UNREADABLE, ids=ascii)
def test_a_file_that_the_system_refuses_is_listed_with_the_reason(root, name):
    (root / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(root / "pipe.jpg")
    before = (root / "record.csv").read_bytes()
    assert token(root, [*FILES, name]) != "token-1", (
        "to compare raises nothing: the job that reads it says what is wrong"
    )
    with pytest.raises(InputError) as error:
        write_fingerprints(root / "record.csv", root, [*FILES, name, "gone.jpg"], "t")
    first, gone, second, refused = str(error.value).splitlines()
    assert "1 file(s) missing below" in first and gone == "  gone.jpg"
    assert "1 file(s) cannot be read below" in second and refused.endswith(f"({UNREADABLE[name]})")
    assert (root / "record.csv").read_bytes() == before


def test_a_file_that_may_not_be_read_is_listed_with_the_reason(root):
    (root / "a.jpg").chmod(0)
    code = (
        "from attribench.provenance.fingerprints import *\nwrite_fingerprints('r.csv', '.', ['a.jpg', 'b/c.jpg'], 't')"
    )
    said = call_unprivileged(root, code)
    assert said == "1 file(s) cannot be read below . (expected: 2):\n  a.jpg (Permission denied)"


def test_names_with_line_ends_are_recorded(root):
    files = ["a\rb.jpg", "a\nb.jpg", "a\r\n.jpg", "\u2028.jpg", " .jpg", 'a,"b".jpg']
    for name in files:
        (root / name).write_text(name)
    write_fingerprints(root / "record.csv", root, files, "t")
    assert list(read_record(root / "record.csv").fingerprints) == files
    assert compare(root / "record.csv", root, files).token == "t"
