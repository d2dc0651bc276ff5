"""Methods that give scores and no features: ranked as features are, however the file is laid out."""

import re

import h5py
import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.formats.manifest import ManifestRow, read_manifest, write_manifest
from attribench.formats.rank_file import read_rank_file
from attribench.manifest import database_rows
from attribench.rank.rank import Options
from attribench.rank.ranker import Ranker
from attribench.rank_scores import rank_scores
from helpers.clone import REPOSITORY
from helpers.rank_cases import rank
from helpers.scores import N, made_up, write_scores


def write_manifests(folder, made):
    _, query_entry, _, exemplar_entry, _ = made
    rows = [ManifestRow(f"e/{i}.png", "exemplar", int(entry)) for i, entry in enumerate(exemplar_entry)]
    rows += [ManifestRow(f"q/{i}.png", "query", int(entry), "gpt") for i, entry in enumerate(query_entry)]
    write_manifest(folder / "split.csv", rows)
    write_manifest(folder / "database.csv", database_rows("database", [f"d/é{i}.png" for i in range(N)]))


def ranked(folder, scores, **options):
    rank_scores(
        folder / "ranks.h5",
        scores,
        manifest=folder / "split.csv",
        database_manifest=folder / "database.csv",
        database="database",
        split="split",
        method="influence",
        options=Options(**options),
        threads=2,
    )
    return read_rank_file(folder / "ranks.h5")


SHUFFLED = [np.random.default_rng(1).permutation(n) for n in (12, N, 10)]


@pytest.mark.parametrize("order", [None, SHUFFLED], ids=["in order", "shuffled"])
@pytest.mark.parametrize("hard_negatives", [False, True])
def test_scores_rank_as_the_features_that_they_are_of(tmp_path, order, hard_negatives):
    made = made_up()
    write_manifests(tmp_path, made)
    scores = write_scores(tmp_path / "s.h5", made, order, blank_others=not hard_negatives)
    options = {"database_sizes": [6, 120], "hard_negatives": hard_negatives, "top_k": 7}
    found = ranked(tmp_path, scores, **options)
    expected = rank(*made[:4], [(made[4], None)], sizes=[6, 120], hard_negatives=hard_negatives, top_k=7)
    for name in ("offsets", "ranks", "exemplar", "neighbour_index", "ranks_at", "n_database_at"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-14)
    np.testing.assert_allclose(found.neighbour_score, expected.neighbour_score, atol=1e-14)
    assert found.neighbour_path[0, 0] == (
        f"d/é{expected.neighbour_index[0, 0]}.png"
        if expected.neighbour_index[0, 0] < N
        else f"e/{expected.neighbour_index[0, 0] - N}.png"
    )


@pytest.mark.parametrize("hard_negatives", [False, True])
def test_the_unit_of_scores_does_not_matter(tmp_path, hard_negatives):
    """Influences by gradients lie around 1e-10: closer together than cosines that tie."""
    made = made_up()
    write_manifests(tmp_path, made)
    path, options = write_scores(tmp_path / "s.h5", made), {"hard_negatives": hard_negatives, "top_k": 7}
    expected = ranked(tmp_path, path, **options)
    for factor in (2.0**-40, 2.0**-60, 2.0**60):  # exact, so that equal scores stay equal
        with h5py.File(path, "r+") as file:
            for name in ("database_scores", "exemplar_scores"):
                file[name][:] *= factor
        found = ranked(tmp_path, path, **options)
        for name in ("ranks", "exemplar", "neighbour_index"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), (factor, name)


def test_a_score_ties_with_its_equal_alone(tmp_path):
    made = made_up()
    write_manifests(tmp_path, made)
    path = write_scores(tmp_path / "s.h5", made)
    with h5py.File(path, "r+") as file:
        file["exemplar_scores"][:] = 1.0
        file["database_scores"][:] = np.nextafter(1.0, 0.0)
        file["database_scores"][:, 3] = 1.0
    found = ranked(tmp_path, path)
    assert {*found.ranks[found.offsets[:-1]].tolist()} == {2}


