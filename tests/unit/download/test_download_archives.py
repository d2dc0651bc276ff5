"""Archives: what they hold comes out whole, in volumes or not; what reaches out of them, or swells the disk, is refused."""

import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import py7zr
import pytest
from attribench.common.errors import InputError
from attribench.download.archives import Damaged, find_program, unpack
from attribench.download.install import find_provided, install, is_there
from helpers.archives import contents, make_7z, make_tar, make_tree, make_volumes

FILES = {"exemplar/a/1.png": os.urandom(150_000), "exemplar/2.png": os.urandom(70_000), "exemplar/ä.png": b"x"}
# With the program where one is installed (in CI it is), and without.
PROGRAMS = [None, find_program()] if find_program() else [None]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("make", [make_7z, make_volumes])
def test_a_7z_archive_comes_out_whole(tmp_path, make, program):
    volumes = make(tmp_path, FILES)
    assert len(volumes) == (1 if make is make_7z else 4)
    unpack("7z", volumes, tmp_path / "out", 20, program)
    assert contents(tmp_path / "out") == FILES


@pytest.mark.skipif(find_program() is None, reason="no 7z program; on Debian: apt install 7zip")
def test_volumes_of_the_program_itself_come_out_whole(tmp_path):
    make_tree(tmp_path / "in", FILES)
    command = [find_program(), "a", "-v64000b", "-bso0", str(tmp_path / "it.7z"), "exemplar"]
    subprocess.run(command, cwd=tmp_path / "in", check=True)
    for number, program in enumerate(PROGRAMS):
        unpack("7z", sorted(tmp_path.glob("it.7z.*")), tmp_path / f"out{number}", 20, program)
        assert contents(tmp_path / f"out{number}") == FILES


@pytest.mark.parametrize("name", ["it.tar", "it.tar.gz"])
def test_a_tar_archive_comes_out_whole(tmp_path, name):
    unpack("tar", make_tar(tmp_path, FILES, name), tmp_path / "out", 20)
    assert contents(tmp_path / "out") == FILES


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def device(name):
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return member


EVIL_TAR = {
    "parent": {"../evil": b"x"},
    "parent within": {"a/../../evil": b"x"},
    "absolute": {"/tmp/attribench-evil": b"x"},
    "symlink out": {"a": link("a", "../..")},
    "absolute symlink": {"a": link("a", "/etc")},
    "hard link out": {"a": link("a", "../../etc/passwd", tarfile.LNKTYPE)},
    "write through a link": {"a": link("a", ".."), "a/evil": b"x"},
    "device": {"a": device("a")},
}


@pytest.mark.parametrize("members", EVIL_TAR.values(), ids=EVIL_TAR)
def test_a_tar_member_that_reaches_out_is_refused(tmp_path, members):
    (tmp_path / "in").mkdir()
    archive = make_tar(tmp_path / "in", {"good": b"x", **members})
    with pytest.raises(InputError, match="it.tar.gz: ") as error:
        unpack("tar", archive, tmp_path / "in/out", 1000)
    assert not isinstance(error.value, Damaged)
    assert not list(tmp_path.rglob("evil"))
    assert not Path("/tmp/attribench-evil").exists()


@pytest.fixture
def unchecked_names(monkeypatch):
    """py7zr itself refuses to write such names; an attacker's program does not."""
    monkeypatch.setattr(py7zr.py7zr, "check_archive_path", lambda name: True)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/attribench-evil", "C:evil"])
def test_a_7z_member_that_reaches_out_is_refused(tmp_path, unchecked_names, name, program):
    (tmp_path / "in").mkdir()
    archive = make_7z(tmp_path / "in", {"good": b"x", name: b"x"})
    with pytest.raises(InputError, match="lies outside the archive's folder"):
        unpack("7z", archive, tmp_path / "in/out", 1000, program)
    assert contents(tmp_path / "in/out") == {}
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_link_in_a_7z_archive_is_refused(tmp_path, program):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").symlink_to("/etc")
    with py7zr.SevenZipFile(tmp_path / "it.7z", "w", dereference=False) as archive:
        archive.write(tmp_path / "in/a", "a")
    with pytest.raises(InputError, match="member 'a' is a link or special file"):
        unpack("7z", [tmp_path / "it.7z"], tmp_path / "out", 1000, program)
    assert not os.path.lexists(tmp_path / "out/a")


