"""The rank file: what is written is read, equal content is equal bytes, and a damaged file is refused by name."""

import dataclasses
import time

import h5py
import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.formats.rank_file import read_rank_file, write_rank_file
from helpers.rankings import make_ranking, text


def ranking(**changes):
    """Return a ranking with everything in it: entry 2 has no valid exemplar, and some texts are no ASCII."""
    made = make_ranking(
        [[2, 9], [1, 3], [4], [1], [], []],
        [0, 0, 1, 1, 2, 2],
        ["gpt", "object"] * 3,
        query_path=text([f"synth/{q}é.png" for q in range(6)]),
        exemplar_path=text(["a.jpg", "b.JPEG", "日本.png", "d.png"]),
        exemplar_entry=np.array([0, 0, 1, 2]),
        exemplar_valid=np.array([True, True, True, False]),
        sizes=np.array([7, 60]),
        n_database_at=np.array([6, 58]),
        ranks_at=np.array([[1, 2, 1, 2, 1, 1], [1, 8, 1, 2, 3, 1]]),
        invalid=[("style", "d.png", "exemplar", "truncated")],
        near_duplicates=[("a.jpg", "db/é.jpg", 0.97), ("a.jpg", "db/2.jpg", 0.96)],
    )
    nothing = np.arange(6)[:, None] >= [4]  # invalid queries have no neighbours
    index, score = np.where(nothing, -1, made.neighbour_index), np.where(nothing, np.nan, made.neighbour_score)
    neighbours = {"neighbour_index": index, "neighbour_score": score}
    neighbours["neighbour_path"] = np.where(nothing, "", made.neighbour_path)
    return dataclasses.replace(made, **neighbours | changes)


def assert_equal(a, b):
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert type(x) is type(y), field.name
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype and x.shape == y.shape, field.name
            assert np.array_equal(x, y, equal_nan=x.dtype == np.float64), field.name
        else:
            assert x == y, field.name


def test_what_is_written_is_read(tmp_path):
    write_rank_file(tmp_path / "deep" / "ranks.h5", ranking(), "a key")
    assert_equal(ranking(), read_rank_file(tmp_path / "deep" / "ranks.h5"))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["ranks.h5"]
    with h5py.File(tmp_path / "deep" / "ranks.h5") as file:
        assert file.attrs["key"] == "a key"


def test_a_ranking_of_nothing(tmp_path):
    written = make_ranking([], [], [], invalid=[], near_duplicates=[])
    write_rank_file(tmp_path / "ranks.h5", written)
    assert_equal(written, read_rank_file(tmp_path / "ranks.h5"))


def test_every_dataset_with_values_has_checksums(tmp_path):
    write_rank_file(tmp_path / "ranks.h5", ranking())
    found = []
    with h5py.File(tmp_path / "ranks.h5") as file:
        file.visititems(lambda name, item: found.append(item.fletcher32) if isinstance(item, h5py.Dataset) else None)
    assert len(found) == 26 and all(found)


def test_equal_content_is_equal_bytes(tmp_path):
    write_rank_file(tmp_path / "one.h5", ranking())
    time.sleep(1.1)  # HDF5 counts time in seconds
    write_rank_file(tmp_path / "other.h5", ranking())
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "other.h5").read_bytes()


def test_a_damaged_value_is_found(tmp_path):
    path = tmp_path / "ranks.h5"
    write_rank_file(path, ranking())
    whole = path.read_bytes()
    for piece in (ranking().ranks.tobytes(), "synth/3é.png".encode()):
        at = whole.index(piece)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"ranks\.h5: corrupt"):
            read_rank_file(path)


@pytest.mark.parametrize("length", [0, 10, 1000, -1])
def test_a_file_cut_short_is_refused(tmp_path, length):
    path = tmp_path / "ranks.h5"
    write_rank_file(path, ranking())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"ranks\.h5: "):
        read_rank_file(path)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "ranks.h5"
    with pytest.raises(InputError, match=r"ranks\.h5: .*does not exist"):
        read_rank_file(path)
    path.write_text("not HDF5")
    with pytest.raises(InputError, match=r"ranks\.h5: "):
        read_rank_file(path)
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(InputError, match=r"ranks\.h5: expected a rank file of format 2, found format None"):
        read_rank_file(path)


def put(name, values):
    """Return a change of a file that puts a dataset in place of another."""

    def change(file):
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("queries/entry"), r"lacks a dataset \(queries/entry\)"),
        (lambda file: file.attrs.__delitem__("variant"), "lacks the attribute variant"),
        (lambda file: file.attrs.__setitem__("format_version", 1), "expected a rank file of format 2, found format 1"),
        (lambda file: file["ranks"].__setitem__(0, 0), "not rising"),
        (lambda file: file["ranks"].__setitem__(1, 103), "not between 1 and the number of candidates"),
        (lambda file: file["exemplar"].__setitem__(0, 4), "expected 0 to 3"),
        (lambda file: file["offsets"].__setitem__(-1, 99), "offsets"),
        (lambda file: file["offsets"].__setitem__(1, 5), "offsets"),
        (lambda file: file["queries/valid"].__setitem__(-1, True), "queries/valid"),
        (put("ranks", np.ones(6, np.int32)), "ranks is int32; expected int64"),
        (put("queries/path", np.ones(6)), "queries/path is float64; expected text"),
        (put("sizes/ranks", np.ones((1, 6), np.int64)), r"sizes/ranks has shape \[1, 6\]; expected \[2, 6\]"),
        (put("invalid/path", ["a", "b"]), r"invalid has \[1, 2, 1, 1\] rows"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, change, message):
    write_rank_file(tmp_path / "ranks.h5", ranking())
    with h5py.File(tmp_path / "ranks.h5", "r+") as file:
        change(file)
    with pytest.raises(InputError, match=rf"ranks\.h5: .*{message}"):
        read_rank_file(tmp_path / "ranks.h5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_prompt_type": text(["gpt"])}, r"queries/prompt_type has shape \[1\]; expected \[6\]"),
        ({"neighbour_score": np.zeros((6, 3))}, r"neighbours/score has shape \[6, 3\]; expected \[6, 4\]"),
        ({"scores": np.ones(3)}, r"scores has shape \[3\]; expected \[6\]"),
    ],
)
def test_arrays_that_do_not_fit_are_not_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        write_rank_file(tmp_path / "ranks.h5", ranking(**changes))
    assert not list(tmp_path.iterdir())
