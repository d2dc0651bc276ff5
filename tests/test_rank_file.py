"""The rank file: what is written is read, equal content is equal bytes, and a damaged file is refused by name."""

import dataclasses
import itertools
import time

import h5py
import numpy as np
import pytest
from attribench.errors import InputError
from attribench.rank import RankAccumulator, rank
from attribench.rank_file import RankFile, read_rank_file, write_rank_file


def text(*values):
    return np.array(values, dtype=object)


def rows(seed, n):
    return np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)


QUERIES, Q_ENTRY, EXEMPLARS, E_ENTRY = rows(0, 6), np.array([0, 0, 1, 1, 2, 2]), rows(1, 4), np.array([0, 1, 1, 2])
DATABASE, E_VALID = rows(2, 500), np.array([True, True, True, False])


def content(ranking=None):
    """Entry 2 has no valid exemplar."""
    ranking = ranking or rank(
        QUERIES, Q_ENTRY, EXEMPLARS, E_ENTRY, [(DATABASE, None)], exemplar_valid=E_VALID, sizes=[7, 400]
    )
    return RankFile(
        split="style",
        extractor="clip",
        variant="pretrained",
        query_path=text(*(f"synth/{i}é.png" for i in range(6))),
        query_prompt_type=text("gpt", "object", "gpt", "object", "gpt", "object"),
        query_entry=Q_ENTRY,
        exemplar_path=text("a.jpg", "b.JPEG", "日本.png", "d.png"),
        exemplar_entry=E_ENTRY,
        exemplar_valid=E_VALID,
        class_id=text("0", "1", "2"),
        category=text("", "", ""),
        neighbour_path=text(
            *[[f"db/{i}.jpg" if i >= 0 else "" for i in row] for row in ranking.neighbour_index.tolist()]
        ),
        ranking=ranking,
        invalid=[("style", "d.png", "exemplar", "truncated")],
        near_duplicates=[("a.jpg", "db/é.jpg", 0.97)],
    )


def assert_equal(a, b):
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if dataclasses.is_dataclass(x):
            assert_equal(x, y)
        elif isinstance(x, np.ndarray):
            assert x.dtype == y.dtype and x.shape == y.shape and (x.tolist() == y.tolist() or np.isnan(x).any())
            if x.dtype == np.float64:
                assert np.array_equal(x, y, equal_nan=True)
        else:
            assert x == y and type(x) is type(y)


def test_what_is_written_is_read(tmp_path):
    write_rank_file(tmp_path / "deep" / "ranks.h5", content())
    assert_equal(content(), read_rank_file(tmp_path / "deep" / "ranks.h5"))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["ranks.h5"]


def test_a_ranking_of_nothing(tmp_path):
    none, nothing = np.zeros((0, 8), np.float32), np.zeros(0, np.int64)
    ranking = rank(none, nothing, none, nothing, [])
    empty = {"query_path": text(), "query_prompt_type": text(), "query_entry": nothing, "exemplar_path": text()}
    empty |= {"exemplar_entry": nothing, "exemplar_valid": nothing.astype(bool), "class_id": text()}
    empty |= {"category": text(), "neighbour_path": np.empty(ranking.neighbour_index.shape, object), "invalid": []}
    written = dataclasses.replace(content(), ranking=ranking, **empty)
    write_rank_file(tmp_path / "ranks.h5", written)
    assert_equal(written, read_rank_file(tmp_path / "ranks.h5"))


def test_every_dataset_with_values_has_checksums(tmp_path):
    write_rank_file(tmp_path / "ranks.h5", content())
    found = []
    with h5py.File(tmp_path / "ranks.h5") as file:
        file.visititems(lambda name, item: found.append(item.fletcher32) if isinstance(item, h5py.Dataset) else None)
    assert len(found) == 26 and all(found)


def test_equal_content_is_equal_bytes_however_it_was_ranked(tmp_path):
    write_rank_file(tmp_path / "one.h5", content())
    expected = (tmp_path / "one.h5").read_bytes()
    time.sleep(1.1)  # HDF5 counts time in seconds
    for pieces, threads, reverse in itertools.product([1, 3], [1, 2], [False, True]):
        cuts = np.linspace(0, 500, pieces + 1).astype(int)
        parts = []
        for a, b in itertools.pairwise(cuts):
            options = {"exemplar_valid": E_VALID, "threads": threads, "block_rows": 64, "block_queries": 3}
            options["sizes"] = [7, 400]
            parts.append(RankAccumulator(QUERIES, Q_ENTRY, EXEMPLARS, E_ENTRY, **options))
            parts[-1].add(DATABASE[a:b], None, a)
        first, *others = parts[::-1] if reverse else parts
        for part in others:
            first.merge(part)
        write_rank_file(tmp_path / "other.h5", content(first.finish()))
        assert (tmp_path / "other.h5").read_bytes() == expected


def test_a_damaged_value_is_found(tmp_path):
    path = tmp_path / "ranks.h5"
    write_rank_file(path, content())
    whole = path.read_bytes()
    ranks, name = content().ranking.ranks.tobytes(), "synth/3é.png".encode()
    for piece in (ranks, name):
        at = whole.index(piece)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"ranks\.h5: corrupt"):
            read_rank_file(path)


@pytest.mark.parametrize("length", [0, 10, 1000, -1])
def test_a_file_cut_short_is_refused(tmp_path, length):
    path = tmp_path / "ranks.h5"
    write_rank_file(path, content())
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("queries/entry"), "lacks a dataset"),
        (lambda file: file.attrs.__delitem__("variant"), "lacks the attribute variant"),
        (lambda file: file.attrs.__setitem__("format_version", 1), "expected a rank file of format 2, found format 1"),
        (lambda file: file["ranks"].__setitem__(0, 0), "not rising"),
        (lambda file: file["exemplar"].__setitem__(0, 4), "expected 0 to 3"),
        (lambda file: file["offsets"].__setitem__(-1, 99), "offsets"),
        (lambda file: file["queries/valid"].__setitem__(-1, True), "queries/valid"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, change, message):
    write_rank_file(tmp_path / "ranks.h5", content())
    with h5py.File(tmp_path / "ranks.h5", "r+") as file:
        change(file)
    with pytest.raises(InputError, match=rf"ranks\.h5: .*{message}"):
        read_rank_file(tmp_path / "ranks.h5")


def test_arrays_that_do_not_fit_are_not_written(tmp_path):
    with pytest.raises(InputError, match=r"queries/prompt_type has shape \[1\]; expected \[6\]"):
        write_rank_file(tmp_path / "ranks.h5", dataclasses.replace(content(), query_prompt_type=text("gpt")))
    assert not list(tmp_path.iterdir())
