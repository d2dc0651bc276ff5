"""Image files: which there are, and how one is opened."""

from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, PngImagePlugin
from pillow_heif import register_heif_opener

# Pillow's own limits are for servers. The config key max_pixels limits pixels, and metadata in a PNG file may have 1 GB.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 1 << 30
# Pillow has no decoder for MPEG, and leaves EPS to another program, which may not be there.
_NOT_DECODED = {"MPEG", "EPS"}


def image_endings() -> frozenset[str]:
    """Return the endings of image files that can be decoded here: lower case, with the dot."""
    formats = {*_formats(), "MPO"}  # which the opener of JPEG reads
    return frozenset(ending.lower() for ending, name in Image.registered_extensions().items() if name in formats)


def open_image(file: Path | str | BinaryIO) -> Image.Image:
    """Open an image file by its content, whatever its name; its pixels are decoded when they are used.

    Raises what Pillow raises for a file that is missing or no image.
    """
    return Image.open(file, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that can be decoded, by Pillow's names. HEIF joins them, which Pillow leaves to a package."""
    register_heif_opener()
    Image.init()
    return tuple(
        name for name, (factory, _) in Image.OPEN.items() if name not in _NOT_DECODED and not _is_stub(factory)
    )


def _is_stub(factory: object) -> bool:
    """Return whether Pillow knows a format, but decodes it only with what an application adds: HDF5, GRIB, ..."""
    return isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
