"""Image files: which are whole, which are too large, which way up they are, and what of that is the file's fault."""

import io
from contextlib import contextmanager
from itertools import product

import attribench.decode.preprocessing as preprocessing_module
import attribench.decode.reading as reading_module
import numpy as np
import pytest
from attribench.common.errors import InputError
from attribench.common.images import image_endings
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.preprocessing import Preprocessing, load_pixels
from attribench.decode.reading import AS_PUBLISHED, Reading
from helpers.images import picture, rotated
from PIL import Image, ImageOps, PngImagePlugin

from bench.measure import peak_memory

APPLY = Reading(exif="apply")
SMALL = Preprocessing(16, 12, "bicubic")


def read(path, reading=AS_PUBLISHED):
    with reading.image(path) as image:
        return np.asarray(image.convert("RGB"))


# --- which way up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "orientation"), [*product(["jpg", "png", "webp"], range(10))])
def test_orientation_is_applied_where_it_is_asked_for(tmp_path, ending, orientation):
    """0 and 9 are no orientations."""
    path, plain = tmp_path / f"a.{ending}", tmp_path / f"plain.{ending}"
    picture().save(plain, lossless=True)
    picture().save(path, lossless=True, **rotated(picture(), orientation))
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read(path, APPLY), upright)
    assert (upright.shape[0] > upright.shape[1]) == (orientation in (5, 6, 7, 8))
    np.testing.assert_array_equal(read(path), read(plain))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "HEIF", "AVIF"])
def test_orientation_that_belongs_to_the_format_is_applied_once(tmp_path, kind, orientation):
    image_endings()  # without HEIF's encoder, Pillow could not save it
    corners = Image.fromarray(np.array([[0, 90, 90], [180, 255, 255]], np.uint8)).resize((48, 32), 0).convert("RGB")
    turned = rotated(corners, orientation)
    corners.save(tmp_path / "a", kind, **turned)
    corners.save(tmp_path / "a.png", **turned)
    upright = read(tmp_path / "a.png", APPLY).astype(int)
    for reading in (AS_PUBLISHED, APPLY):
        made = read(tmp_path / "a", reading)
        assert made.shape == upright.shape and np.abs(made - upright).mean() < 5


def test_damaged_exif_of_a_whole_image_turns_nothing(tmp_path):
    for ending in ("jpg", "png", "webp"):
        picture().save(tmp_path / f"a.{ending}", exif=b"Exif\0\0garbage")
        np.testing.assert_array_equal(read(tmp_path / f"a.{ending}", APPLY), read(tmp_path / f"a.{ending}"))


# --- whole and broken files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", [AS_PUBLISHED, APPLY])
def test_large_metadata_leave_a_png_whole(tmp_path, reading):
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("workflow", "x" * (2 << 20), zip=True)
    texts.add_text("parameters", "x" * (70 << 20), zip=True)
    texts.add_text("prompt", "x" * (2 << 20))
    picture().save(tmp_path / "text.png", pnginfo=texts)
    picture().save(tmp_path / "profile.png", icc_profile=bytes(2 << 20))
    for name in ("text", "profile"):
        np.testing.assert_array_equal(read(tmp_path / f"{name}.png", reading), np.asarray(picture()))


def test_a_file_that_is_no_image_says_so(tmp_path):
    for content, reason in ((b"", "the file is empty"), (b"<html>", "no image in a format that is read here")):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(UnreadableImage, match=f"^{reason}$"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA"]
)
def test_a_file_that_was_cut_is_unreadable(tmp_path, kind):
    image_endings()
    file = io.BytesIO()
    picture(300, 200).save(file, kind)
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "a").write_bytes(file.getvalue()[: int(share * len(file.getvalue()))])
        with pytest.raises(UnreadableImage):
            read(tmp_path / "a")


def test_what_the_system_refuses_is_no_fault_of_the_image(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    picture().save(tmp_path / "a.png")
    refused = {"": "Is a directory", "x" * 300: "File name too long", "a\0": "null", "loop.png": "symbolic links"}
    refused |= {"none.png": "does not exist", "a.png/b.png": "Not a directory"}
    for name, reason in refused.items():
        with pytest.raises(InputError, match=reason):
            read(f"{tmp_path}/{name}")


def test_too_little_memory_is_no_fault_of_the_image(tmp_path, monkeypatch):
    picture().save(tmp_path / "a.png")

    def too_large(*_):
        raise MemoryError

    for module, name in ((preprocessing_module, "_fit"), (reading_module, "as_rgb")):
        monkeypatch.setattr(module, name, too_large)
        with pytest.raises(InputError, match=r"a.png: not enough memory .* max_pixels"):
            load_pixels(tmp_path / "a.png", [SMALL], APPLY)


# --- large images -------------------------------------------------------------------------------------------------------


def test_an_image_may_have_max_pixels_and_no_more(tmp_path):
    picture(20, 10).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", Reading(max_pixels=200)).shape == (10, 20, 3)
    with pytest.raises(UnreadableImage, match="^20 x 10 pixels; expected at most 199, by the config key max_pixels$"):
        read(tmp_path / "a.png", Reading(max_pixels=199))


def test_pillow_has_no_limit_of_its_own(tmp_path):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "a.png")
    with AS_PUBLISHED.image(tmp_path / "a.png") as image:
        assert image.size == (20_000, 10_000)


def test_one_large_image_at_a_time(tmp_path, monkeypatch):
    """From before its pixels are decoded until they were used."""
    monkeypatch.setattr(reading_module, "_LARGE", 200)
    held = []

    @contextmanager
    def lock():
        held.append(True)
        yield
        held.append(False)

    for height, expected in ((10, []), (11, [True])):
        picture(20, height).save(tmp_path / "a.png")
        with Reading(one_large=lock()).image(tmp_path / "a.png"):
            assert held == expected
    assert held == [True, False]


@pytest.mark.parametrize("size", [(1, 40_000), (40_000, 1)])
def test_a_line_of_pixels_takes_little_memory(tmp_path, size):
    """It took 8 GB, as all of it was scaled up before the middle was cut out."""
    line = np.full((size[1], size[0], 3), (200, 100, 50), np.uint8)
    line[0, 0] = 0
    Image.fromarray(line).save(tmp_path / "a.png")
    with peak_memory() as memory:
        [made] = load_pixels(tmp_path / "a.png", [Preprocessing(384, 384, "bicubic")])
    assert memory.grown < 0.3 and (made == (200, 100, 50)).all()


@pytest.mark.parametrize("size", [(3, 500), (501, 7), (40, 3001)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_the_middle_of_a_long_image_is_the_same_resized_alone(tmp_path, monkeypatch, size, interpolation):
    smooth = picture(*size).resize((size[0] * 2, size[1] * 2)).resize(size)
    smooth.save(tmp_path / "a.png")
    preprocessing = Preprocessing(20, 16, interpolation)
    [whole] = load_pixels(tmp_path / "a.png", [preprocessing])
    monkeypatch.setattr(preprocessing_module, "_MAX_RESIZED", 0)
    [alone] = load_pixels(tmp_path / "a.png", [preprocessing])
    assert np.abs(whole.astype(int) - alone).max() <= 1
