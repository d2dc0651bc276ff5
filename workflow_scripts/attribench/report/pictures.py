"""Pictures that are part of the page: figures with their captions, and thumbnails of images."""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from attribench.common.errors import InputError
from attribench.decode.eight_bits import UnreadableImage
from attribench.decode.reading import Reading

_LARGE_SVG = 400_000  # bytes; above it holds photographs, which take less as WebP
_FIGURE_QUALITY, _THUMBNAIL_QUALITY = 82, 75
_CSS_PIXELS = 0.75  # for a pixel of a figure's PNG
TITLES = {
    "metrics": "Metrics with intervals",
    "differences": "Which method is better, and by how much",
    "recall": "Recall over the cut-off",
    "ranks": "Ranks of the exemplars",
    "sizes": "Metrics over the size of the database",
    "variants": "Each entry by a variant, over the features as they are",
    "contact": "Queries and their nearest images",
    "comparison": "Some queries by all methods",
    "influence": "How well influence is calibrated",
    "learning_curves": "Learning curves",
}


@dataclass(frozen=True)
class Picture:
    """Hold a picture of the page: its content as a data address, what it shows in words, and how wide it is, in pixels.

    vector: the path of the same figure for print.
    """

    source: str
    alt: str
    width: int
    height: int
    title: str = ""
    caption: str = ""
    vector: str = ""


def figure_picture(stem: Path | str, name: str) -> Picture:
    """Return the figure STEM.svg, or STEM.png as WebP where that has photographs in it, with its caption STEM.txt.

    Its first sentence is the text for who cannot see the picture. Where there is no caption the title stands in for it.
    """
    title = TITLES.get(name, name.replace("_", " ").capitalize())
    text = Path(f"{stem}.txt")
    caption = " ".join(text.read_text(encoding="utf-8").split()) if text.exists() else f"{title}."
    with Image.open(f"{stem}.png") as image:
        width, height = (round(_CSS_PIXELS * side) for side in image.size)
        drawing = Path(f"{stem}.svg").read_bytes()
        if len(drawing) <= _LARGE_SVG:
            source = _address("image/svg+xml", drawing)
        else:
            source = _address("image/webp", _webp(image.convert("RGB"), _FIGURE_QUALITY))
    return Picture(source, first_sentence(caption), width, height, title, caption, f"{stem}.pdf")


def first_sentence(text: str) -> str:
    """Return `text` up to the first full stop that ends a sentence."""
    return re.split(r"(?<=[.!?])\s+(?=\S)", text, maxsplit=1)[0]


def thumbnail(path: Path, alt: str, size: int, reading: Reading) -> Picture | None:
    """Return the middle of the image at `path`, `size` pixels square; None where it is not there or cannot be read."""
    try:
        square = reading.square(path, size)
    except (UnreadableImage, InputError):
        return None
    return Picture(_address("image/webp", _webp(square, _THUMBNAIL_QUALITY)), alt, size, size)


def _webp(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, method=2)
    return out.getvalue()


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