@pytest.mark.parametrize("form, make", [("7z", make_7z), ("tar", make_tar)])
def test_an_absurd_expansion_is_refused_before_it_is_written(tmp_path, form, make):
    archive = make(tmp_path, {"zeros": bytes(20_000_000)})
    with pytest.raises(InputError, match=r"holds 20000000 bytes or more, packed in \d+; expected at most 20 times"):
        unpack(form, archive, tmp_path / "out", 20, find_program())
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("form, make", [("7z", make_7z), ("tar", make_tar)])
def test_more_than_the_disk_can_hold_is_refused(tmp_path, form, make, monkeypatch):
    archive = make(tmp_path, FILES)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    with pytest.raises(InputError, match="the disk has 100000 left"):
        unpack(form, archive, tmp_path / "out", 20, find_program())


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_damaged_7z_archive_is_found_out(tmp_path, program):
    (archive,) = make_7z(tmp_path, FILES)
    content = bytearray(archive.read_bytes())
    content[5_000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(Damaged, match="it.7z: "):
        unpack("7z", [archive], tmp_path / "out", 20, program)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("make", [make_7z, make_volumes])
def test_a_short_7z_archive_is_found_out(tmp_path, make, program):
    volumes = make(tmp_path, FILES)
    volumes[-1].write_bytes(volumes[-1].read_bytes()[:-50])
    with pytest.raises(Damaged):
        unpack("7z", volumes, tmp_path / "out", 20, program)


def test_a_volume_too_many_is_named(tmp_path):
    volumes = make_volumes(tmp_path, FILES)
    with pytest.raises(InputError, match=r"it.7z: the volumes are .*'it.7z.004'\]; expected .*'it.7z.003'\]"):
        unpack("7z", volumes[:3], tmp_path / "out", 20)


def test_a_missing_volume_is_named(tmp_path):
    volumes = make_volumes(tmp_path, FILES)
    volumes[1].unlink()
    with pytest.raises(InputError, match=r"it.7z.002 is missing; expected 4 volumes"):
        unpack("7z", volumes, tmp_path / "out", 20)


@pytest.mark.parametrize(
    "spoil", [lambda c: c[:-2000], lambda c: c[:1000] + b"?" + c[1001:], lambda c: b"no archive" * 9]
)
def test_a_damaged_tar_archive_is_found_out(tmp_path, spoil):
    (archive,) = make_tar(tmp_path, FILES)
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(Damaged, match="it.tar.gz: the archive is damaged"):
        unpack("tar", [archive], tmp_path / "out", 20)


# --- where the content goes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["dataset/exemplar", "exemplar", "home/me/dataset/exemplar", "data/exemplar"])
def test_a_folder_is_found_wherever_the_archive_has_it(tmp_path, top):
    (tmp_path / top / "exemplar").mkdir(parents=True)
    assert find_provided(tmp_path, "dataset/exemplar/") == tmp_path / top


def test_an_archive_of_bare_files_is_the_folder(tmp_path):
    (tmp_path / "1.png").touch()
    assert find_provided(tmp_path, "dataset/laion_subset/") == tmp_path


def test_a_file_is_found_by_the_longest_end_of_its_path(tmp_path):
    for name in ("feats/clip/laion_subset.pth", "feats/dino/laion_subset.pth"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert find_provided(tmp_path, "feats/dino/laion_subset.pth") == tmp_path / "feats/dino/laion_subset.pth"
    assert find_provided(tmp_path / "feats", "feats/dino/laion_subset.pth") == tmp_path / "feats/dino/laion_subset.pth"
    with pytest.raises(InputError, match="laion_subset.pth is there 2 times"):
        find_provided(tmp_path, "feats/moco/laion_subset.pth")


def test_what_the_archive_does_not_have_is_refused_with_what_it_has(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "readme.txt").touch()
    with pytest.raises(InputError, match=r"no dataset/exemplar/ .* at its top it has images/, readme.txt"):
        find_provided(tmp_path, "dataset/exemplar/")


def test_what_is_there(tmp_path):
    (tmp_path / "folder").mkdir()
    assert not is_there(tmp_path, "folder/")
    (tmp_path / "folder/a").touch()
    assert is_there(tmp_path, "folder/")
    assert is_there(tmp_path, "folder/a")
    assert not is_there(tmp_path, "folder/b")


def test_a_link_to_an_empty_folder_is_filled(tmp_path):
    make_tree(tmp_path / "in", FILES)
    (tmp_path / "large").mkdir()
    (tmp_path / "exemplar").symlink_to("large")
    install(tmp_path / "in/exemplar", tmp_path / "exemplar")
    assert (tmp_path / "exemplar").is_symlink()
    assert (tmp_path / "large/a/1.png").read_bytes() == FILES["exemplar/a/1.png"]


def test_content_goes_to_another_disk_as_well(tmp_path):
    """dataset/ may be a link to another disk."""
    other = Path("/dev/shm") / f"attribench-test-{os.getpid()}"
    if not other.parent.is_dir() or other.parent.stat().st_dev == tmp_path.stat().st_dev:
        return  # nothing here is another disk
    try:
        make_tree(tmp_path / "in", FILES)
        install(tmp_path / "in/exemplar", other / "exemplar")
        install(tmp_path / "in/exemplar/2.png", other / "2.png")
        assert contents(other) == {**FILES, "2.png": FILES["exemplar/2.png"]}
        assert stat.S_ISDIR(other.stat().st_mode)
    finally:
        shutil.rmtree(other, ignore_errors=True)
