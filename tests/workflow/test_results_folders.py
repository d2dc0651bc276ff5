"""Folders of results: those of another benchmark or root are kept, and several share their features."""

import shutil
from collections import Counter

import pytest
from helpers.clone import TINY
from helpers.jobs import NOTHING, jobs_from

pytestmark = pytest.mark.workflow

MINE = {"splits": {"mine": "dataset/json/test_sample_style.json"}, "database": {"folder": "dataset/database"}}
OTHER = {
    **TINY,
    "benchmark": "mine",
    "root": "resources/sample",
    "benchmarks": {"mine": {**MINE, "extractors": ["color"]}},
}


def refused(clone, settings, *expected):
    clone.configure(settings)
    before = clone.tables()
    done = clone.run(check=False)
    assert done.returncode != 0
    for text in expected:
        assert text in done.stdout
    assert clone.tables() == before


def test_results_of_another_benchmark_or_root_are_not_replaced(finished_copy):
    clone = finished_copy
    made_of = "results holds what was made of benchmark `sample` (root resources/sample)"
    refused(clone, OTHER, f"config key results: {made_of}", "results=results_mine")
    among = "lies in resources/sample/dataset/database, whose images are read; expected a folder outside of it"
    for key in ("results", "features"):  # whose figures would be images of the database the next time
        folder = "resources/sample/dataset/database/made"
        (clone.folder / folder).mkdir(exist_ok=True)
        refused(clone, {**TINY, key: folder}, f"config key {key}: {folder} {among}")
        (clone.folder / folder).rmdir()
    elsewhere = {**OTHER, "results": "elsewhere"}
    refused(clone, {**elsewhere, "features": "results/features"}, "config key features: results/features holds")
    clone.configure(elsewhere)
    assert clone.planned()["extract"] == 4, "its own features"
    (clone.folder / "other_root").mkdir()
    refused(clone, {**TINY, "root": "other_root"}, made_of, "(root other_root)", "results=results_other")
    shutil.copytree(clone.folder / "resources/sample", clone.folder / "moved")
    clone.configure({**TINY, "root": "moved"})
    assert clone.planned() == NOTHING, "the same images"
    image = next((clone.folder / "moved/dataset/database").rglob("*.jpg"))
    image.write_bytes(image.read_bytes()[::-1])
    refused(clone, {**TINY, "root": "moved"}, made_of)
    (clone.folder / "resources/sample").rename(clone.folder / "gone")
    clone.configure({**TINY, "root": "moved"})
    assert clone.planned()["extract"] == 2, "the root has moved, and then changed"


def test_two_results_folders_share_their_features(finished_copy):
    clone = finished_copy
    features = clone.results("features/*/*/*.h5")
    clone.configure({**TINY, "results": "elsewhere", "features": "results/features", "recall_ks": [1]})
    shared = jobs_from("rank") + Counter(manifest=3)
    assert clone.planned() == shared
    clone.targets = ("elsewhere/tables/summary.csv",)
    clone.run()
    assert clone.planned() == NOTHING
    clone.targets = ()
    assert (
        not list((clone.folder / "elsewhere").glob("features/**/*.h5"))
        and clone.results("features/*/*/*.h5") == features
    )
    clone.configure(TINY)
    assert clone.planned() == NOTHING
    shared = {**TINY, "results": "elsewhere", "features": "results/features"}
    refused(clone, {**shared, "exif": "apply"}, "config key features: results/features holds 6 file(s) made with other")
    refused(clone, {**shared, "features": "result/features"}, "config key features: result/features does not exist")