@pytest.mark.parametrize("hard_negatives", [False, True])
def test_an_exemplar_of_several_entries_has_one_column(tmp_path, hard_negatives):
    """The exemplars 3 (of entry 2) and 7 (of entry 3) are one image: ranks are those of its features."""
    queries, query_entry, exemplars, exemplar_entry, database = made_up()
    exemplars[7] = exemplars[3]
    made = queries, query_entry, exemplars, exemplar_entry, database
    write_manifests(tmp_path, made)
    rows = [row._replace(path=row.path.replace("e/7", "e/3")) for row in read_manifest(tmp_path / "split.csv")]
    write_manifest(tmp_path / "split.csv", rows)
    found = ranked(tmp_path, write_scores(tmp_path / "s.h5", made), hard_negatives=hard_negatives, top_k=7)
    ranker = Ranker(queries, query_entry, exemplars, exemplar_entry, top_k=7)
    ranker.add(database, None)
    if hard_negatives:
        entries = np.stack([exemplar_entry, np.full(10, -1)], axis=1)
        entries[3, 1] = 3
        ranker.add_hard_negatives(exemplars, entries, np.arange(10) != 7)
    expected = ranker.finish()
    for name in ("offsets", "ranks", "exemplar", "neighbour_index"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def test_a_file_of_more_images_is_taken_by_path(tmp_path):
    """The manifest's database is shorter: the other columns are left out."""
    made = made_up()
    write_manifests(tmp_path, made)
    scores = write_scores(tmp_path / "s.h5", made, SHUFFLED, dtype="float32")
    write_manifest(tmp_path / "database.csv", database_rows("database", [f"d/é{i}.png" for i in range(50)]))
    found = ranked(tmp_path, scores)
    expected = rank(*made[:4], [(made[4][:50], None)])
    assert found.ranks.tolist() == expected.ranks.tolist()


def change(path, name, value):
    with h5py.File(path, "r+") as file:
        if isinstance(value, tuple):
            file[name][value[:-1]] = value[-1]
            return
        del file[name]
        if value is not None:
            file[name] = value


BAD = {
    "no dataset": (lambda path: change(path, "exemplars", None), "has no dataset exemplars; found"),
    "shape": (lambda path: change(path, "database_scores", np.zeros((3, 4))), r"database_scores is float64 \[3, 4\]"),
    "type": (lambda path: change(path, "exemplar_scores", np.zeros((12, 10), int)), "expected floating point"),
    "nan": (lambda path: change(path, "database_scores", (2, 7, np.nan)), "holds nan at row 2, column 7"),
    "inf": (lambda path: change(path, "exemplar_scores", (0, 0, np.inf)), "holds inf at row 0, column 0"),
    "lacks": (
        lambda path: change(path, "queries", [f"other/{i}.png" for i in range(12)]),
        "queries lacks 12 of 12 images:\n  q/0.png",
    ),
    "twice": (lambda path: change(path, "exemplars", ["e/0.png"] * 10), "exemplars lists 'e/0.png' more than once"),
    "text": (lambda path: path.write_text("no HDF5"), "not a readable HDF5 file"),
    "missing": (lambda path: path.unlink(), "the score file does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_and_nothing_is_written(tmp_path, name):
    spoil, message = BAD[name]
    made = made_up()
    write_manifests(tmp_path, made)
    spoil(write_scores(tmp_path / "s.h5", made))
    with pytest.raises(InputError, match=rf"(?s)s\.h5: .*{message}"):
        ranked(tmp_path, tmp_path / "s.h5")
    assert not (tmp_path / "ranks.h5").exists()


def test_the_documented_writer(tmp_path):
    """The function in docs/formats.md, block by block, writes what is read."""
    code = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs/formats.md").read_text(), re.DOTALL)[1]
    names: dict = {}
    exec(code, names)
    made = made_up()
    write_manifests(tmp_path, made)
    with h5py.File(write_scores(tmp_path / "expected.h5", made)) as file:
        axes = [file[axis].asstr()[:].tolist() for axis in ("queries", "database", "exemplars")]
        x, e = file["database_scores"][:], file["exemplar_scores"][:]
    blocks = [
        (r, c, x[r : r + 5, c : c + 70], None if c else e[r : r + 5]) for r in range(0, 12, 5) for c in range(0, N, 70)
    ]
    names["write_scores"](tmp_path / "s.h5", *axes, blocks)
    expected = rank(*made[:4], [(made[4], None)])
    assert ranked(tmp_path, tmp_path / "s.h5").ranks.tolist() == expected.ranks.tolist()
    names["write_scores"](tmp_path / "s.h5", *axes, blocks[:-1])
    with pytest.raises(InputError, match="database_scores holds nan at row 10, column 280"):
        ranked(tmp_path, tmp_path / "s.h5")
