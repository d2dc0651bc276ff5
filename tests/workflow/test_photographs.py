"""A user's own photographs: those that scikit-image ships, with a split file and one config entry, and no line of code."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import skimage
from helpers.clone import SUMMARY, Clone
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

pytestmark = pytest.mark.workflow

SHIPPED = Path(skimage.__file__).parent / "data"
PHOTOGRAPHS = ["astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
               "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg",
               "rocket.jpg", "page.png", "cell.png"]  # fmt: skip
ENTRIES = ["astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "coins.png"]
TILES = 16  # pieces cut from each photograph that is no exemplar


def crop(image, share, seed):
    """A square of `share` of the short side, somewhere."""
    rng = np.random.default_rng(seed)
    side = int(min(image.size) * share)
    left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
    return image.crop((left, top, left + side, top + side)).resize((160, 160))


def synthesize(image, prompt_type, seed):
    """Make what stands for a synthesized image: the photograph as a sketch, or seen otherwise."""
    view = crop(image, 0.85, seed)
    if prompt_type == "media":
        return ImageOps.posterize(view.filter(ImageFilter.ModeFilter(5)), 3)
    return ImageEnhance.Color(ImageOps.mirror(view)).enhance(0.5)


def write_benchmark(root):
    """A folder of a few hundred images and a split file, as a user would have them; the number of database images."""
    entries = []
    for number, name in enumerate(ENTRIES):
        image = Image.open(SHIPPED / name).convert("RGB")
        exemplar = f"exemplars/{name}"
        (root / exemplar).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / exemplar)
        synth = {}
        for prompt_type in ("media", "gpt"):
            synth[prompt_type] = [f"queries/{prompt_type}/{number}-{i}.jpg" for i in range(3)]
            for i, path in enumerate(synth[prompt_type]):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                synthesize(image, prompt_type, 10 * number + i).save(root / path)
        entries.append({"exemplar": [exemplar], "synth": synth, "class_id": name, "category": "photo"})
    (root / "photos.json").write_text(json.dumps(entries))
    others = [name for name in PHOTOGRAPHS if name not in ENTRIES]
    (root / "others").mkdir()
    for name in others:
        image = Image.open(SHIPPED / name).convert("RGB")
        for i in range(TILES):
            crop(image, 0.5, i).save(root / f"others/{Path(name).stem}-{i}.jpg")
    return len(others) * TILES


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    settings = {
        "benchmark": "photos",
        "benchmarks": {
            "photos": {
                "splits": {"mine": "photos.json"},
                "database": {"folder": "others"},
                "extractors": ["efficientnet_lite0", "color"],
            }
        },
        "device": "cpu",
        "bootstrap": {"samples": 200},
    }
    clone = Clone(tmp_path_factory.mktemp("photographs") / "clone", settings, targets=SUMMARY)
    clone.n_database = write_benchmark(clone.folder / "resources/photos")
    clone.run()
    return clone


def test_the_network_finds_the_photographs(photographs):
    with open(photographs.folder / "results/tables/mine.csv", newline="") as file:
        table = {row["feature"]: row for row in csv.DictReader(file)}
    assert float(table["efficientnet_lite0"]["gpt-mAP"]) > 0.9
    assert float(table["efficientnet_lite0"]["media-mAP"]) > 0.6
    with open(photographs.folder / "results/metrics/mine/color/pretrained.csv", newline="") as file:
        assert {int(row["n_candidates"]) for row in csv.DictReader(file)} == {photographs.n_database + 1}


# What is done to a copy of the photographs, and what the run then says.
def remove_query(root):
    (root / "queries/gpt/0-0.jpg").unlink()


def link_exemplars_into_database(root):
    (root / "others/more").symlink_to("../exemplars")


def repeat_config_key(root):
    config = root.parents[1] / "mine.yaml"
    config.write_text(config.read_text() + "device: cpu\n")


def write_long_path(entries):
    entries[0]["exemplar"].append("exemplars/" + "a photo of a cat, " * 20 + ".jpg")


def truncate_database_image(root):
    path = root / "others/moon-3.jpg"
    path.write_bytes(path.read_bytes()[:500])


def edit_split(change):
    def spoil(root):
        entries = json.loads((root / "photos.json").read_text())
        change(entries)
        (root / "photos.json").write_text(json.dumps(entries))

    return spoil


BAD = {
    "a missing file": (remove_query, "1 file(s) missing below resources/photos", "queries/gpt/0-0.jpg"),
    "a truncated image": (truncate_database_image, "others/moon-3.jpg: cannot be decoded", "invalid_images"),
    "an empty split": (edit_split(list.clear), "resources/photos/photos.json: the split is empty"),
    "no exemplars": (edit_split(lambda e: e[1]["exemplar"].clear()), "photos.json: entry 1", "no exemplars"),
    "a duplicate": (
        edit_split(lambda e: e[1]["exemplar"].append("queries/gpt/0-1.jpg")),
        *("1 path(s) listed more than once", "queries/gpt/0-1.jpg"),
    ),
    "other prompt types": (edit_split(lambda e: e[2]["synth"].pop("gpt")), "entry 2", "prompt types are ['media']"),
    "a path that is too long": (edit_split(write_long_path), "1 file(s) cannot be read", "(File name too long)"),
    "exemplars in the database": (
        link_exemplars_into_database,
        *("config key benchmarks.photos.database.folder: others has 6 of the 42 images of split mine", "others/more/"),
    ),
    "a config key twice": (repeat_config_key, "the key `device` is there twice"),
    "no split file": (lambda root: (root / "photos.json").unlink(), "photos.json"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_no_result_is_touched(photographs, tmp_path, name):
    spoil, *expected = BAD[name]
    clone = Clone(tmp_path / "clone", copy_from=photographs)
    before = clone.tables()
    spoil(clone.folder / "resources/photos")
    done = clone.run(check=False)
    assert done.returncode != 0
    for text in expected:
        assert text in done.stdout
    assert "Traceback" not in done.stdout
    assert clone.tables() == before
    assert not [path for path in (clone.folder / "results").rglob(".*.part*")]


def test_quarantine_lists_counts_and_goes_on(photographs, tmp_path):
    clone = Clone(tmp_path / "clone", copy_from=photographs)
    root = clone.folder / "resources/photos"
    truncate_database_image(root)
    (root / "queries/gpt/0-0.jpg").write_bytes(b"no image")
    (root / "exemplars/coins.png").write_bytes(b"")
    clone.run(config={"invalid_images": "quarantine"})
    with open(clone.folder / "results/tables/invalid_images.csv", newline="") as file:
        listed = [(row["collection"], row["path"], row["role"]) for row in csv.DictReader(file)]
    assert listed == [
        ("mine", "exemplars/coins.png", "exemplar"),
        ("mine", "queries/gpt/0-0.jpg", "query"),
        ("photos_database", "others/moon-3.jpg", "database"),
    ]
    with open(clone.folder / "results/tables/summary.csv", newline="") as file:
        counts = {(r["prompt_type"], r["n_queries"], r["n_entries"], r["n_invalid"]) for r in csv.DictReader(file)}
    # The entry whose only exemplar is invalid cannot be asked about: its three queries of each prompt type count as invalid.
    assert counts == {("gpt", "14", "5", "4"), ("media", "15", "5", "3")}
    assert clone.planned({"invalid_images": "quarantine"}) == Counter()


def test_a_corrupt_shard_is_named_and_made_anew_once_deleted(photographs, tmp_path):
    clone = Clone(tmp_path / "clone", copy_from=photographs)
    before = clone.tables()
    shard = next((clone.folder / "results/features/photos_database/color").glob("*.h5"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    done = clone.run("--forcerun", "rank", check=False)
    assert done.returncode != 0
    assert f"{shard.relative_to(clone.folder)}: corrupt" in done.stdout
    assert "delete it and run again" in done.stdout
    shard.unlink()
    clone.run("--forcerun", "rank")
    assert clone.tables() == before


def test_a_shard_of_other_settings_is_refused(photographs, tmp_path):
    import h5py

    clone = Clone(tmp_path / "clone", copy_from=photographs)
    shard = next((clone.folder / "results/features/photos_database/color").glob("*.h5"))
    with h5py.File(shard, "r+") as file:
        file.attrs["preprocessing"] = "bilinear-256-224"
    done = clone.run("--forcerun", "rank", check=False)
    assert done.returncode != 0
    assert "cannot be compared" in done.stdout
    assert "preprocessing 'bilinear-256-224' against 'bicubic-224-224 mean" in done.stdout
