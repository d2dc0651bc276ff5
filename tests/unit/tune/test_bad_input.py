"""A tuning refuses bad input: splits that overlap, that have nothing to learn from, and checkpoints for other features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.formats.checkpoint import Checkpoint, TrainedOn, write_checkpoint
from attribench.formats.features import CollectionFiles, Invalid
from attribench.formats.manifest import read_manifest
from attribench.formats.rank_file import read_rank_file
from attribench.formats.ranking import seen_of
from attribench.formats.shards import FeatureIdentity
from attribench.overlap import identities, refuse_overlap
from attribench.rank.rank import Options, rank_split
from attribench.tune.collection import database_parts, read_entries
from attribench.tune.tune import Outputs, tune
from attribench.tune.validation import Validation
from helpers.tuning import QUICK, related, write_database, write_source, write_split

IDENTITY = FeatureIdentity("made", 16, "w", "p", "float32")


@pytest.fixture
def splits(tmp_path):
    """A training split, and a split that has none of its images; with their features."""
    rng = np.random.default_rng(0)
    return {name: (related(rng, 6, np.eye(16)), tmp_path) for name in ("one", "other")}


def write(splits, name, **options):
    (exemplars, queries), folder = splits[name]
    return write_split(folder, name, exemplars, queries, **options)


def test_splits_are_told_apart_by_paths_and_contents(splits):
    one, other = (identities(write(splits, name)) for name in ("one", "other"))
    assert one.isdisjoint(other) and "one/query-1-0.png" in one
    same = [{"one/query-1-0.png": "abc"}, {"other/exemplar-2-0.png": "abc"}]
    one, other = (identities(write(splits, n, contents=c)) for n, c in zip(("one", "other"), same, strict=True))
    assert one & other == {"abc"}


def test_splits_without_common_images_are_let_through_with_their_nearest_pair(splits):
    rng = np.random.default_rng(4)
    splits["other"][0][1][:] = [rng.standard_normal((4, 16)) for _ in range(6)]
    [nearest] = refuse_overlap([write(splits, "one")], write(splits, "other"))
    assert nearest.train_split == "one" and nearest.image.startswith("other/")
    assert 0.3 < nearest.cosine < nearest.near_duplicate_from <= 1


def test_a_common_path_is_refused(splits):
    one = write(splits, "one")
    rows = read_manifest(one.manifest)
    other = write_source(splits["one"][1], "other", rows[:2], np.random.default_rng(8).standard_normal((2, 16)))
    message = r"one\.csv: 2 images of one, .* are in other, .*\n  one/exemplar-0-0\.png \(entry 0\): the same path"
    with pytest.raises(InputError, match=message):
        refuse_overlap([one], other)


def test_common_content_is_refused(splits):
    contents = [{f"{name}/{role}": "abc"} for name, role in (("one", "query-1-0.png"), ("other", "exemplar-2-0.png"))]
    sources = [write(splits, name, contents=content) for name, content in zip(("one", "other"), contents, strict=True)]
    message = r"1 images .*\n  one/query-1-0\.png = other/exemplar-2-0\.png \(entry 2\): the same content"
    with pytest.raises(InputError, match=message):
        refuse_overlap([sources[0]], sources[1])


@pytest.mark.parametrize("n", [1, 6])
def test_nearly_equal_features_are_refused_unless_allowed(splits, n):
    """One of them, or all: an image that was saved anew has nearly the features that it had."""
    (exemplars, _), _ = splits["one"]
    others, queries = splits["other"][0]
    rng = np.random.default_rng(4)
    queries[:] = [rng.standard_normal((4, 16)) for _ in queries]
    for entry in range(n):
        others[entry] = exemplars[entry] + 0.01 * rng.standard_normal(exemplars[entry].shape)
    sources = [write(splits, name) for name in ("one", "other")]
    message = r"one/exemplar-0-\d\.png = other/exemplar-0-\d\.png \(entry 0\): features of cosine 0\.999"
    with pytest.raises(InputError, match=message) as refused:
        refuse_overlap([sources[0]], sources[1])
    assert str(refused.value).count("\n") == sum(map(len, others[:n])) and "near_duplicates: allow" in str(
        refused.value
    )
    assert len(refuse_overlap([sources[0]], sources[1], "allow")) == 1


def test_a_training_split_that_is_all_made_of_the_evaluated_one_does_not_pass(splits):
    """The more images were saved anew, the more usual small distances between the two splits are."""
    rng = np.random.default_rng(4)
    for own, others in zip(splits["one"][0], splits["other"][0], strict=True):
        others[:] = [rows + 0.3 * rng.standard_normal(rows.shape) for rows in own]
    message = r"images of one, .* have near duplicates in other, .*; expected no cosine of 0\.9\d+ or more, or"
    with pytest.raises(InputError, match=message):
        refuse_overlap([write(splits, "one")], write(splits, "other"))


def test_invalid_images_are_no_near_duplicates(splits):
    sources = [write(splits, name, invalid=[0, 1, 8]) for name in ("one", "other")]
    assert "exemplar-0-0" not in str(refuse_overlap([sources[0]], sources[1], "allow"))


def test_an_entry_without_a_valid_exemplar_is_refused(splits):
    exemplars = splits["one"][0][0]
    first = len(exemplars[0])
    source = write(splits, "one", invalid=range(first, first + len(exemplars[1])))
    message = r"one\.csv: of 1 entries of one every exemplar is invalid.*\n  entry 1: one/exemplar-1-0\.png"
    with pytest.raises(InputError, match=message):
        read_entries([source], Invalid())
    with pytest.raises(InputError, match=message):
        Validation([source], write_database(splits["one"][1], np.eye(16)), 10, IDENTITY, 1)


def test_a_split_without_a_valid_query_is_refused(splits):
    exemplars, queries = splits["one"][0]
    n = sum(map(len, exemplars))
    source = write(splits, "one", invalid=range(n, n + sum(map(len, queries))))
    with pytest.raises(InputError, match=r"one\.csv: no query of the training splits is valid"):
        read_entries([source], Invalid())
    database = write_database(splits["one"][1], np.eye(16))
    with pytest.raises(InputError, match=r"one\.csv: no query of the val split one can be ranked"):
        Validation([source], database, 10, IDENTITY, 1)


def test_one_entry_alone_is_refused_where_the_database_gives_no_negatives(splits, tmp_path):
    """Its loss would be 0 from the first step on."""
    (exemplars, queries), _ = splits["one"]
    del exemplars[1:], queries[1:]
    database = write_database(tmp_path, np.random.default_rng(0).standard_normal((20, 16)))
    outputs = Outputs(*(tmp_path / f"tuned.{ending}" for ending in ("pth", "safetensors", "csv")))
    options = {"benchmark": "b", "extractor": "made", "device": "cpu", "threads": 1}
    sources = {"train_splits": [write(splits, "one")], "val_splits": [write(splits, "other")], "database": database}
    allowed = QUICK.model_copy(update={"near_duplicates": "allow"})
    with pytest.raises(
        InputError, match=r"one\.csv: every valid query .* is of entry 0, .*; expected more entries, or"
    ):
        tune(outputs, **sources, **options, training=allowed)
    tune(outputs, **sources, **options, training=allowed.model_copy(update={"negatives": 8}))
    assert outputs.checkpoint.is_file()


def test_features_of_another_dimension_are_refused(splits):
    (exemplars, queries), folder = splits["other"]
    one = write(splits, "one")
    narrow = write_split(folder, "narrow", [rows[:, :8] for rows in exemplars], [rows[:, :8] for rows in queries])
    with pytest.raises(InputError, match="cannot be compared with .*: dimension 8 against 16"):
        read_entries([one, narrow], Invalid())
    with pytest.raises(InputError, match="cannot be compared with the training splits': dimension 8"):
        Validation([narrow], write_database(folder, np.eye(16)), 10, IDENTITY, 1)
    with pytest.raises(InputError, match="cannot be compared with the training splits' features: dimension 4"):
        database_parts(write_database(folder, np.eye(4)), 4, read_entries([one], Invalid()))


def test_a_database_image_that_is_trained_on_is_refused(splits):
    one = write(splits, "one")
    database = write_source(splits["one"][1], "db", read_manifest(one.manifest)[:1], np.ones((1, 16)))
    with pytest.raises(InputError, match=r"one/exemplar-0-0\.png: is in db and in a training split"):
        database_parts(database, 1, read_entries([one], Invalid()))


def ranked(folder, source: CollectionFiles, trained_on, *, dimension=16, **names):
    state = {"weight": torch.eye(dimension), "bias": torch.zeros(dimension)}
    mapper = folder / "mapper.pth"
    if trained_on is None:
        torch.save({"real_mapper": state, "synth_mapper": state}, mapper)
    else:
        write_checkpoint(mapper, folder / "mapper.safetensors", Checkpoint(state, state, trained_on), {})
    database = write_database(folder, np.random.default_rng(0).standard_normal((20, 16)))
    rank_split(
        folder / "ranks.h5",
        manifest=source.manifest,
        database_manifest=database.manifest,
        split_shards=source.shards,
        database_shards=database.shards,
        mapper=mapper,
        database="database",
        split=source.collection,
        variant="v",
        options=Options(),
        threads=1,
        **{"extractor": "made", **names},
    )
    return read_rank_file(folder / "ranks.h5")


TRAINED_ON = TrainedOn("made", "b", ("one", "two"), ("val",))


def test_a_checkpoint_for_another_extractor_or_dimension_is_refused(splits, tmp_path):
    source = write(splits, "one")
    with pytest.raises(
        InputError, match=r"mapper\.pth: was trained on features of clip; expected a checkpoint for made"
    ):
        ranked(tmp_path, source, replace(TRAINED_ON, extractor="clip"))
    with pytest.raises(InputError, match=r"mapper\.pth: real_mapper: maps 8 dimensions; the features have 16"):
        ranked(tmp_path, source, TRAINED_ON, dimension=8)
    ranked(tmp_path, source, replace(TRAINED_ON, extractor="clip"), mapper_of="clip")


@pytest.mark.parametrize(
    ("trained_on", "split", "benchmark", "seen"),
    [
        *[(TRAINED_ON, "one", "b", "train"), (TRAINED_ON, "val", "b", "val"), (TRAINED_ON, "other", "b", "no")],
        *[(TRAINED_ON, "one", "another", "unknown"), (None, "one", "b", "unknown")],
    ],
)
def test_rank_files_tell_whether_a_split_was_seen(splits, tmp_path, trained_on, split, benchmark, seen):
    exemplars, queries = splits["one"][0]
    ranking = ranked(tmp_path, write_split(tmp_path, split, exemplars, queries), trained_on)
    assert seen_of(ranking, benchmark) == seen
    assert seen_of(replace(ranking, trained_on=""), benchmark) == ""
