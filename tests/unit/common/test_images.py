"""Image files: the endings that count, and files that open whatever they are called."""

import pytest
from attribench.common.images import image_endings, open_image
from helpers.images import picture
from PIL import UnidentifiedImageError


def test_endings_are_those_of_formats_that_are_decoded():
    endings = image_endings()
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"} <= endings
    assert {".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm", ".pnm", ".psd", ".tga"} <= endings
    # Pillow knows these names too, but has no decoder for what is in them.
    assert not {".h5", ".pdf", ".mpg", ".grib", ".wmf", ".eps"} & endings
    assert all(ending == ending.lower() and ending.startswith(".") for ending in endings)


@pytest.mark.parametrize("format", ["HEIF", "AVIF", "JPEG2000", "PPM", "PNG"])
def test_a_file_opens_by_its_content(tmp_path, format):
    image_endings()  # without HEIF's encoder, Pillow could not save it
    picture().save(tmp_path / "a.jpg", format)
    with open_image(tmp_path / "a.jpg") as image:
        assert (image.format, image.size, image.convert("RGB").size) == (format, (37, 23), (37, 23))


def test_what_is_never_decoded_is_not_opened(tmp_path):
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(UnidentifiedImageError):
        open_image(tmp_path / "a.eps")
