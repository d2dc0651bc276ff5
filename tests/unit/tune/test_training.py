"""Look at what a training learns, and that the same seed ends in the same bytes, killed in between or not."""

import csv
from dataclasses import astuple
from itertools import islice

import numpy as np
import pytest
import torch
from attribench.common.errors import InputError
from attribench.formats.checkpoint import TrainedOn, read_checkpoint
from attribench.formats.features import Invalid
from attribench.rank.mappers import load_mappers
from attribench.tune import VERSION, training
from attribench.tune.collection import database_parts, read_entries
from attribench.tune.settings import HEADS, Training
from attribench.tune.training import Data
from attribench.tune.tune import Outputs, tune
from helpers.golden_bytes import check
from helpers.tuning import QUICK, related, write_database, write_split

# By VERSION and head: what the real and the synthesized mapper make of a row, and the last loss.
NUMBERS = {
    1: {
        "linear": [[0.5364, -0.5772, -0.493, -2.5072], [0.3087, -0.5957, -0.5703, -2.3523], [6.3711]],
        "channel": [[0.2056, -0.4933, -0.4421, -2.3455], [0.1809, -0.5039, -0.4435, -2.2868], [9.8207]],
        "mlp": [[0.8878, 0.2612, 0.723, 0.0267], [-0.0188, -0.2271, 0.2359, 0.2325], [5.7257]],
        "layer_norm_mlp": [[-0.0706, -0.1443, -0.3576, 0.2652], [-0.0706, -0.1443, -0.3576, 0.2652], [3.2972]],
    }
}


def outputs(folder, name="made"):
    return Outputs(*(folder / f"{name}.{ending}" for ending in ("pth", "safetensors", "csv")))


def write_sources(folder, transform, *, n_entries=30, dimension=16):
    """Splits of which queries are `transform` of an exemplar, or of nothing; and a database."""
    rng = np.random.default_rng(3)
    return {
        "train_splits": [
            write_split(folder, name, *related(rng, n_entries, transform), n_shards=2) for name in ("one", "two")
        ],
        "val_splits": [write_split(folder, "val", *related(rng, 12, transform))],
        "database": write_database(folder, rng.standard_normal((200, dimension)), n_shards=3),
    }


def run(sources, made, settings, **options):
    names = {"benchmark": "b", "extractor": "made", "device": "cpu", "threads": 1}
    tune(made, **sources, training=settings, **names, **options)
    return read_checkpoint(made.checkpoint)


def read_curve(made):
    with open(made.curve, newline="") as file:
        return list(csv.DictReader(file))


def contents(made):
    return [path.read_bytes() for path in astuple(made)]


def test_a_planted_linear_transform_is_recovered(tmp_path):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((16, 16)))[0] for _ in range(2))
    transform = left * np.linspace(0.5, 2, 16) @ right
    sources = write_sources(tmp_path, transform, n_entries=100)
    made = outputs(tmp_path)
    settings = QUICK.model_copy(update={"steps": 1200, "evaluate_every": 1200, "batch": 128, "temperature": 0.5})
    run(sources, made, settings)
    real, synth = load_mappers(made.checkpoint)
    rows = rng.standard_normal((500, 16))  # which no training had
    a, b = real(rows), synth(rows @ transform.T)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 0.99
    curve = read_curve(made)
    assert (
        float(curve[0]["val_mAP"]) < 0.3 and float(curve[-1]["val_mAP"]) > 0.6
    )  # of up to three exemplars, one is related


def test_features_without_any_relation_show_no_gain(tmp_path):
    sources = write_sources(tmp_path, None, n_entries=100)
    made = outputs(tmp_path)
    run(sources, made, QUICK.model_copy(update={"steps": 300, "evaluate_every": 50, "negatives": 32}))
    mappers = load_mappers(made.checkpoint)
    rng = np.random.default_rng(7)
    rows, others = rng.standard_normal((2, 4000, 16))  # which no training had, without a relation
    mapped = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (mappers[0](rows), mappers[1](others))]
    best_of_two = (mapped[0] * mapped[1]).sum(axis=1) > (np.roll(mapped[0], 1, axis=0) * mapped[1]).sum(axis=1)
    assert abs(best_of_two.mean() - 0.5) < 0.03


@pytest.mark.parametrize("head", HEADS)
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path, head):
    sources = write_sources(tmp_path, np.random.default_rng(1).standard_normal((16, 16)))
    changes = {
        "head": head,
        "negatives": 16,
        "hidden": 24,
        "outputs": 8,
        "penalty": [0.0, 0.3] if head == "linear" else None,
    }
    settings = Training(**{**QUICK.model_dump(), **changes})
    made = [outputs(tmp_path, name) for name in ("a", "b", "c")]
    torch.set_num_threads(1)
    first = run(sources, made[0], settings)
    torch.set_num_threads(2)  # no part in it
    run(sources, made[1], settings)
    run(sources, made[2], settings.model_copy(update={"seed": 1}))
    assert contents(made[0]) == contents(made[1])
    assert contents(made[0])[0] != contents(made[2])[0]
    assert first.trained_on == TrainedOn("made", "b", ("one", "two"), ("val",))
    real, synth = load_mappers(made[0].checkpoint)
    rows = np.random.default_rng(0).standard_normal((5, 16))
    assert (real(rows) != synth(rows)).any() == (head != "layer_norm_mlp")
    assert read_checkpoint(made[0].safetensors).trained_on == first.trained_on
    for one, two in zip(load_mappers(made[0].safetensors), (real, synth), strict=True):
        assert np.array_equal(one(rows), two(rows))


