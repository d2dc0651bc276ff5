"""The sample benchmark: its bytes follow from the settings, no identity is in two splits, bad settings are refused."""

import json
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.sample import VERSION, benchmark
from attribench.sample.artists import draw_artist, same_hand, same_palette
from attribench.sample.benchmark import SampleSettings, render_sample
from attribench.sample.fields import to_image
from attribench.sample.objects import draw_object, near_object
from attribench.sample.roster import (
    DATABASE_START,
    all_pictures,
    check_settings,
    database_identity,
    draw_picture,
    exemplar_count,
    identity_numbers,
    picture_count,
    split_files,
)
from helpers import golden_bytes
from helpers.archives import contents
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

TINY = SampleSettings(
    image_size=40,
    style_entries={"test": 3, "train": 2, "val": 1},
    object_entries={"test": 2, "train": 1, "val": 1},
    max_exemplars=3,
    queries_per_prompt=2,
    database_images=40,
)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sample")
    render_sample(root, TINY)
    return root


def splits(root: Path) -> dict[str, list[dict]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((root / "dataset/json").glob("*.json"))}


def test_bytes_do_not_depend_on_workers(rendered, tmp_path):
    render_sample(tmp_path, TINY, workers=2)
    assert contents(tmp_path) == contents(rendered)


def test_golden_bytes(rendered):
    """Pixels before they are JPEG files, whose bytes depend on the encoder; every school, medium and sort of distractor."""
    with Image.open(rendered / "dataset/database/00/000000.jpg") as image:
        jpeg = {"quantization": sorted(image.quantization.items()), "sampling": [get_sampling(image)]}
    settings = replace(TINY, style_entries={"test": 10}, object_entries={"test": 12}, database_images=100)
    pictures = {
        picture.path: np.asarray(to_image(draw_picture(settings, picture))) for picture in all_pictures(settings)
    }
    golden_bytes.check("sample", VERSION, {**pictures, **split_files(settings), **jpeg})


def test_another_seed_gives_other_images(rendered, tmp_path):
    render_sample(tmp_path, replace(TINY, seed=1, database_images=5))
    other, first = contents(tmp_path / "dataset/database"), contents(rendered / "dataset/database")
    assert len(other) == 5
    assert all(other[path] != first[path] for path in other)


def test_shorter_database_is_a_prefix_and_overwrites_the_longer(rendered, tmp_path):
    render_sample(tmp_path, replace(TINY, database_images=9))
    whole, part = contents(rendered / "dataset"), contents(tmp_path / "dataset")
    assert len([path for path in part if path.startswith("database/")]) == 9
    assert all(whole[path] == part[path] for path in part if path != "sample.json")
    render_sample(tmp_path, replace(TINY, database_images=2))
    assert sorted(contents(tmp_path / "dataset/database")) == ["00/000000.jpg", "00/000001.jpg"]


def test_split_files(rendered):
    files = splits(rendered)
    assert sorted(files) == sorted(
        f"{part}_sample_{s}" for part in ("test", "train", "val") for s in ("style", "object")
    )
    seen = Counter()
    for name, entries in files.items():
        style = name.endswith("style")
        assert len(entries) == (TINY.style_entries if style else TINY.object_entries)[name.split("_")[0]]
        assert len({entry["class_id"] for entry in entries}) == len(entries)
        for entry in entries:
            assert set(entry) == {"exemplar", "synth", "class_id", "category"}
            assert isinstance(entry["class_id"], str) and isinstance(entry["category"], str)
            assert set(entry["synth"]) == ({"object", "gpt"} if style else {"media", "gpt"})
            assert 1 <= len(entry["exemplar"]) <= (TINY.max_exemplars if style else 1)
            assert {len(paths) for paths in entry["synth"].values()} == {TINY.queries_per_prompt}
            seen.update(chain(entry["exemplar"], *entry["synth"].values()))
    assert {len(entry["exemplar"]) for entry in files["test_sample_style"]} == {1, 2, 3}
    assert set(seen.values()) == {1}
    assert all(path.startswith("dataset/") for path in seen)
    database = {f"dataset/database/{path}" for path in contents(rendered / "dataset/database")}
    images = {str(path.relative_to(rendered)) for path in rendered.rglob("*.jpg")}
    assert images == set(seen) | database and len(database) == TINY.database_images
    assert len(images) == picture_count(TINY) == len(list(all_pictures(TINY)))


