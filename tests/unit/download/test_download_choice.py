"""Which sources a run needs, whether they fit on the disk, and what stands for a file that has not come yet."""

import os
import shutil
from pathlib import Path

import pytest
from attribench.common.errors import InputError
from attribench.download.choice import Downloads
from attribench.download.partial import Partial
from attribench.download.space import Budget, human
from attribench.plan.config import load
from attribench.plan.plan import Plan
from attribench.provenance.fingerprints import Record, read_record, take_fingerprint, write_record
from helpers.config import changed

TABLE = load(changed(benchmark="abc")).sources
CLIP, DINO = "open_clip--ViT-B-32-quickgelu--openai", "timm--vit_base_patch16_224.dino"
VIT = "timm--vit_base_patch16_384.augreg_in21k_ft_in1k"
FEATURES = dict(database_source="features", extractors=["clip"])


def plan(root, **changes):
    return Plan(load(changed(**{"benchmark": "abc", "root": str(root), **changes})))


def needed(root, **changes):
    made = plan(root, **changes)
    return set(made.downloads.needed(made.given_paths))


def give(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_only_what_is_chosen_is_needed(tmp_path):
    images = {"json", "exemplar", "synth_test"}
    assert needed(tmp_path) == {*images, "laion_subset", "weights", CLIP, DINO, VIT}
    assert needed(tmp_path, extractors=["clip", "dino"]) == {*images, "laion_subset", CLIP, DINO}
    assert needed(tmp_path, extractors=["moco"]) == {*images, "laion_subset", "weights"}
    assert needed(tmp_path, **FEATURES) == {*images, "feats_laion", CLIP}
    assert needed(tmp_path, split_source="features", **FEATURES) == {"json", "feats_laion"}
    assert needed(tmp_path, database_source="features", extractors=["sscd"]) == {*images, "feats_laion", "weights"}


def test_the_sample_needs_nothing():
    assert plan("resources/sample", benchmark="sample").given_paths
    assert needed("resources/sample", benchmark="sample") == set()


def test_what_the_root_has_is_not_needed(tmp_path):
    give(tmp_path, "dataset/exemplar/a.jpg", "dataset/laion_subset/1.png", "dataset/json/test_bamfg.json")
    (tmp_path / "dataset/synth").mkdir()
    assert needed(tmp_path, extractors=["color"], splits=["bamfg"]) == {"synth_test"}, "an empty folder holds nothing"
    assert needed(tmp_path, extractors=["color"], splits=["artchive"]) == {"synth_test", "json"}


def test_a_root_with_the_published_folders_needs_nothing(tmp_path):
    config = load(changed(benchmark="abc"))
    give(tmp_path, *(config.entry.splits[split] for split in config.splits))
    give(tmp_path, "dataset/exemplar/a", "dataset/synth/a", "dataset/laion_subset/a")
    give(tmp_path, *(f"feats/{e}/laion_subset.pth" for e in config.extractors))
    give(tmp_path, "weights/pretrained/moco-vit-b-300ep.pth.tar", "weights/pretrained/sscd_disc_mixup.torchscript.pt")
    assert needed(tmp_path) == needed(tmp_path, database_source="features") == {CLIP, DINO, VIT}
    give(tmp_path, *(f"weights/hub/{name}/model.safetensors" for name in (CLIP, DINO, VIT)))
    assert needed(tmp_path) == needed(tmp_path, database_source="features") == set()


def test_the_published_mappers_have_a_source(tmp_path):
    downloads = plan(tmp_path).downloads
    for extractor in ("clip", "dino", "moco", "vit", "sscd"):
        assert downloads.source_of(f"weights/mapper/{extractor}_tuned.pth") == "weights"
    assert downloads.source_of("weights/mapper/mine.pth") is None


def test_every_source_is_reached_as_the_facts_about_the_data_say():
    by_kind = {kind: {name for name, s in TABLE.items() if s.kind == kind} for kind in ("http", "hub", "drive")}
    assert by_kind["hub"] == {"json", "json_tuning", "exemplar", "synth_test", "laion_subset"}
    assert by_kind["http"] == {"feats_laion", "weights", "style_object_ablation", "laion_captions"}
    assert {TABLE[name].fallback for name in by_kind["hub"] - {"json", "json_tuning"}} == by_kind["drive"] - {
        "laion_subset_jpeg"
    }
    for name, parts in (("exemplar", 2), ("synth_test", 8), ("laion_subset", 25)):
        assert TABLE[name].files == [f"{name}/{name}.7z.{i:03d}" for i in range(1, parts + 1)]


@pytest.mark.parametrize("fallback", ["nowhere", "json", "laion_subset_drive"])
def test_a_fallback_that_cannot_stand_in_is_refused(tmp_path, fallback):
    table = {**TABLE, "json": TABLE["json"].model_copy(update={"fallback": fallback})}
    with pytest.raises(InputError, match=r"sources\.json\.fallback"):
        Downloads(str(tmp_path), table)


# --- tokens -------------------------------------------------------------------------------------------------------------

WEIGHTS = "weights/pretrained/moco-vit-b-300ep.pth.tar"
SSCD = "weights/pretrained/sscd_disc_mixup.torchscript.pt"


def write_download_record(root, token, *paths):
    fingerprints = {path: take_fingerprint(root, path) for path in paths}
    write_record(Path(root, ".downloads/weights.csv"), Record(token, fingerprints))


def test_a_file_has_the_same_token_before_and_after_its_download(tmp_path):
    before = plan(tmp_path)
    token = before.content_token(WEIGHTS)
    give(tmp_path, WEIGHTS)
    write_download_record(tmp_path, before.downloads.token("weights"), WEIGHTS)
    assert plan(tmp_path).content_token(WEIGHTS) == token
    (tmp_path / WEIGHTS).unlink()  # it would come again, and be checked against the record
    assert plan(tmp_path).content_token(WEIGHTS) == token
    (tmp_path / WEIGHTS).write_text("other")
    assert plan(tmp_path).content_token(WEIGHTS) != token


def test_a_given_file_keeps_its_token_when_its_source_is_downloaded_for_another(tmp_path):
    give(tmp_path, SSCD)
    before = plan(tmp_path)
    token, other = before.content_token(SSCD), before.content_token(WEIGHTS)
    give(tmp_path, WEIGHTS)
    write_download_record(tmp_path, before.downloads.token("weights"), WEIGHTS)
    assert plan(tmp_path).content_token(SSCD) == token
    assert plan(tmp_path).content_token(WEIGHTS) == other != token


def test_content_that_comes_later_cannot_be_taken_for_what_never_came(tmp_path):
    assert plan(tmp_path).content_token(WEIGHTS) != plan(tmp_path).content_token(WEIGHTS)
    assert plan(tmp_path).collection_token("bamfg") != plan(tmp_path).collection_token("bamfg")


def test_an_interrupted_download_is_ended_though_its_files_are_there(tmp_path):
    give(tmp_path, WEIGHTS)
    assert plan(tmp_path).downloads.needed([WEIGHTS]) == []
    (tmp_path / ".downloads/weights").mkdir(parents=True)
    assert plan(tmp_path).downloads.needed([WEIGHTS]) == ["weights"]
    write_download_record(tmp_path, "token", WEIGHTS)
    assert plan(tmp_path).downloads.needed([WEIGHTS]) == []


def test_a_source_stays_in_the_graph_with_what_it_has_brought(tmp_path):
    """So that the graph tells the truth after a download as before it; files of the user's own have no source."""
    give(tmp_path, SSCD)
    assert plan(tmp_path).downloads.sources_of([SSCD]) == []
    assert plan(tmp_path).downloads.sources_of([WEIGHTS, SSCD]) == ["weights"]
    assert plan(tmp_path).downloads.missing("weights", [WEIGHTS, SSCD]) == [WEIGHTS]
    give(tmp_path, WEIGHTS)
    write_download_record(tmp_path, "token", WEIGHTS)
    assert plan(tmp_path).downloads.sources_of([WEIGHTS]) == ["weights"]
    assert plan(tmp_path).downloads.missing("weights", [WEIGHTS, SSCD]) == []


def test_a_new_time_stamp_is_recorded_for_the_same_content_alone(tmp_path):
    give(tmp_path, WEIGHTS, SSCD)
    write_download_record(tmp_path, "token", WEIGHTS, SSCD)
    os.utime(tmp_path / WEIGHTS, ns=(1, 1))
    (tmp_path / SSCD).write_text("other")
    os.utime(tmp_path / ".downloads/weights.csv", ns=(5, 5))
    before = plan(tmp_path)
    tokens = before.content_token(WEIGHTS), before.content_token(SSCD)
    before.downloads.note_touched()
    recorded = read_record(tmp_path / ".downloads/weights.csv")
    assert (recorded.token, recorded.fingerprints[WEIGHTS].mtime_ns) == ("token", 1)
    assert (tmp_path / ".downloads/weights.csv").stat().st_mtime_ns == 5, "a newer one would make jobs run"
    assert recorded.fingerprints[SSCD].mtime_ns != (tmp_path / SSCD).stat().st_mtime_ns
    assert (plan(tmp_path).content_token(WEIGHTS), plan(tmp_path).content_token(SSCD)) == tokens


# --- space --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch):
    """Set how much is free on the disk."""

    def set_free(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**13, 0, free))

    set_free(10**12)
    return set_free


