"""Folders of images: which files are listed, each once, and what is left out of it and why."""

import os

import pytest
from attribench.common.errors import InputError
from attribench.common.folders import CYCLE, ENDING, HIDDEN, TWICE, LeftOut, left_out_text, list_images
from attribench.common.images import image_endings
from helpers.unprivileged import call_unprivileged


def make(top, *names):
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")


def link(at, target):
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(target)


def test_images_are_what_can_be_decoded_and_the_rest_is_counted(tmp_path):
    make(tmp_path, "b/2.PNG", "b/1.jpeg", "a.JPEG", "c.avif", "d.heic", "e.jp2", "f.pnm", "g.TIF")
    make(tmp_path, "notes.txt", "b/more.TXT", "raw.cr2", "README", ".hidden/3.jpg", "b/._4.jpg")
    images, left_out = list_images(tmp_path)
    assert images == ["a.JPEG", "b/1.jpeg", "b/2.PNG", "c.avif", "d.heic", "e.jp2", "f.pnm", "g.TIF"]
    assert left_out == [
        LeftOut(HIDDEN, "", 2, ".hidden"),
        LeftOut(ENDING, ".txt", 2, "b/more.TXT"),
        LeftOut(ENDING, "", 1, "README"),
        LeftOut(ENDING, ".cr2", 1, "raw.cr2"),
    ]
    assert left_out_text(left_out) == "2 hidden, 4 no image by its ending (.txt 2, without one 1, .cr2 1)"


def test_every_ending_that_can_be_decoded_is_listed(tmp_path):
    make(tmp_path, *(f"a{ending.upper()}" for ending in image_endings()))
    assert list_images(tmp_path) == (sorted(f"a{ending.upper()}" for ending in image_endings()), [])


# Links below the folder `top`, which holds 1.jpg and sub/2.jpg; beside it are 0.jpg and elsewhere/3.jpg.
CYCLES = {
    "itself": {"sub/again": ".."},
    "directly": {"again": "."},
    "a folder above all": {"up": ".."},
    "the root of all": {"sub/up": "/"},
    "two to each other": {"sub/a/to-b": "../../b", "b/to-a": "../sub/a"},
    "through elsewhere": {"out": "../elsewhere", "../elsewhere/back": "../top/sub", "sub/out": "../../elsewhere"},
    "above elsewhere": {"out": "../elsewhere", "../elsewhere/up": ".."},
}


@pytest.mark.parametrize("name", CYCLES)
def test_a_link_to_a_folder_above_is_not_followed(tmp_path, name):
    top = tmp_path / "top"
    make(tmp_path, "0.jpg", "top/1.jpg", "top/sub/2.jpg", "elsewhere/3.jpg")
    for at, target in CYCLES[name].items():
        link(top / at, target)
    images, left_out = list_images(top)
    assert {"1.jpg", "sub/2.jpg"} <= set(images) and len(images) == len(set(images))
    assert {row.reason for row in left_out} <= {CYCLE, TWICE} and left_out
    files = [os.path.realpath(top / path) for path in images]
    assert len(files) == len(set(files)), "each image once"
    for path in images:  # no path goes through a folder twice
        parents = [os.path.realpath(parent) for parent in (top / path).parents if parent.is_relative_to(top)]
        assert len(parents) == len(set(parents)), path
        assert os.path.basename(path) != "0.jpg"


def test_links_to_folders_and_files_elsewhere_are_followed(tmp_path):
    make(tmp_path, "top/1.jpg", "elsewhere/deep/3.jpg")
    link(tmp_path / "top/a", tmp_path / "elsewhere")
    link(tmp_path / "top/b", "../elsewhere")
    link(tmp_path / "top/2.jpg", "1.jpg")
    link(tmp_path / "top/gone.jpg", "nowhere")
    link(tmp_path / "top/round.jpg", "round.jpg")
    images, left_out = list_images(tmp_path / "top")
    assert images == ["1.jpg", "2.jpg", "a/deep/3.jpg", "gone.jpg", "round.jpg"], "the last two are refused later"
    assert left_out == [LeftOut(TWICE, "", 1, "b")]


def test_a_folder_that_many_links_lead_to_is_listed_once(tmp_path):
    names = [f"{i}" for i in range(6)]
    for name in names:
        make(tmp_path, f"top/{name}/a.jpg")
        for other in set(names) - {name}:
            link(tmp_path / f"top/{name}/to{other}", f"../{other}")
    images, left_out = list_images(tmp_path / "top")
    assert images == [f"{name}/a.jpg" for name in names]
    assert [(row.reason, row.count) for row in left_out] == [(TWICE, 30)]


def test_a_folder_below_that_may_not_be_listed_is_named(tmp_path):
    make(tmp_path, "top/1.jpg", "top/closed/2.jpg")
    (tmp_path / "top/closed").chmod(0)
    said = call_unprivileged(tmp_path, 'from attribench.common.folders import list_images\nlist_images("top")')
    assert said == "top/closed: the folder cannot be listed (Permission denied); expected one that may be read"


def test_names_are_kept_or_refused(tmp_path):
    names = ["a\rb.jpg", "a\nb.jpg", "a\u2028b.jpg", " a .jpg", "\x1f.jpg", "é.jpg"]
    make(tmp_path, *names)
    assert list_images(tmp_path).images == sorted(names)
    make(tmp_path, os.fsdecode(b"\xff.txt"))
    assert list_images(tmp_path).left_out == [LeftOut(ENDING, ".txt", 1, "\ufffd.txt")]
    make(tmp_path, os.fsdecode(b"\xff.jpg"))
    with pytest.raises(InputError, match=rf"^b'{tmp_path}/.xff.jpg': the file name is not UTF-8"):
        list_images(tmp_path)


@pytest.mark.parametrize("target", ["/nowhere/more", "more"])
def test_a_link_to_nothing_is_refused(tmp_path, target):
    """It may have led to a folder of images: on a disk that is not there now, say."""
    make(tmp_path, "1.jpg")
    (tmp_path / "more").symlink_to(target)
    with pytest.raises(InputError, match=f"^{tmp_path}/more: a link to nothing; expected what it leads to, or no link"):
        list_images(tmp_path)


def test_many_endings_are_counted_together(tmp_path):
    make(tmp_path, "a.jpg", *(f"frame.{i:03d}" for i in range(70)))
    left_out = list_images(tmp_path).left_out
    assert len(left_out) == 51 and left_out[-1][:3] == (ENDING, "others", 20)
    assert sum(row.count for row in left_out) == 70