@pytest.mark.parametrize("n_saved", [10, 24, 61])  # after an evaluation, between two, in the second run
def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, monkeypatch, n_saved):
    sources = write_sources(tmp_path, np.random.default_rng(1).standard_normal((16, 16)))
    settings = QUICK.model_copy(update={"penalty": [0.0, 0.3], "negatives": 16})
    run(sources, outputs(tmp_path, "whole"), settings, key="k")
    monkeypatch.setattr(training, "SECONDS_BETWEEN_STATES", 0)
    write, saved = training._write_state, []

    def write_and_die(path, content):
        write(path, content)
        saved.append(path)
        if len(saved) == n_saved:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_write_state", write_and_die)
    made = outputs(tmp_path, "killed")
    with pytest.raises(KeyboardInterrupt):
        run(sources, made, settings, key="k")
    assert saved[0].exists() and not made.checkpoint.exists()
    steps, step = [], training.Run._take_step
    monkeypatch.setattr(training.Run, "_take_step", lambda run, *batch: steps.append(run.step) or step(run, *batch))
    run(sources, made, settings, key="k")
    assert contents(made) == contents(outputs(tmp_path, "whole"))
    assert len(steps) < 2 * settings.steps
    assert not saved[0].exists()


@pytest.mark.parametrize("content", [b"", b"broken", None])
def test_a_state_that_is_broken_or_of_another_training_counts_for_nothing(tmp_path, monkeypatch, content):
    sources = write_sources(tmp_path, np.random.default_rng(1).standard_normal((16, 16)))
    made, state = outputs(tmp_path), tmp_path / ".made.training"
    if content is None:
        monkeypatch.setattr(training, "SECONDS_BETWEEN_STATES", 0)
        monkeypatch.setattr(training.Path, "unlink", lambda path, missing_ok=False: None)
        run(sources, outputs(tmp_path), QUICK.model_copy(update={"seed": 5}), key="other")
        monkeypatch.undo()
        assert state.exists()
    else:
        state.write_bytes(content)
    run(sources, made, QUICK, key="k")
    run(sources, outputs(tmp_path, "clean"), QUICK, key="k")
    assert contents(made) == contents(outputs(tmp_path, "clean"))


def test_the_penalty_is_chosen_on_val(tmp_path):
    sources = write_sources(tmp_path, np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0])
    made = outputs(tmp_path)
    run(sources, made, QUICK.model_copy(update={"penalty": [0.0, 1e5]}))
    curve = read_curve(made)
    best = max(curve, key=lambda row: float(row["val_mAP"]))
    assert {row["penalty"] for row in curve} == {"0.0", "100000.0"}
    assert [row for row in curve if row["chosen"] == "true"] == [best]


def test_a_run_ends_early_without_a_better_val_map(tmp_path):
    sources = write_sources(tmp_path, None)
    run(sources, outputs(tmp_path), QUICK.model_copy(update={"steps": 10_000, "patience": 3, "learning_rate": 1e-6}))
    curve = read_curve(outputs(tmp_path))
    chosen = next(number for number, row in enumerate(curve) if row["chosen"] == "true")
    assert len(curve) == chosen + 1 + 3


def test_a_training_that_does_not_get_better_says_so(tmp_path, caplog):
    sources = write_sources(tmp_path, np.eye(16))
    run(sources, outputs(tmp_path), QUICK.model_copy(update={"learning_rate": 10.0}))
    assert "no step had a better val mAP than the start" in caplog.text
    assert read_curve(outputs(tmp_path))[0]["chosen"] == "true"


def test_a_loss_that_diverges_is_refused(tmp_path):
    sources = write_sources(tmp_path, np.eye(16))
    with pytest.raises(
        InputError,
        match=r"made\.pth: the loss is nan between steps 0 and 10; expected a finite one: a lower learning_rate",
    ):
        run(sources, outputs(tmp_path), QUICK.model_copy(update={"temperature": 1e-40}))
    assert not outputs(tmp_path).checkpoint.exists()


def test_golden_bytes_of_what_the_steps_draw(tmp_path):
    rng = np.random.default_rng(1)
    entries = read_entries([write_split(tmp_path, "one", *related(rng, 30, np.eye(16)), n_shards=3)], Invalid())
    database = write_database(tmp_path, rng.standard_normal((200, 16)), n_shards=3)
    settings = QUICK.model_copy(update={"negatives": 24})
    data = Data.of(entries, database_parts(database, 150, entries), settings)
    streams = {"queries": data.queries, "database": data.database}
    content = {n: np.stack([labels for _, labels in islice(b.from_batch(3), 12)]) for n, b in streams.items()}
    content["exemplars"] = entries.draw_exemplars(content["queries"][0], np.random.default_rng([0, 3, 5]))
    check("tune", VERSION, content)


@pytest.mark.parametrize("head", HEADS)
def test_golden_numbers_of_a_training(tmp_path, head):
    """Within a thousandth: processors differ in the last digits."""
    sources = write_sources(tmp_path, np.random.default_rng(1).standard_normal((16, 16)))
    changes = {"head": head, "negatives": 16, "hidden": 24, "outputs": 8, "steps": 20}
    changes |= {"penalty": [0.3] if head == "linear" else None}
    run(sources, outputs(tmp_path), Training(**{**QUICK.model_dump(), **changes}))
    rows = np.random.default_rng(2).standard_normal((1, 16))
    made = [mapper(rows)[0, :4].tolist() for mapper in load_mappers(outputs(tmp_path).checkpoint)]
    made.append([float(read_curve(outputs(tmp_path))[-1]["loss"])])
    message = f"tune makes other mappers: raise its VERSION, which is {VERSION}, and enter these in NUMBERS: {made}"
    for one, two in zip(made, NUMBERS[VERSION][head], strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-3, err_msg=message)