def budget(root, *names, keep=False):
    made = Budget(str(root / "none/yet/.downloads"), keep)
    for name in names:
        made.add(name, TABLE[name])
    return made, made.table.splitlines()


def test_the_peak_is_what_stays_and_the_largest_archive(tmp_path, disk):
    assert budget(tmp_path, "json")[0].need() == 10_000_000
    assert budget(tmp_path, "exemplar")[0].need() == 2 * 21_400_000_000
    assert budget(tmp_path, "exemplar", "feats_laion")[0].need() == 2 * 21_400_000_000 + 13_300_000_000
    assert budget(tmp_path, "exemplar", "feats_laion", keep=True)[0].need() == 2 * (21_400_000_000 + 13_300_000_000)


def test_what_has_come_already_needs_no_more_space(tmp_path, disk):
    made, _ = budget(tmp_path, "feats_laion")
    before = made.need()
    partial = Partial(made.state / "feats_laion", "feats_laion.tar")
    partial.part.write_bytes(bytes(1000))
    assert made.need() == before - 1000


def test_the_table_says_what_from_where_how_large_and_what_is_free(tmp_path, disk):
    made, lines = budget(tmp_path, "json", "feats_laion", "weights", "json")
    assert [line.split()[0] for line in lines] == ["download", "json", "feats_laion", "weights"]
    for text in ("13.3 GB", "26.6 GB", "1.0 TB", "https://www.cs.cmu.edu/~dataattribution/files/", "CC BY-NC-SA 4.0"):
        assert text in lines[2]
    assert "unknown" in lines[3] and "> 26.6 GB" in lines[3]
    made.refuse_if_too_large()


def test_a_disk_that_is_too_small_is_refused_with_the_figures(tmp_path, disk):
    disk(20 * 10**9)
    made, lines = budget(tmp_path, "json", "feats_laion")
    assert "too little" not in lines[1] and "20.0 GB too little" in lines[2]
    with pytest.raises(InputError, match=r"20\.0 GB free; expected 26\.6 GB for the downloads json, feats_laion"):
        made.refuse_if_too_large()


def test_sizes_in_words():
    assert [human(n) for n in (0, 999, 1000, 13_300_000_000, 5 * 10**15)] == [
        "0 B", "999 B", "1.0 kB", "13.3 GB", "5000.0 TB",
    ]  # fmt: skip
