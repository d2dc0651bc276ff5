"""From an image file to the pixels that a network sees: decode, resize the short side, crop the centre."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from attribench.common.errors import InputError

_TEXT = re.compile(r"^(nearest|bilinear|bicubic|lanczos)-(squash)?(\d+)-(\d+)$")


@dataclass(frozen=True)
class Preprocessing:
    """Resize the short side to `resize` pixels with `interpolation`, then cut a centred square of `crop` pixels.

    With `squash`, both sides become `resize` pixels: the aspect ratio is lost, not the ends. What follows (scaling
    and normalization) belongs to the extractor, so that extractors share decoded pixels.
    """

    resize: int
    crop: int
    interpolation: str
    squash: bool = False

    def __post_init__(self):
        if self.crop > self.resize:
            raise InputError(f"preprocessing {self}: crop {self.crop} is larger than resize {self.resize}")

    def __str__(self) -> str:
        """Return the canonical text, which names a dataset in a pixel shard and is the input of `parse`."""
        return f"{self.interpolation}-{'squash' * self.squash}{self.resize}-{self.crop}"

    @classmethod
    def parse(cls, text: str) -> "Preprocessing":
        """Return the preprocessing whose canonical text is `text`. Raises InputError for any other text."""
        match = _TEXT.match(text)
        if not match:
            raise InputError(f"preprocessing {text!r}: expected INTERPOLATION-RESIZE-CROP, such as bicubic-256-224")
        return cls(int(match[3]), int(match[4]), match[1], bool(match[2]))


class UnreadableImage(Exception):
    """Say that a file is there but is no image that can be decoded whole; the text is the reason."""


def load_pixels(path: Path | str, preprocessings: Sequence[Preprocessing]) -> list[np.ndarray]:
    """Decode the image at `path` once, for all of `preprocessings`: for each, uint8 [crop, crop, 3], RGB.

    Any colour mode is converted to RGB; the EXIF orientation is not applied, as in the published benchmark. Raises
    UnreadableImage for a file that cannot be decoded, and InputError for one that is not there.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: the image does not exist")
    try:
        with Image.open(path) as image:
            whole = image.convert("RGB")
        return [_fit(whole, preprocessing) for preprocessing in preprocessings]
    # Decoders raise whatever their parsers trip over (OSError, SyntaxError, struct.error, ValueError, ...): all of it
    # says one thing here, that these bytes are no whole image.
    except Exception as error:
        raise UnreadableImage(f"{type(error).__name__}: {error}".replace(str(path), Path(path).name)) from error


def _fit(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and crop an RGB image. Sizes and offsets are rounded as torchvision rounds them, for features equal to the
    published ones.
    """
    width, height = image.size
    short, long = min(width, height), max(width, height)
    scaled_long = preprocessing.resize if preprocessing.squash else int(preprocessing.resize * long / short)
    size = (preprocessing.resize, scaled_long) if width <= height else (scaled_long, preprocessing.resize)
    if size != image.size:
        image = image.resize(size, Image.Resampling[preprocessing.interpolation.upper()])
    crop = preprocessing.crop
    left, top = round((size[0] - crop) / 2.0), round((size[1] - crop) / 2.0)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))
