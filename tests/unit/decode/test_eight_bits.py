"""Every mode of Pillow and every number of bits: the same picture in 8 bits, or none and the reason."""

import io

import numpy as np
import pytest
from attribench.decode.eight_bits import UnreadableImage, as_rgb
from attribench.decode.preprocessing import Preprocessing, load_pixels
from helpers.png import GREY, GREY_ALPHA, RGB, RGBA, png
from helpers.tiff import FLOAT, SIGNED, UNSIGNED, grey_tiff, palette_tiff, planar_tiff
from PIL import Image

WHOLE = Preprocessing(64, 64, "nearest")  # of a picture of this size, nothing is changed
GREYS = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (64, 1))
COLOURS = np.stack([GREYS, GREYS.T, GREYS[::-1, ::-1] // 2], axis=-1)
WIDE = GREYS.astype(int) * 257  # in 16 bits


def in_mode(mode):
    """Return a picture in a mode of Pillow, and what it is in RGB."""
    if mode.startswith("I;16"):
        dtype = ">u2" if mode.endswith("B") else "<u2"
        image = Image.frombytes(mode, (64, 64), WIDE.astype(dtype).tobytes())
        image.format = "PNG"
        return image, np.stack([GREYS] * 3, axis=-1)
    if mode == "F":
        return Image.fromarray((GREYS / 255).astype(np.float32)), np.stack([GREYS] * 3, axis=-1)
    image = Image.fromarray(COLOURS)
    if mode in ("1", "P", "PA"):  # which have few colours
        image = image.quantize(2 if mode == "1" else 200).convert("RGB")
        expected = image.convert("1", dither=Image.Dither.NONE) if mode == "1" else image
        made = image.convert(mode, dither=Image.Dither.NONE) if mode == "1" else image.quantize(256).convert(mode)
        return made, np.asarray(expected.convert("RGB"))
    if mode in ("L", "LA", "La", "I"):
        image = image.convert("L")
    made = image.convert("LA").convert("La") if mode == "La" else image.convert(mode)
    return made, np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_mode_is_the_same_picture_or_none(mode):
    """Colours that a mode computes, as LAB and HSV do, are off by their rounding."""
    image, expected = in_mode(mode)
    if mode == "I":
        with pytest.raises(
            UnreadableImage, match="32-bit or signed integers, here from 14 to 226, .* expected 8 or 16 bits"
        ):
            as_rgb(image)
        return
    made = as_rgb(image)
    assert made.mode in ("L", "RGB")
    off = np.abs(np.asarray(made.convert("RGB"), int) - expected)
    assert off.mean() < 2 and off.max() <= {"LAB": 40, "HSV": 12, "YCbCr": 4}.get(mode, 1), (off.mean(), off.max())


def saved(image, kind, **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def wide(colour, channels):
    """Return a PNG file of 16 bits a sample, whose first channels are the picture."""
    return png(
        np.concatenate([channels * 257, np.full((64, 64, 1), 65535)], axis=-1)[..., : {0: 1, 2: 3, 4: 2, 6: 4}[colour]],
        colour,
        16,
    )


SIXTEEN = Image.fromarray(WIDE.astype(np.uint16))
SAME_PICTURE = {
    "16.png": wide(GREY, GREYS[..., None].astype(int)),
    "16-alpha.png": wide(GREY_ALPHA, GREYS[..., None].astype(int)),
    "16-rgb.png": wide(RGB, COLOURS.astype(int)),
    "16-rgba.png": wide(RGBA, COLOURS.astype(int)),
    "16.tif": saved(SIXTEEN, "TIFF"),
    "16-lzw.tif": saved(SIXTEEN, "TIFF", compression="tiff_lzw"),
    "16-big-endian.tif": saved(Image.frombytes("I;16B", (64, 64), WIDE.astype(">u2").tobytes()), "TIFF"),
    "16-negative.tif": grey_tiff(65535 - WIDE, 16, white_is_zero=True),
    "12.tif": grey_tiff(WIDE >> 4, 12),
    "16.jp2": saved(SIXTEEN, "JPEG2000"),
    "16.pgm": b"P5 64 64 65535\n" + WIDE.astype(">u2").tobytes(),
    "10.pgm": b"P5 64 64 1023\n" + np.rint(GREYS / 255 * 1023).astype(">u2").tobytes(),
    "16.ppm": b"P6 64 64 65535\n" + (COLOURS.astype(int) * 257).astype(">u2").tobytes(),
    "float.tif": grey_tiff(GREYS / 255, 32, FLOAT),
    "float-negative.tif": grey_tiff(1 - GREYS / 255, 32, FLOAT, white_is_zero=True),
    "float-big-endian.tif": grey_tiff(GREYS / 255, 32, FLOAT, order=">"),
    "float-deflate.tif": grey_tiff(GREYS / 255, 32, FLOAT, is_deflated=True),
    "palette.tif": palette_tiff(GREYS, np.repeat(np.arange(256)[:, None] * 257, 3, 1)),
    "float.pfm": b"Pf\n64 64\n-1.0\n" + (GREYS[::-1] / 255).astype("<f4").tobytes(),
}  # fmt: skip
FITS_HEADER = ("SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 64", "NAXIS2  = 64", "END")
FITS = "".join(line.ljust(80) for line in FITS_HEADER).ljust(2880).encode() + WIDE.astype(">u2").tobytes()
NO_PICTURE = {
    "int8.tif": (grey_tiff(GREYS.astype(int) - 128, 8, SIGNED), "signed 8-bit integers have no range that is known"),
    "int16.tif": (grey_tiff(GREYS, 16, SIGNED), "signed integers, here from 0 to 255"),
    "int32.tif": (grey_tiff(WIDE, 32, SIGNED), "32-bit or signed integers, here from 0 to 65535"),
    "uint32.tif": (grey_tiff(WIDE << 16, 32, UNSIGNED), "32-bit or signed integers"),
    "float-255.tif": (grey_tiff(GREYS, 32, FLOAT), "floats from 0 to 255; expected 0 to 1"),
    "float-negative-values.tif": (grey_tiff(GREYS / 255 - 0.5, 32, FLOAT), "floats from -0.5 to 0.5"),
    "nan.tif": (grey_tiff(np.where(GREYS > 9, GREYS / 255, np.nan), 32, FLOAT), "floats from nan"),
    "float16.tif": (grey_tiff(GREYS / 255, 16, FLOAT), "no image in a format that is read here"),
    "float64.tif": (grey_tiff(GREYS / 255, 64, FLOAT), "no image in a format that is read here"),
    "infinite.tif": (grey_tiff(np.where(GREYS > 9, GREYS / 255, np.inf), 32, FLOAT), "floats from .* to inf"),
    "planes.tif": (planar_tiff(COLOURS.astype(int) * 257), "16-bit values in planes .* which Pillow misreads"),
    "lab-planes.tif": (planar_tiff(COLOURS, 8, 8), "CIELAB in planes, which Pillow misreads"),
    "big-endian-float.tif": (
        grey_tiff(GREYS / 256, 32, FLOAT, order=">", is_deflated=True), "compressed big-endian floats, which Pillow misreads"
    ),
    "palette.tif": (palette_tiff(GREYS, np.repeat(np.arange(256)[:, None], 3, 1)), "a palette of 8-bit values"),
    "16.fits": (FITS, "16-bit values of FITS have no range that is known"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME_PICTURE)
def test_more_than_8_bits_are_the_same_picture(tmp_path, name):
    (tmp_path / name).write_bytes(SAME_PICTURE[name])
    expected = COLOURS if "rgb" in name or name.endswith("ppm") else np.stack([GREYS] * 3, axis=-1)
    [made] = load_pixels(tmp_path / name, [WHOLE])
    assert np.abs(made.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", NO_PICTURE)
def test_values_without_a_known_range_are_refused(tmp_path, name):
    content, reason = NO_PICTURE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason):
        load_pixels(tmp_path / name, [WHOLE])


@pytest.mark.parametrize("n", range(8))
def test_every_grey_is_the_same_in_16_bits(tmp_path, n):
    """Whatever the lower byte is."""
    values = np.arange(65536).reshape(256, 256)[:, n::8]
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a.png")
    [made] = load_pixels(tmp_path / "a.png", [Preprocessing(32, 32, "nearest", squash=True)])
    wanted = Image.fromarray((values >> 8).astype(np.uint8)).resize((32, 32), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(made[..., 0], np.asarray(wanted))
