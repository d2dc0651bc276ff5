"""Look at what killed runs, failures, deletions and clocks leave: used where it is needed, made anew where it is wrong."""

import json
import os
import shutil
from collections import Counter

import h5py
import pytest
import yaml
from helpers.clone import TINY
from helpers.jobs import DOWNSTREAM, FROM_RANK, NOTHING, jobs

pytestmark = pytest.mark.workflow


def test_pixels_that_a_killed_run_has_left_are_used(finished_copy):
    """If they are those that are needed; what they lack is decoded again."""
    registry = TINY["extractor_registry"]
    other = {**registry["tiny"], "resize": 40, "crop": 32}
    settings = {**TINY, "extractor_registry": {**registry, "other": other}, "splits": ["sample_style"]}
    pixels = finished_copy.folder / "results/pixels/sample_database/00000-of-00001.h5"
    finished_copy.configure({**settings, "extractors": ["tiny", "other"]})
    finished_copy.run("--notemp", str(pixels.relative_to(finished_copy.folder)))
    results = dict(tables=1, paper_tables=1, report=1, plots=1, contact=1, gallery_split=1, gallery=1)
    assert finished_copy.planned() == jobs(**results, extract=2, decode=1, rank=1, metrics=1)
    assert finished_copy.planned({"database_limit": 10})["decode"] == 2, "they are of another database"
    records = finished_copy.folder / ".snakemake"
    records.rename(finished_copy.folder / "away")
    refused = finished_copy.run("-n", config={"database_limit": 10}, check=False)
    assert refused.returncode != 0
    assert "results/pixels/sample_database/00000-of-00001.h5 (key" in refused.stdout
    shutil.rmtree(records, ignore_errors=True)
    (finished_copy.folder / "away").rename(records)
    with h5py.File(pixels, "a") as file:
        del file["pixels/bicubic-40-32"]
    finished_copy.run("features")
    features = finished_copy.results("features/*/other/*.h5")
    assert len(features) == 2
    finished_copy.run("features", "--forcerun", "decode")
    assert finished_copy.results("features/*/other/*.h5") == features


def test_a_product_of_the_future_hides_nothing(finished_copy):
    for path in (finished_copy.folder / "results/ranks").rglob("*"):
        os.utime(path, (4e9, 4e9))
    finished_copy.configure({**TINY, "top_k": 7})
    assert finished_copy.planned() == jobs(*FROM_RANK)


def test_a_given_file_of_the_future_is_refused_before_anything_is_lost(finished_copy):
    """Snakemake fails after the job that reads it, and removes what the job has made."""
    split, record = "resources/sample/dataset/json/test_sample_object.json", "results/.features/sample_object.csv"
    before = (finished_copy.folder / record).read_bytes()
    text = (finished_copy.folder / split).read_text()
    (finished_copy.folder / split).write_text(text + "\n")
    os.utime(finished_copy.folder / split, (4e9, 4e9))
    done = finished_copy.run(check=False)
    assert done.returncode and f"{split}: its time stamp lies in the future (2096-" in done.stdout, done.stdout
    assert done.stdout.rstrip().endswith(f"touch -h {split}")
    assert (finished_copy.folder / record).read_bytes() == before
    (finished_copy.folder / split).write_text(text)
    assert finished_copy.planned() == NOTHING


def test_a_failed_stage_leaves_nothing_stale(finished_copy):
    """Break the split file, run, mend it in another way: what the last good run made is not taken for it."""
    split = finished_copy.folder / "resources/sample/dataset/json/test_sample_object.json"
    good = json.loads(split.read_text())
    good[0]["synth"]["gpt"].append("dataset/none.jpg")
    split.write_text(json.dumps(good))
    assert finished_copy.run(check=False).returncode != 0
    good[0]["synth"]["gpt"] = good[0]["synth"]["gpt"][:1]
    split.write_text(json.dumps(good))
    one_split = dict(manifest=1, decode=1, extract=2, rank=2, metrics=2, plots=2, contact=1, gallery_split=1)
    one_split |= dict(tables=1, paper_tables=1, report=1, gallery=1)
    assert finished_copy.planned() == Counter(one_split)
    shutil.rmtree(finished_copy.folder / "results/manifests")
    shutil.rmtree(finished_copy.folder / "results/.features")
    assert finished_copy.planned() == jobs(*DOWNSTREAM["manifest"]), "without a record nothing is taken as unchanged"


def test_a_removed_product_is_made_again_with_what_is_made_of_it(finished_copy):
    before = finished_copy.tables()
    (finished_copy.folder / "results/tables/summary.csv").unlink()
    shutil.rmtree(finished_copy.folder / "results/features")  # needed by nothing that is to run
    assert finished_copy.planned() == jobs("tables", "paper_tables", "plots", "report")
    finished_copy.run()
    assert finished_copy.tables() == before


def test_an_emptied_product_is_refused(finished_copy):
    table = finished_copy.folder / "results/tables/summary.csv"
    table.write_text("")
    done = finished_copy.run(check=False)
    assert done.returncode and "1 file(s) are empty, such as results/tables/summary.csv" in done.stdout, done.stdout
    table.unlink()
    assert finished_copy.planned()["tables"] == 1


def test_a_setting_that_changes_ranks_does_not_survive_a_kill(finished_copy):
    """A run that ended between two stages leaves products of two settings; the next run sees which are of the old one."""
    finished_copy.configure({**TINY, "database_limit": 10})
    finished_copy.run("--until", "extract")
    assert finished_copy.planned() == jobs(*FROM_RANK)
    assert yaml.safe_load((finished_copy.folder / "mine.yaml").read_text())["database_limit"] == 10
