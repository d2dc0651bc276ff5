"""From an image file to an image in memory: which files are whole, which are too large, which way up they are."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from kornia_rs.io import decode_image_png_u8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from attribench.common.errors import InputError
from attribench.common.images import open_image
from attribench.decode.eight_bits import UnreadableImage, as_rgb

Exif = Literal["ignore", "apply"]

_LARGE = 25_000_000  # pixels, which take up to 400 MB
_QUICK = 16_000_000  # pixels; of more, what a quicker decoder needs beside the image counts
# PNG files that kornia_rs decodes to Pillow's pixels in less than half the time: by the header's bytes for depth and colour.
_QUICK_PNG = {b"\x08\x00": "mono", b"\x08\x02": "rgb", b"\x08\x06": "rgba"}
_BY_CONFIG = "the config key max_pixels"
_BY_LIMIT = f", by {_BY_CONFIG}"  # ends the reason of an image that is too large
_TURNS = {  # by EXIF's number of the orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Reading:
    """Say how image files are read.

    exif: `apply` turns an image as its EXIF orientation says. max_pixels: a larger image counts as invalid; None for no
    limit. one_large: is held while a large image is in memory; a lock, where several processes decode. limited_by: what sets
    max_pixels, in words.
    """

    exif: Exif = "ignore"
    max_pixels: int | None = None
    one_large: AbstractContextManager = field(default_factory=nullcontext)
    limited_by: str = _BY_CONFIG

    @contextmanager
    def image(self, path: Path | str, at_least: tuple[int, int] | None = None) -> Iterator[Image.Image]:
        """Decode the image at `path`, the first one of several, and yield it in RGB, or in L where it is grey.

        at_least: the width and height that are needed; a JPEG may then be decoded smaller than it is, which is quick. Raises
        UnreadableImage for a file that is no whole image, and InputError for one that is not there or cannot be read.
        """
        with _opened(path) as file, _short_memory_as_input_error(path), ExitStack() as stack:
            with _faults_as_unreadable(path):
                image = open_image(file)
                self._refuse_large(image)
                image.draft("RGB", at_least)
                if _pixels(image) > _LARGE:
                    stack.enter_context(self.one_large)
                decoded = self._decode(image, file)
            yield decoded

    def square(self, path: Path | str, side: int) -> Image.Image:
        """Return the middle of the image at `path` in RGB, `side` pixels square. Raises what `image` raises."""
        with self.image(path, at_least=(side, side)) as image:
            return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS).convert("RGB")

    def _refuse_large(self, image: Image.Image) -> None:
        if self.max_pixels is not None and _pixels(image) > self.max_pixels:
            width, height = image.size
            raise UnreadableImage(
                f"{width} x {height} pixels; expected at most {self.max_pixels}, by {self.limited_by}"
            )

    def _decode(self, image: Image.Image, file: BinaryIO) -> Image.Image:
        if image.format == "PNG" and self.exif == "ignore" and _pixels(image) <= _QUICK:
            file.seek(0)
            if quick := _decode_png(file.read(), image.size):
                return quick
        image.load()
        # Where orientation belongs to the format, the decoders of TIFF and HEIF have turned the image by now. That of AVIF
        # notes it as EXIF's, in place of any that is there.
        turn = _turn(image) if self.exif == "apply" or image.format == "AVIF" else None
        rgb = as_rgb(image)
        return rgb if turn is None else rgb.transpose(turn)


AS_PUBLISHED = Reading()


def _pixels(image: Image.Image) -> int:
    return image.size[0] * image.size[1]


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what shows a decoded image upright. EXIF that is damaged, of a whole image, says nothing."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # SyntaxError, struct.error, ...: an image's own parser passes over it, or raises anything
        return None


def _decode_png(content: bytes, size: tuple[int, int]) -> Image.Image | None:
    """Return the image of a PNG file, or None where Pillow has to say what it is."""
    mode = _QUICK_PNG.get(content[24:26])
    if mode is None:
        return None
    try:
        pixels = np.asarray(decode_image_png_u8(content, size[::-1], mode))
    except Exception:  # the decoder's one type for all faults
        return None
    return Image.fromarray(pixels[..., 0] if mode == "mono" else pixels[..., :3])


@contextmanager
def _opened(path: Path | str) -> Iterator[BinaryIO]:
    """Open the file at `path`. What the system refuses says nothing about the image, and stops the job."""
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise InputError(f"{path}: the image does not exist") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be opened ({reason}); expected an image file") from error
    with file:
        yield file


def is_over_another_limit(reason: str, max_pixels: int) -> bool:
    """Return whether `reason` says that an image is invalid for a limit of pixels other than `max_pixels`."""
    return reason.endswith(_BY_LIMIT) and not reason.endswith(f" {max_pixels}{_BY_LIMIT}")


@contextmanager
def _short_memory_as_input_error(path: Path | str) -> Iterator[None]:
    """Stop the job where memory is short, when an image is decoded or used: that says nothing about the image."""
    try:
        yield
    except MemoryError as error:
        raise InputError(
            f"{path}: not enough memory to decode it; expected more, or a smaller value of the config key max_pixels"
        ) from error


@contextmanager
def _faults_as_unreadable(path: Path | str) -> Iterator[None]:
    """Raise UnreadableImage for what a decoder raises."""
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        is_empty = not Path(path).stat().st_size
        raise UnreadableImage("the file is empty" if is_empty else "no image in a format that is read here") from error
    # Decoders raise whatever their parsers trip over (OSError, SyntaxError, struct.error, ValueError, ...): all of it
    # says one thing here, that these bytes are no whole image.
    except Exception as error:
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error
