"""Tuned variants in a whole run: on given features, from the config to tables that say what was seen."""

import io
import json
import os
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from attribench.formats.checkpoint import TrainedOn, read_checkpoint
from helpers.clone import Clone
from helpers.jobs import NOTHING
from helpers.results import table_rows

pytestmark = pytest.mark.workflow

RNG = np.random.default_rng(11)
TRANSFORM = np.linalg.qr(RNG.standard_normal((12, 12)))[0]
ENTRIES = {"test": 8, "train": 40, "val": 8}
SETTINGS = {
    "benchmark": "made",
    "root": "root",
    "device": "cpu",
    "extractors": ["mine"],
    "extractor_registry": {"mine": {"features": "feats/{collection}.npz"}},
    "variants": ["pretrained", "learned", "scaled"],
    "tune": {
        "learned": {
            "steps": 60,
            "evaluate_every": 20,
            "learning_rate": 0.02,
            "penalty": [0, 0.1],
            "temperature": 0.3,
            "threads": 1,
        },
        "scaled": {"head": "channel", "negatives": 8, "steps": 20, "evaluate_every": 10, "threads": 1},
    },
    "benchmarks": {
        "made": {
            "splits": {name: f"{name}.json" for name in ENTRIES},
            "default_splits": ["test"],
            "tuning": {"all": {"train": ["train"], "val": ["val"]}},
            "database": {"features": "feats/database.npz"},
        }
    },
    "bootstrap": {"samples": 200},
    "top_k": 4,
    "contact_sheet": {"queries": 2, "neighbours": 4},
    "gallery": {"queries": 2, "neighbours": 4},
}
TABLE = "results/tables/summary.csv"
COUNTS = {"fingerprint": 4, "manifest": 4, "import_features": 4, "overlap": 2, "tune": 2, "rank": 3, "metrics": 3}


def write_features(root, name, paths, rows):
    (root / "feats").mkdir(exist_ok=True)
    np.savez(root / f"feats/{name}.npz", paths=np.array(paths), features=rows.astype(np.float32))


def copy_feature(root, of, to, factor):
    """Put a row of features, times `factor`, in place of another; both are named by their split and number."""
    with np.load(root / f"feats/{of[0]}.npz") as source, np.load(root / f"feats/{to[0]}.npz") as target:
        rows = target["features"].copy()
        rows[to[1]] = source["features"][of[1]] * factor
        write_features(root, to[0], target["paths"], rows)


def write_root(root):
    """Splits whose queries are an orthogonal map of an exemplar, and a database; as feature files alone."""
    rng = np.random.default_rng(2)
    root.mkdir()
    for name, n in ENTRIES.items():
        entries, paths, rows = [], [], []
        for entry in range(n):
            exemplars, queries = ([f"{name}/{kind}{entry}-{i}.png" for i in range(3)] for kind in "eq")
            own = rng.standard_normal((3, 12))
            paths += exemplars + queries
            rows += [own, own @ TRANSFORM.T + 0.05 * rng.standard_normal((3, 12))]
            entries.append({"exemplar": exemplars, "synth": {"gpt": queries}, "class_id": str(entry), "category": None})
        (root / f"{name}.json").write_text(json.dumps(entries))
        write_features(root, name, paths, np.concatenate(rows))
    write_features(root, "database", [f"db/{i}.png" for i in range(60)], rng.standard_normal((60, 12)))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("tuned") / "clone", SETTINGS)
    write_root(clone.folder / "root")
    assert clone.planned(None, TABLE) == {**COUNTS, "tables": 1}
    clone.run(TABLE, "results/plots/learning_curves.png")
    return clone


def copied(tuned, tmp_path):
    return Clone(tmp_path / "clone", copy_from=tuned)


def test_a_tuned_variant_stands_in_every_table_and_is_better(tuned):
    assert tuned.planned(None, TABLE) == NOTHING
    seen = {(row["variant"], row["seen"]) for row in table_rows(tuned, "summary")}
    assert seen == {("pretrained", ""), ("learned", "no"), ("scaled", "no")}
    [gain] = table_rows(tuned, "comparisons", metric="mAP", variant_a="pretrained", variant_b="learned")
    assert float(gain["difference"]) < float(gain["ci_high"]) < 0  # of pretrained less learned
    assert (gain["seen_a"], gain["seen_b"]) == ("", "no")
    folder = tuned.folder / "results/mappers/mine"
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == sorted(
        f"{name}.{ending}" for name in ("learned", "scaled") for ending in ("pth", "safetensors", "csv")
    )
    assert read_checkpoint(folder / "learned.pth").trained_on == TrainedOn("mine", "made", ("train",), ("val",))
    assert (tuned.folder / "results/plots/learning_curves.svg").exists()


