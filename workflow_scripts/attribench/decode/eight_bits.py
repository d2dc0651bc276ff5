"""From any of Pillow's modes to RGB in 8 bits: the same picture, or none.

The range that a file states counts: 16 bits become their upper 8, 12 bits theirs. Floats are pictures from 0 to 1. Where a
file states no range (32-bit and signed integers, other floats), a picture can only be guessed, so there is none.
"""

import numpy as np
from PIL import Image, TiffImagePlugin

_STATE_16_BITS = {"PNG", "TIFF", "JPEG2000", "IM"}  # formats whose values of up to 16 bits have no sign
_WHITE_IS_ZERO = 0  # the value of TIFF's tag PhotometricInterpretation
_PLANES = 2  # the value of TIFF's tag PlanarConfiguration
_BIG_ENDIAN = b"MM"  # how such a TIFF file begins
_SIGNED = 2  # a value of TIFF's tag SampleFormat


class UnreadableImage(Exception):
    """Say that a file is there but is no image that can be decoded whole; the text is the reason."""


def as_rgb(image: Image.Image) -> Image.Image:
    """Return `image` in RGB, or in L where it is grey. Transparency is dropped, as in the published benchmark.

    Raises UnreadableImage where the range of its values is not known.
    """
    mode = image.mode
    if reason := _misread(image):
        raise UnreadableImage(f"{reason}, which Pillow misreads")
    if mode.startswith("I;16"):
        return _grey(image, _upper_bits(image))
    if mode == "I":
        return _grey(image, _wide_integers(image))
    if mode == "F":
        return _grey(image, _fractions(image))
    if _is_signed(image):
        raise UnreadableImage("signed 8-bit integers have no range that is known; expected unsigned ones")
    if mode in ("L", "RGB"):
        return image
    image.info.pop("transparency", None)  # Pillow would warn that it is dropped
    if mode == "La":  # grey with its alpha multiplied in, which Pillow converts in two steps
        image = image.convert("LA")
    return image.convert("L" if mode in ("1", "LA", "La") else "RGB")


def _is_signed(image: Image.Image) -> bool:
    """Return whether Pillow took signed samples of 8 bits for unsigned ones, as it does in TIFF files."""
    is_tiff = isinstance(image, TiffImagePlugin.TiffImageFile)
    return is_tiff and _SIGNED in image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, ())


def _misread(image: Image.Image) -> str:
    """Return what a TIFF file holds that Pillow takes for something else without an error; an empty text for none of it."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return ""
    tags, is_compressed = image.tag_v2, image.info.get("compression") != "raw"
    bits, palette = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)), tags.get(TiffImagePlugin.COLORMAP, ())
    if tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == _PLANES and len(bits) > 1:
        if max(bits) > 8 and not is_compressed:  # taken for 8-bit values
            return "16-bit values in planes that are not compressed"
        if image.mode == "LAB":
            return "CIELAB in planes"
    if image.mode == "F" and is_compressed and tags.prefix == _BIG_ENDIAN:  # whose bytes are swapped twice
        return "compressed big-endian floats"
    if image.mode == "P" and 0 < max(palette, default=0) < 256:  # all nearly black, in a palette of 16-bit values
        return "a palette of 8-bit values"
    return ""


def _grey(image: Image.Image, values: np.ndarray) -> Image.Image:
    """Return `values`, uint8 [h, w], as an image. Of 8 bits, Pillow turns TIFF's negatives itself."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    is_negative = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    return Image.fromarray(255 - values if is_negative else values)


def _upper_bits(image: Image.Image) -> np.ndarray:
    if image.format not in _STATE_16_BITS:
        raise UnreadableImage(f"16-bit values of {image.format} have no range that is known; expected 8 bits")
    bits = 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        [bits] = image.tag_v2[TiffImagePlugin.BITSPERSAMPLE]
    return (np.asarray(image) >> (bits - 8)).astype(np.uint8)


def _wide_integers(image: Image.Image) -> np.ndarray:
    if image.format != "PPM":  # whose values Pillow scales to 16 bits
        low, high = image.getextrema()
        raise UnreadableImage(
            f"32-bit or signed integers, here from {low} to {high}, have no range that is known; expected 8 or 16 bits"
        )
    return (np.asarray(image) >> 8).astype(np.uint8)


def _fractions(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise UnreadableImage(f"floats from {low:g} to {high:g}; expected 0 to 1")
    return np.rint(values * 255).astype(np.uint8)