def test_every_image_is_rgb_of_the_size_asked(rendered):
    for path in rendered.rglob("*.jpg"):
        with Image.open(path) as image:
            image.load()
            assert (image.mode, image.size) == ("RGB", (40, 40))
            assert not image.getexif()
            assert max(high - low for low, high in image.getextrema()) > 30, f"{path} is blank"


def test_no_identity_is_shared():
    settings = SampleSettings()
    for entries, draw in ((settings.style_entries, draw_artist), (settings.object_entries, draw_object)):
        numbers = [number for part in identity_numbers(entries).values() for number in part]
        assert len(set(numbers)) == len(numbers) == sum(entries.values())
        assert max(numbers) < DATABASE_START
        own = {repr(draw(settings.seed, number)) for number in numbers}
        assert len(own) == len(numbers)
        others = [database_identity(settings, index) for index in range(400)]
        assert not own & {repr(who) for _, who in others}
    kinds = Counter(kind for kind, _ in others)
    assert min(kinds[kind] for kind in ("same_palette", "same_hand", "near_object", "artist", "photo", "medium")) > 5


def test_identities_depend_on_the_seed():
    assert draw_artist(0, 5) != draw_artist(1, 5)
    assert draw_object(0, 5) != draw_object(1, 5)


@pytest.mark.parametrize("number", range(12))
def test_near_misses_share_something_but_not_all(number):
    artist, other = draw_artist(0, number), draw_artist(0, DATABASE_START + number)
    palette, hand = same_palette(artist, other), same_hand(0, artist, other, DATABASE_START + number)
    assert palette.palette == artist.palette and palette.school != artist.school
    assert hand.school == artist.school and hand.palette != artist.palette and hand.hand != artist.hand
    thing = draw_object(0, number)
    near = near_object(0, thing, DATABASE_START + number)
    assert near.category == thing.category and near.pattern != thing.pattern


def test_every_exemplar_count_comes_up():
    settings = SampleSettings()
    numbers = identity_numbers(settings.style_entries)["test"]
    assert {exemplar_count(settings, number) for number in numbers} == set(range(1, 9))


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("seed", -1, "-1"),
        ("image_size", 16, "16"),
        ("image_size", 64.5, "64.5"),
        ("max_exemplars", 0, "0"),
        ("queries_per_prompt", 0, "0"),
        ("database_images", 0, "0"),
        ("database_images", True, "True"),
        ("style_entries", {"test": 0}, "0"),
        ("style_entries", {"test": 1, "holdout": 2}, "holdout"),
        ("object_entries", {"train": 2}, "train"),
        ("object_entries", 7, "7"),
    ],
)
def test_bad_settings_are_refused(key, value, found, tmp_path):
    with pytest.raises(InputError, match=key) as caught:
        render_sample(tmp_path, replace(TINY, **{key: value}))
    assert found in str(caught.value) and "expected" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_default_settings_pass():
    check_settings(SampleSettings())


def test_failure_names_the_image(tmp_path, monkeypatch):
    def fail(settings, picture):
        raise ArithmeticError("no paint left")

    monkeypatch.setattr(benchmark, "draw_picture", fail)
    with pytest.raises(RuntimeError, match=r"exemplar/test_sample_style/.*0\.jpg.*no paint left"):
        render_sample(tmp_path, TINY)


def test_foreign_images_are_left_alone(tmp_path):
    precious = tmp_path / "dataset/exemplar/mine.jpg"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"mine")
    with pytest.raises(InputError, match="exemplar"):
        render_sample(tmp_path, TINY)
    assert precious.read_bytes() == b"mine"