def test_only_what_a_change_affects_is_tuned_again(tuned, tmp_path):
    clone = copied(tuned, tmp_path)
    from_one = {"tune": 1, "rank": 1, "metrics": 1, "tables": 1}
    assert clone.planned({"tune": {"scaled": {"steps": 30}}}, TABLE) == from_one
    assert clone.planned({"tune": {"scaled": {"label": "by factors"}}}, TABLE) == {"tables": 1}
    assert clone.planned({"tune": {"scaled": {"near_duplicates": "allow"}}}, TABLE) == {"overlap": 1}
    # Another evaluated split is checked and ranked, and nothing is tuned again. A split of the tuning is said to be seen.
    both = {"splits": ["test", "train"]}
    other = "results/tables/train.csv"
    assert clone.planned(both, other) == {"rank": 3, "metrics": 3, "tables": 1}
    clone.run(other, config=both)
    seen = {(row["split"], row["variant"]): row["seen"] for row in table_rows(clone, "summary")}
    assert [seen["train", variant] for variant in ("pretrained", "learned", "scaled")] == ["", "train", "train"]
    assert seen["test", "learned"] == "no"
    # The checkpoint is one of the published layout: anywhere else it is a variant too, and says what it was trained on.
    shutil.copy(clone.folder / "results/mappers/mine/learned.pth", clone.folder / "root/given.pth")
    given = {"variant_registry": {"given": {"mapper": "given.pth"}}, "variants": ["learned", "given"], **both}
    clone.run(TABLE, config=given)
    values = {v: [(r["value"], r["seen"]) for r in table_rows(clone, "summary", variant=v)] for v in given["variants"]}
    assert values["learned"] == values["given"]


def test_a_training_image_that_is_evaluated_is_refused_by_name(tuned, tmp_path):
    clone = copied(tuned, tmp_path)
    copy_feature(clone.folder / "root", ("test", 12), ("train", 7), 1.001)
    done = clone.run(TABLE, check=False)
    assert done.returncode
    assert "train/e1-1.png = test/e2-0.png (entry 2): features of cosine 1.000000" in done.stdout
    assert "near_duplicates: allow" in done.stdout


def test_near_duplicates_of_a_val_split_are_not_allowed_for_good(tuned, tmp_path):
    """Mappers that were tuned while they were allowed are not tuned again, but refused."""
    clone = copied(tuned, tmp_path)
    copy_feature(clone.folder / "root", ("train", 7), ("val", 12), 3)
    scaled = {**SETTINGS["tune"]["scaled"], "near_duplicates": "allow"}
    clone.run(TABLE, config={"variants": ["scaled"], "tune": {"scaled": scaled}})
    for _ in range(2):
        done = clone.run(TABLE, config={"variants": ["scaled"]}, check=False)
        assert done.returncode
        assert "train/e1-1.png = val/e2-0.png (entry 2): features of cosine 1.000000" in done.stdout, done.stdout
        assert "have near duplicates in val, which chooses among its steps" in done.stdout


def test_a_killed_tuning_goes_on_where_it_was(tuned, tmp_path):
    clone = copied(tuned, tmp_path)
    learned = {"steps": 3000, "evaluate_every": 10, "patience": 1000, "penalty": [0], "threads": 1}
    target = "results/mappers/mine/learned.pth"
    training = clone.folder / "workflow_scripts/attribench/tune/training.py"
    training.write_text(training.read_text().replace("SECONDS_BETWEEN_STATES = 20", "SECONDS_BETWEEN_STATES = 0"))
    clone.configure({**SETTINGS, "tune": {"learned": learned}, "variants": ["learned"]})
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = clone.command("--cores", "1", target)
    process = subprocess.Popen(command, cwd=clone.folder, start_new_session=True, **quiet)
    state = clone.folder / "results/mappers/mine/.learned.training"
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert state.exists()
    clone.run(target)
    assert "going on from step" in (clone.folder / "results/logs/tune/mine/learned.log").read_text()
    assert not state.exists()


INFLUENCE = "results/tables/influence.csv"
FIGURE = "results/plots/test_influence.png"


