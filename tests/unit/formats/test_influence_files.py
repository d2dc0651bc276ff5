"""The files of score histograms and of influence: what is written is read, and damage is refused by name."""

import h5py
import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.formats.calibrator import Calibrator
from attribench.formats.histogram import BINS, ScoreHistogram, read_histogram, write_histogram
from attribench.formats.influence import Influence, read_influence, shapes, write_influence
from helpers.rankings import make_ranking

CALIBRATOR, VALID = Calibrator(8.5, -2.25), np.array([True, False, True])
RANKING = make_ranking([[2, 9], [], [1, 3]], [0, 0, 0], ["gpt"] * 3)


def histogram():
    rng = np.random.default_rng(0)
    return ScoreHistogram(rng.random(2), rng.random((2, BINS, 3)).astype(np.float32))


def influence():
    rng = np.random.default_rng(1)
    made = Influence(**{name: rng.random(shape) for name, shape in shapes(RANKING).items()})
    made.log_likelihood[:2] = -np.inf, np.nan
    return made


WRITE = {
    "histogram": lambda path, key="": write_histogram(path, histogram(), VALID, key),
    "influence": lambda path, key="": write_influence(path, influence(), CALIBRATOR, key),
}
READ = {"histogram": lambda path: read_histogram(path, 3), "influence": lambda path: read_influence(path, RANKING)}


def test_a_histogram_is_read_as_it_was_written(tmp_path):
    WRITE["histogram"](tmp_path / "deep/h.h5", "a key")
    found, written = read_histogram(tmp_path / "deep/h.h5", 3), histogram()
    assert found.anchor.dtype == np.float64 and found.moments.dtype == np.float32
    np.testing.assert_array_equal(found.anchor, [written.anchor[0], np.nan, written.anchor[1]])
    np.testing.assert_array_equal(found.moments[VALID], written.moments)
    assert not found.moments[1].any()  # a query that is not valid has no scores
    for mine, theirs in zip(found.points(np.array([0, 2])), written.points(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["h.h5"]


def test_influence_is_read_as_it_was_written(tmp_path):
    WRITE["influence"](tmp_path / "i.h5")
    found = read_influence(tmp_path / "i.h5", RANKING)
    for name, values in vars(influence()).items():
        assert getattr(found, name).dtype == np.float64
        np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)
    with h5py.File(tmp_path / "i.h5") as file:
        assert (file.attrs["inv_tau"], file.attrs["bias"]) == CALIBRATOR


def test_files_of_no_queries(tmp_path):
    nothing = make_ranking([], [], [])
    write_histogram(tmp_path / "h.h5", ScoreHistogram(np.zeros(0)), np.zeros(0, bool))
    assert read_histogram(tmp_path / "h.h5", 0).points()[0].shape == (0, 0)
    made = Influence(**{name: np.zeros(shape) for name, shape in shapes(nothing).items()})
    write_influence(tmp_path / "i.h5", made, CALIBRATOR)
    assert read_influence(tmp_path / "i.h5", nothing).exemplar.shape == (0,)


@pytest.mark.parametrize("name", WRITE)
def test_a_file_has_its_key_checksums_and_the_same_bytes(tmp_path, name):
    WRITE[name](tmp_path / "one.h5", "a key")
    WRITE[name](tmp_path / "other.h5", "a key")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "other.h5").read_bytes()
    with h5py.File(tmp_path / "one.h5") as file:
        assert file.attrs["key"] == "a key" and all(dataset.fletcher32 for dataset in file.values())


@pytest.mark.parametrize("name", WRITE)
def test_damage_is_found(tmp_path, name):
    path = tmp_path / "x.h5"
    WRITE[name](path)
    whole = path.read_bytes()
    with h5py.File(path) as file:
        dataset = file["moments" if name == "histogram" else "in_bin"]
        at = dataset.id.get_chunk_info(0).byte_offset + 20
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(InputError, match=r"x\.h5: corrupt"):
        READ[name](path)
    for length in (0, 10, 1000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"x\.h5: "):
            READ[name](path)


@pytest.mark.parametrize("name", WRITE)
def test_a_foreign_file_is_refused(tmp_path, name):
    path = tmp_path / "x.h5"
    with pytest.raises(InputError, match=rf"x\.h5: the file of .*{name}.* does not exist"):
        READ[name](path)
    path.write_text("not HDF5")
    with pytest.raises(InputError, match=r"x\.h5: not a readable HDF5 file"):
        READ[name](path)
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(InputError, match=rf"x\.h5: expected .*{name}.* of format 1, found format None"):
        READ[name](path)
    WRITE[name](path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(InputError, match=r"of format 1, found format 2"):
        READ[name](path)


def test_a_histogram_of_other_queries_is_refused(tmp_path):
    WRITE["histogram"](tmp_path / "h.h5")
    with pytest.raises(InputError, match=rf"h\.h5: moments are \[3, {BINS}, 3\]; expected \[4, {BINS}, 3\]"):
        read_histogram(tmp_path / "h.h5", 4)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make_ranking([[2, 9], [], [1, 3], [1, 2]], [0, 0, 0, 0], ["gpt"] * 4), r"exemplar is \[4\]; expected \[6\]"),
        (make_ranking([[2, 9], [], [1, 3]], [0, 0, 0], ["gpt"] * 3, k=9), r"top is \[3, 4\]; expected \[3, 9\]"),
        (make_ranking([[2, 9, 10], [], [1]], [0, 0, 1], ["gpt"] * 3, k=9), r"top is \[3, 4\]; expected \[3, 9\]"),
    ],
)
def test_influence_of_other_ranks_is_refused(tmp_path, other, message):
    WRITE["influence"](tmp_path / "i.h5")
    with pytest.raises(InputError, match=rf"i\.h5: {message}, as the ranks"):
        read_influence(tmp_path / "i.h5", other)


@pytest.mark.parametrize(("name", "dataset"), [("histogram", "anchor"), ("influence", "set_size")])
def test_a_file_without_one_of_its_datasets_is_refused(tmp_path, name, dataset):
    WRITE[name](tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        del file[dataset]
    with pytest.raises(InputError, match=rf"x\.h5: lacks a dataset \({dataset}\)"):
        READ[name](tmp_path / "x.h5")
