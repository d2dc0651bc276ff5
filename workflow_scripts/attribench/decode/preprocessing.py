"""From an image file to the pixels that a network sees: decode, resize the short side, crop the centre."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from attribench.common.errors import InputError
from attribench.decode.reading import AS_PUBLISHED, Reading

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
_TEXT = re.compile(rf"^({'|'.join(INTERPOLATIONS)})-(squash)?(\d+)-(\d+)$")
# Pixels of a whole image after resizing. Of one that is far longer than wide, only the part that is cut out is resized.
_MAX_RESIZED = 1 << 26


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


def load_pixels(
    path: Path | str, preprocessings: Sequence[Preprocessing], reading: Reading = AS_PUBLISHED
) -> list[np.ndarray]:
    """Decode the image at `path` once, for all of `preprocessings`: for each, uint8 [crop, crop, 3], RGB.

    Raises UnreadableImage for a file that cannot be decoded, and InputError for one that is not there or cannot be read.
    """
    with reading.image(path) as image:
        return [_fit(image, preprocessing) for preprocessing in preprocessings]


def _fit(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and crop an image of mode RGB or L; return it in RGB. Sizes and offsets are rounded as torchvision rounds them,
    for features equal to the published ones.
    """
    width, height = image.size
    short, long = min(width, height), max(width, height)
    scaled_long = preprocessing.resize if preprocessing.squash else int(preprocessing.resize * long / short)
    size = (preprocessing.resize, scaled_long) if width <= height else (scaled_long, preprocessing.resize)
    crop = preprocessing.crop
    left, top = round((size[0] - crop) / 2.0), round((size[1] - crop) / 2.0)
    part = (left, top, left + crop, top + crop)
    resampling = Image.Resampling[preprocessing.interpolation.upper()]
    if size == image.size:
        image = image.crop(part)
    elif _is_exact(image.size, size) or size[0] * size[1] > _MAX_RESIZED:
        scales = (width / size[0], height / size[1]) * 2
        image = image.resize((crop, crop), resampling, tuple(s * side for s, side in zip(scales, part, strict=True)))
    else:
        image = image.resize(size, resampling).crop(part)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _is_exact(size: tuple[int, int], resized: tuple[int, int]) -> bool:
    """Return whether the part that is cut out may be resized alone, which gives the same to the last bit.

    It does in a square image whose sides' ratio has few bits, as that of 512 and 256 has: Pillow's floats then hold, without
    rounding, where each new pixel lies. In others, Pillow may resize the two sides in another order, and round otherwise.
    """
    (side, other), new = size, resized[0]
    return side == other and side < 1 << 16 and (side << 8) % new == 0
