"""PNG files of every kind: the quick decoder gives Pillow's pixels, or leaves the file to Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from attribench.decode.eight_bits import UnreadableImage
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


SIZE = 16
ROW = 1 + 3 * SIZE  # bytes of a filtered row
RAW = b"".join(b"\0" + row.tobytes() for row in np.random.default_rng(0).integers(0, 256, (SIZE, 3 * SIZE), np.uint8))
STREAM = zlib.compress(RAW)
HEADER = struct.pack(">IIBBBBB", SIZE, SIZE, 8, RGB, 0, 0, 0)
HEAD = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", HEADER)
END = chunk(b"IEND", b"")
TEXT = chunk(b"tEXt", b"a\0b")


def other_end(content):
    """Return bytes whose last four, a checksum, are other ones."""
    return content[:-4] + bytes(255 - byte for byte in content[-4:])


def with_stream(stream):
    return HEAD + chunk(b"IDAT", stream) + END


WHOLE = with_stream(STREAM)
FAULTS = {
    "none": WHOLE,
    "CRC of the header": other_end(HEAD) + WHOLE[len(HEAD) :],
    "CRC of the pixels": HEAD + other_end(chunk(b"IDAT", STREAM)) + END,
    "CRC of the last pixels": HEAD + chunk(b"IDAT", STREAM[:99]) + other_end(chunk(b"IDAT", STREAM[99:])) + END,
    "CRC of the end": other_end(WHOLE),
    "CRC of a text before": HEAD + other_end(TEXT) + WHOLE[len(HEAD) :],
    "CRC of a text after": WHOLE[:-12] + other_end(TEXT) + END,
    "CRC and Adler-32": HEAD + other_end(chunk(b"IDAT", other_end(STREAM))) + END,
    "no Adler-32": with_stream(STREAM[:-4]),
    "half a stream": with_stream(STREAM[: len(STREAM) // 2]),
    "half a row is missing": with_stream(zlib.compress(RAW[: -ROW // 2])),
    "a row is missing": with_stream(zlib.compress(RAW[:-ROW])),
    "a row too many": with_stream(zlib.compress(RAW + RAW[:ROW])),
    "bytes after the stream": with_stream(STREAM + b"abc"),
    "a chunk after the stream": WHOLE[:-12] + chunk(b"IDAT", b"abc") + END,
    "bytes after the end": WHOLE + b"abc",
    "no end": WHOLE[:-12],
    "cut in the pixels": WHOLE[:-99],
    "bytes between chunks": HEAD + b"abcd" + WHOLE[len(HEAD) :],
    "a text between pixels": HEAD + chunk(b"IDAT", STREAM[:50]) + TEXT + chunk(b"IDAT", STREAM[50:]) + END,
    "two headers": HEAD + chunk(b"IHDR", HEADER) + WHOLE[len(HEAD) :],
    "a filter that does not exist": with_stream(zlib.compress(b"\5" + RAW[1:])),
    "no zlib": with_stream(b"\x78\0" + STREAM[2:]),
    "a critical chunk that is not known": HEAD + chunk(b"ABCD", b"x") + WHOLE[len(HEAD) :],
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_what_it_is_to_pillow(tmp_path, fault):
    """Only a wrong Adler-32 behind right CRCs, which no damage makes, is seen by Pillow alone."""
    (tmp_path / "a.png").write_bytes(FAULTS[fault])
    try:
        with AS_PUBLISHED.image(tmp_path / "a.png") as image:
            made = np.asarray(image)
    except UnreadableImage:
        made = None
    np.testing.assert_array_equal(made, pillows(FAULTS[fault]))
