"""What killed runs, failures, deletions and clocks leave behind: used where it is needed, made anew where it is wrong."""

import json
import os
import shutil
from collections import Counter

import h5py
import pytest
import yaml
from clone import TINY
from test_staleness import DOWNSTREAM, FROM_RANK, jobs

pytestmark = pytest.mark.workflow


def test_pixels_that_a_killed_run_has_left_are_used_if_they_are_what_is_needed(finished_copy):
    """Nobody has noted how they were made: the file itself says it."""
    registry = TINY["extractor_registry"]
    other = {**registry["tiny"], "resize": 40, "crop": 32}
    settings = {**TINY, "extractor_registry": {**registry, "other": other}, "splits": ["sample_style"]}
    pixels = finished_copy.folder / "results/pixels/sample_database/00000-of-00001.h5"
    finished_copy.configure({**settings, "extractors": ["tiny", "other"]})
    finished_copy.run("--notemp", str(pixels.relative_to(finished_copy.folder)))
    shutil.rmtree(finished_copy.folder / ".snakemake")
    assert finished_copy.planned() == jobs(tables=1, plots=1, contact=1, extract=2, decode=1, rank=1, metrics=1)
    finished_copy.configure({**settings, "extractors": ["tiny", "other"], "database_limit": 10})
    assert finished_copy.planned()["decode"] == 2, "they are of another database"
    with h5py.File(pixels, "a") as file:
        del file["pixels/bicubic-40-32"]
    finished_copy.configure({**settings, "extractors": ["tiny", "other"]})
    assert finished_copy.planned()["decode"] == 2


def test_a_mark_of_the_future_hides_nothing(finished_copy):
    for mark in (finished_copy.folder / "results/ranks").glob("*/.color.ranked"):
        os.utime(mark, (4e9, 4e9))
    finished_copy.configure({**TINY, "top_k": 7})
    assert finished_copy.planned() == jobs(*FROM_RANK)


def test_a_failed_stage_leaves_nothing_stale(finished_copy):
    """Break the split file, run, mend it in another way: what the last good run made is not taken for it."""
    split = finished_copy.folder / "resources/sample/dataset/json/test_sample_object.json"
    good = json.loads(split.read_text())
    good[0]["synth"]["gpt"].append("dataset/none.jpg")
    split.write_text(json.dumps(good))
    assert finished_copy.run(check=False).returncode != 0
    good[0]["synth"]["gpt"] = good[0]["synth"]["gpt"][:1]
    split.write_text(json.dumps(good))
    one_split = dict(manifest=1, decode=1, extract=2, rank=2, metrics=2, plots=2, contact=1, tables=1)
    assert finished_copy.planned() == Counter(one_split)
    shutil.rmtree(finished_copy.folder / "results/manifests")
    assert finished_copy.planned() == jobs(*DOWNSTREAM["manifest"]), "without a record nothing is taken as unchanged"


def test_a_removed_product_is_made_again_and_nothing_else(finished_copy):
    before = finished_copy.tables()
    (finished_copy.folder / "results/tables/summary.csv").unlink()
    assert finished_copy.planned() == jobs("tables")
    finished_copy.run()
    assert finished_copy.tables() == before


def test_a_setting_that_changes_ranks_does_not_survive_a_kill(finished_copy):
    """A run that ended between two stages leaves products of two settings; the next run sees which are of the old one."""
    finished_copy.configure({**TINY, "database_limit": 10})
    finished_copy.run("--until", "extract")
    assert finished_copy.planned() == jobs(*FROM_RANK)
    assert yaml.safe_load((finished_copy.folder / "mine.yaml").read_text())["database_limit"] == 10
