"""PNG files of every kind: the quick decoder gives Pillow's pixels, or leaves the file to Pillow."""

import io
import struct
import zlib

import numpy as np
from attribench.decode.reading import AS_PUBLISHED, _decode_png
from helpers.png import CHANNELS, DEPTHS, GREY, PALETTE, RGB, RGBA, chunk, png, with_checksums
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

# Chunks that say how colours are to be shown, which no number of a pixel depends on, and chunks that are not known.
ANCILLARY = {
    "gAMA": struct.pack(">I", 100_000),
    "sRGB": b"\0",
    "cHRM": struct.pack(">8I", *range(10_000, 90_000, 10_000)),
    "cICP": b"\x09\x10\0\1",
    "pHYs": struct.pack(">IIB", 1, 2, 1),
    "tEXt": b"a\0b",
    "zTXt": b"a\0\0" + zlib.compress(b"b" * 999),
    "iCCP": b"a\0\0" + zlib.compress(bytes(999)),
    "eXIf": b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0",
    "acTL": struct.pack(">II", 1, 0),
    "prVt": b"anything",
}
TRANSPARENT = {GREY: b"\0\1", RGB: b"\0\1\0\2\0\3", PALETTE: bytes([0, 128])}


@st.composite
def files(draw):
    """Draw a PNG file: its bytes, colour type and depth."""
    colour = draw(st.sampled_from([*DEPTHS]))
    depth = draw(st.sampled_from(DEPTHS[colour]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (draw(st.integers(1, 20)), draw(st.integers(1, 20)), CHANNELS[colour])
    samples = rng.integers(0, 2 ** draw(st.integers(1, depth)), shape)
    before = b"".join(chunk(name.encode(), ANCILLARY[name]) for name in draw(st.sets(st.sampled_from([*ANCILLARY]))))
    if colour == PALETTE:
        before += chunk(b"PLTE", rng.integers(0, 256, 3 * 2**depth, np.uint8).tobytes())
    if colour in TRANSPARENT and draw(st.booleans()):
        before += chunk(b"tRNS", TRANSPARENT[colour])
    after = chunk(b"tIME", bytes(7)) if draw(st.booleans()) else b""
    interlaced = draw(st.booleans())
    return png(samples, colour, depth, interlaced=interlaced, before=before, after=after, seed=shape[0]), colour, depth


def pillows(content):
    """Return what Pillow makes of a file, uint8 [h, w, 3], or None where it refuses it."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            grey16 = image.mode.startswith("I;16")
            return np.asarray(
                (Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if grey16 else image).convert("RGB")
            )
    except Exception:
        return None


@settings(max_examples=300, deadline=None)
@given(file=files())
def test_every_kind_has_pillows_pixels(tmp_path_factory, file):
    content, colour, depth = file
    path = tmp_path_factory.getbasetemp() / "kind.png"
    path.write_bytes(content)
    expected = pillows(content)
    with AS_PUBLISHED.image(path) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), expected)
    quick = _decode_png(content, expected.shape[1::-1])
    assert (quick is not None) == (depth == 8 and colour in (GREY, RGB, RGBA))


@settings(max_examples=300, deadline=None)
@given(file=files(), data=st.data())
def test_no_damage_makes_other_pixels(file, data):
    """Whatever the damage is: where the quick decoder gives pixels and Pillow does, they are the same."""
    content = bytearray(file[0])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(30, len(content)))])
    if data.draw(st.booleans()):  # else it is mostly a checksum that says that there is damage
        content = with_checksums(content)
    expected = pillows(content)
    if expected is not None and (quick := _decode_png(content, expected.shape[1::-1])):
        np.testing.assert_array_equal(np.asarray(quick.convert("RGB")), expected)
