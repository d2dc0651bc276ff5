"""Which sources a run needs, whether they fit on the disk, and what stands for a file that has not come yet."""

import shutil
from pathlib import Path

import pytest
from attribench.config import load
from attribench.download.choice import Downloads
from attribench.download.partial import Partial
from attribench.download.space import Budget, human
from attribench.errors import InputError
from attribench.plan import Plan
from attribench.sources import row_of, write_record
from test_config import REPOSITORY, changed

SCRIPTS = REPOSITORY / "workflow_scripts"
TABLE = load(changed(benchmark="abc")).sources
FEATURES = dict(database_source="features", extractors=["clip"])


def plan(root, **changes):
    return Plan(load(changed(**{"benchmark": "abc", "root": str(root), **changes})), SCRIPTS)


def needed(root, **changes):
    made = plan(root, **changes)
    return set(made.downloads.needed(made.given_paths))


def give(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_only_what_is_chosen_is_needed(tmp_path):
    images = {"json", "exemplar", "synth_test"}
    assert needed(tmp_path) == {*images, "laion_subset", "weights"}
    assert needed(tmp_path, extractors=["clip", "dino"]) == {*images, "laion_subset"}
    assert needed(tmp_path, extractors=["moco"]) == {*images, "laion_subset", "weights"}
    assert needed(tmp_path, **FEATURES) == {*images, "feats_laion"}
    assert needed(tmp_path, split_source="features", **FEATURES) == {"json", "feats_laion"}
    assert needed(tmp_path, database_source="features", extractors=["sscd"]) == {*images, "feats_laion", "weights"}


def test_the_sample_needs_nothing():
    assert plan("resources/sample", benchmark="sample").given_paths
    assert needed("resources/sample", benchmark="sample") == set()


def test_what_the_root_has_is_not_needed(tmp_path):
    give(tmp_path, "dataset/exemplar/a.jpg", "dataset/laion_subset/1.png", "dataset/json/test_bamfg.json")
    (tmp_path / "dataset/synth").mkdir()
    assert needed(tmp_path, extractors=["clip"], splits=["bamfg"]) == {"synth_test"}, "an empty folder holds nothing"
    assert needed(tmp_path, extractors=["clip"], splits=["artchive"]) == {"synth_test", "json"}


def test_a_root_with_the_published_folders_needs_nothing(tmp_path):
    config = load(changed(benchmark="abc"))
    give(tmp_path, *(config.entry.splits[split] for split in config.splits))
    give(tmp_path, "dataset/exemplar/a", "dataset/synth/a", "dataset/laion_subset/a")
    give(tmp_path, *(f"feats/{e}/laion_subset.pth" for e in config.extractors))
    give(tmp_path, "weights/pretrained/moco-vit-b-300ep.pth.tar", "weights/pretrained/sscd_disc_mixup.torchscript.pt")
    assert needed(tmp_path) == needed(tmp_path, database_source="features") == set()


def test_the_published_mappers_have_a_source(tmp_path):
    downloads = plan(tmp_path).downloads
    for extractor in ("clip", "dino", "moco", "vit", "sscd"):
        assert downloads.source_of(f"weights/mapper/{extractor}_tuned.pth") == "weights"
    assert downloads.source_of("weights/mapper/mine.pth") is None


def test_every_source_is_reached_as_the_facts_about_the_data_say():
    by_kind = {kind: {name for name, s in TABLE.items() if s.kind == kind} for kind in ("http", "hub", "drive")}
    assert by_kind["hub"] == {"json", "exemplar", "synth_test", "laion_subset"}
    assert by_kind["http"] == {"feats_laion", "weights", "style_object_ablation", "laion_captions"}
    assert {TABLE[name].fallback for name in by_kind["hub"] - {"json"}} == by_kind["drive"] - {"laion_subset_jpeg"}
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


def record(root, token, *paths):
    write_record(Path(root, ".downloads/weights.csv"), token, [row_of(root, path) for path in paths])


def test_a_file_has_the_same_token_before_and_after_its_download(tmp_path):
    before = plan(tmp_path)
    token = before.file_token(WEIGHTS)
    give(tmp_path, WEIGHTS)
    record(tmp_path, before.downloads.token("weights"), WEIGHTS)
    assert plan(tmp_path).file_token(WEIGHTS) == token
    (tmp_path / WEIGHTS).unlink()  # it would come again, and be checked against the record
    assert plan(tmp_path).file_token(WEIGHTS) == token
    (tmp_path / WEIGHTS).write_text("other")
    assert plan(tmp_path).file_token(WEIGHTS) != token


def test_a_given_file_keeps_its_token_when_its_source_is_downloaded_for_another(tmp_path):
    give(tmp_path, SSCD)
    before = plan(tmp_path)
    token, other = before.file_token(SSCD), before.file_token(WEIGHTS)
    give(tmp_path, WEIGHTS)
    record(tmp_path, before.downloads.token("weights"), WEIGHTS)
    assert plan(tmp_path).file_token(SSCD) == token
    assert plan(tmp_path).file_token(WEIGHTS) == other != token


def test_content_that_comes_later_cannot_be_taken_for_what_never_came(tmp_path):
    assert plan(tmp_path).file_token(WEIGHTS) != plan(tmp_path).file_token(WEIGHTS)
    assert plan(tmp_path).key("manifest", collection="bamfg") != plan(tmp_path).key("manifest", collection="bamfg")


def test_an_interrupted_download_is_ended_though_its_files_are_there(tmp_path):
    give(tmp_path, WEIGHTS)
    assert plan(tmp_path).downloads_for([WEIGHTS]) == []
    (tmp_path / ".downloads/weights").mkdir(parents=True)
    assert plan(tmp_path).downloads_for([WEIGHTS]) == [f"{tmp_path}/.downloads/weights.done"]
    record(tmp_path, "token", WEIGHTS)
    assert plan(tmp_path).downloads_for([WEIGHTS]) == []


# --- space --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch):
    """Makes the disk as small as the test wants it."""

    def set_free(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**13, 0, free))

    set_free(10**12)
    return set_free


def budget(root, *names, keep=False):
    made = Budget(str(root / "none/yet/.downloads"), keep)
    return made, [line for name in names for line in made.add(name, TABLE[name])]


def test_the_peak_is_what_stays_and_the_largest_archive(tmp_path, disk):
    assert budget(tmp_path, "json")[0].need() == 10_000_000
    assert budget(tmp_path, "exemplar")[0].need() == 2 * 21_400_000_000
    assert budget(tmp_path, "exemplar", "feats_laion")[0].need() == 2 * 21_400_000_000 + 13_300_000_000
    assert budget(tmp_path, "exemplar", "feats_laion", keep=True)[0].need() == 2 * (21_400_000_000 + 13_300_000_000)


def test_what_has_come_already_needs_no_room(tmp_path, disk):
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
    made.refuse_what_does_not_fit()


def test_a_disk_that_is_too_small_is_refused_with_the_figures(tmp_path, disk):
    disk(20 * 10**9)
    made, lines = budget(tmp_path, "json", "feats_laion")
    assert "too little" not in lines[1] and "20.0 GB too little" in lines[2]
    with pytest.raises(InputError, match=r"20\.0 GB free; expected 26\.6 GB for the downloads json, feats_laion"):
        made.refuse_what_does_not_fit()


def test_sizes_in_words():
    assert [human(n) for n in (0, 999, 1000, 13_300_000_000, 5 * 10**15)] == [
        "0 B", "999 B", "1.0 kB", "13.3 GB", "5000.0 TB",
    ]  # fmt: skip