def test_influence_is_calibrated_on_val_splits_and_measured_on_others(tuned, tmp_path):
    clone = copied(tuned, tmp_path)
    ranked = {path: path.read_bytes() for path in (clone.folder / "results/ranks/test").rglob("*.h5")}
    on = {"influence": True}
    counts = {"calibrate": 3, "influence": 3, "influence_table": 1, "influence_plots": 1}
    assert clone.planned(on, INFLUENCE, FIGURE) == {"rank": 3 + 3, **counts}
    clone.run(INFLUENCE, FIGURE, config=on)
    assert clone.planned(on, INFLUENCE, FIGURE) == NOTHING
    assert without_keys(ranked) == without_keys({path: path.read_bytes() for path in ranked})
    rows = {(row["variant"], row["metric"]): row for row in table_rows(clone, "influence")}
    assert {row["calibrated_on"] for row in rows.values()} == {"val"}
    gains = [float(rows[v, "gain_over_uniform"]["value"]) for v in ("learned", "pretrained")]
    # One of three exemplars made each query, and the features as they are do not tell which.
    assert gains[1] < 0.05 and float(rows["learned", "gain_over_uniform"]["ci_low"]) > 0.2, gains
    # Other splits calibrate anew, and those that are ranked already are not again.
    others = {**on, "calibration_splits": ["test"], "splits": ["val"]}
    assert clone.planned(others, INFLUENCE) == {"calibrate": 3, "influence": 3, "influence_table": 1}
    # The same images under another name are not other images.
    entries = json.loads((clone.folder / "root/test.json").read_text())[:3]
    (clone.folder / "root/again.json").write_text(json.dumps(entries))
    shutil.copy(clone.folder / "root/feats/test.npz", clone.folder / "root/feats/again.npz")
    splits = {**SETTINGS["benchmarks"]["made"]["splits"], "again": "again.json"}
    again = {
        **on,
        "calibration_splits": ["again"],
        "variants": ["pretrained"],
        "benchmarks": {"made": {"splits": splits}},
    }
    clone.run(INFLUENCE, config=again)
    assert {row["note"] for row in table_rows(clone, "influence")} == {"calibrated on images of this split"}
    # A calibrator that is given needs no split, and is the published layout.
    results, root = clone.folder / "results", clone.folder / "root"
    shutil.copy(results / "mappers/mine/learned.pth", root / "mapper.pth")
    shutil.copy(results / "calibrators/mine/learned.pth", root / "calibrator.pth")
    entry = {"mapper": "mapper.pth", "calibrator": "calibrator.pth"}
    given = {**on, "variant_registry": {"given": entry}, "variants": ["given"]}
    assert clone.planned(given, INFLUENCE) == {"rank": 1, "influence": 1, "influence_table": 1}
    clone.run(INFLUENCE, config=given)
    for row in table_rows(clone, "influence"):
        assert (row["value"], row["calibrated_on"]) == (rows["learned", row["metric"]]["value"], "calibrator.pth")
    (root / "calibrator.pth").write_bytes(b"broken")
    done = clone.run(INFLUENCE, config=given, check=False)
    assert done.returncode and "root/calibrator.pth" in done.stdout, done.stdout


def without_keys(files):
    """Return what the rank files hold beside their keys, which say that score histograms were made too."""
    contents = {}
    for path, content in files.items():
        with h5py.File(io.BytesIO(content)) as file:
            names = []
            file.visititems(
                lambda name, item, names=names: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
            contents[path] = {name: file[name][()].tobytes() for name in names}
    return contents


def test_methods_that_are_left_out_are_named_at_the_start(tuned, tmp_path):
    other = {"extractors": ["mine", "other"], "extractor_registry": {"other": {"features": "feats/{collection}.npz"}}}
    plan = copied(tuned, tmp_path).run("-n", config={**other, "tune": {"learned": {"extractors": ["mine"]}}}).stdout
    before_jobs = plan.partition("Job stats:")[0]
    assert before_jobs.count("Left out: learned for other: not in tune.learned.extractors (mine)\n") == 1
    assert plan.count("Left out: ") == 1


def test_letters_without_a_font_are_named_on_the_terminal(tuned, tmp_path):
    clone, figure = copied(tuned, tmp_path), "results/plots/learning_curves.png"
    done = clone.run(figure, config={"tune": {"learned": {"label": "learned \U0010fffd"}}})
    warning = "Warning: no installed font has the letters '\\U0010fffd' (U+10FFFD): figures show boxes"
    assert done.stdout.count(warning) == 1
