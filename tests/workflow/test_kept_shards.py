"""Only the shards whose own images changed are made anew: images that come and go, a limit, and a broken image."""

import json
import shutil
from collections import Counter

import pytest
from attribench.formats.rank_file import read_rank_file
from attribench.formats.shards import open_feature_shard
from helpers.clone import TINY
from helpers.images import picture
from helpers.jobs import NOTHING, jobs

pytestmark = pytest.mark.workflow


def database_images(clone):
    return sorted((clone.folder / "resources/sample/dataset/database").rglob("*.jpg"))


def test_a_changed_split_file_re_runs_no_extraction_while_its_images_are_the_same(finished_copy):
    path = finished_copy.folder / "resources/sample/dataset/json/test_sample_style.json"
    entries = json.loads(path.read_text())
    entries[0]["category"] = "another"
    path.write_text(json.dumps(entries))
    assert finished_copy.planned() == jobs(
        "tables",
        "paper_tables",
        "report",
        manifest=1,
        rank=2,
        metrics=2,
        plots=2,
        contact=1,
        gallery_split=1,
        gallery=1,
    )


# A database in 4 shards of 5 images, for one extractor and one split: what runs up to the rank file.
CUT = {**TINY, "database_shards": 4, "extractors": ["color"], "splits": ["sample_style"]}
RANKS = "results/ranks/sample_style/color/pretrained.h5"
ONE_SHARD = Counter(manifest=1, decode=1, extract=1, rank=1)


def test_only_the_shards_whose_images_changed_are_made_anew(finished_copy):
    """Images at the end go, one comes, one in the middle changes; a limit comes, and goes."""
    clone, images = finished_copy, database_images(finished_copy)
    clone.configure(CUT)
    clone.run(RANKS)
    last = images[-1].read_bytes()
    images[-1].unlink()
    assert clone.planned(None, RANKS) == ONE_SHARD
    clone.run(RANKS)
    assert clone.planned(None, RANKS) == NOTHING
    with open_feature_shard(clone.folder / "results/features/sample_database/color/00003-of-00004.h5") as shard:
        assert len(shard.rows.paths) == 4
    images[-1].write_bytes(last)
    assert clone.planned(None, RANKS) == ONE_SHARD
    images[-1].unlink()
    images[7].write_bytes(last)
    assert clone.planned(None, RANKS) == ONE_SHARD
    clone.run(RANKS)
    assert clone.planned(None, RANKS) == NOTHING
    limit = {"database_limit": 8}
    assert clone.planned(limit, RANKS) == Counter(manifest=1, rank=1)
    clone.run(RANKS, config=limit)
    assert clone.planned(limit, RANKS) == NOTHING
    assert read_rank_file(clone.folder / RANKS).n_database == 8
    assert clone.planned(None, RANKS) == Counter(manifest=1, rank=1), (
        "whole shards stay for when the database grows again"
    )


def test_a_shard_that_a_limit_cuts_off_is_made_anew_when_the_limit_changes(finished_copy):
    clone = finished_copy
    clone.configure(CUT)
    limit = {"database_limit": 8}
    clone.run(RANKS, config=limit)
    before = read_rank_file(clone.folder / RANKS)
    assert clone.planned(limit, RANKS) == NOTHING
    assert clone.planned({"database_limit": 7}, RANKS) == Counter(manifest=1, decode=3, extract=3, rank=1)
    assert clone.planned(None, RANKS) == Counter(manifest=1, decode=3, extract=3, rank=1), "the first shard is whole"
    clone.run(RANKS)
    assert clone.planned(None, RANKS) == NOTHING
    clone.run(RANKS, config=limit)
    after = read_rank_file(clone.folder / RANKS)
    assert before.n_database == after.n_database == 8 and before.ranks.tolist() == after.ranks.tolist()


def test_a_limit_of_the_first_run_costs_no_whole_shard_when_it_goes(finished_copy):
    """Before the images are there, nobody knows which shards the limit cuts off."""
    clone, limit = finished_copy, {"database_limit": 12}
    clone.configure(CUT)
    for folder in ("results", "resources/sample"):
        shutil.rmtree(clone.folder / folder)
    clone.run(RANKS, config=limit)
    assert clone.planned(limit, RANKS) == NOTHING
    assert clone.planned(None, RANKS) == Counter(manifest=1, decode=2, extract=2, rank=1), "two of the four are whole"
    clone.run(RANKS)
    assert clone.planned(None, RANKS) == NOTHING


def test_broken_images_cost_the_shard_that_holds_them(finished_copy):
    """Under `fail` the rest of the features is made; `quarantine` makes what is missing, and `fail` then refuses it."""
    clone, images = finished_copy, [database_images(finished_copy)[i] for i in (7, 8, 12, 17)]
    clone.configure({**CUT, "max_pixels": 5000})
    whole = [image.read_bytes() for image in images]
    for image in images[:2]:
        image.write_bytes(b"no image")
    for image in images[2:]:
        picture(80, 70).save(image)
    paths = [image.relative_to(clone.folder) for image in images]
    named = "".join(f"\n  {path} (no image in a format that is read here)" for path in paths[:2])
    failed = clone.run(RANKS, "--keep-going", check=False)
    assert failed.returncode != 0
    assert "2 images cannot be decoded; " in failed.stdout and named in failed.stdout
    quarantine = {"invalid_images": "quarantine"}
    assert clone.planned(quarantine, RANKS) == Counter(decode=3, extract=3, rank=1)
    clone.run(RANKS, config=quarantine)
    assert clone.planned(quarantine, RANKS) == NOTHING
    refused = clone.run(RANKS, check=False)
    assert refused.returncode != 0
    named += "".join(
        f"\n  {path} (80 x 70 pixels; expected at most 5000, by the config key max_pixels)" for path in paths[2:]
    )
    assert "4 images cannot be decoded; " in refused.stdout and named in refused.stdout
    assert "Job stats" not in refused.stdout
    other = clone.run("-n", RANKS, config={**quarantine, "max_pixels": 6000}, check=False)
    shards = [f"results/features/sample_database/color/0000{i}-of-00004.h5" for i in (2, 3)]
    assert other.returncode and f"anew: rm {' '.join(shards)}\n" in other.stdout
    for image, content in zip(images, whole, strict=True):
        image.write_bytes(content[:-2] + content[-2:][::-1])
    assert clone.planned(None, RANKS) == Counter(manifest=1, decode=3, extract=3, rank=1)
