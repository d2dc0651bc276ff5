"""PNG files of every kind, written sample by sample: Pillow writes few of the kinds that it reads."""

import struct
import zlib

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
# Of an interlaced image: the first row and column of each pass, and its steps.
_ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(name, content):
    """Return a chunk's bytes."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples, colour, depth, *, interlaced=False, before=b"", after=b"", seed=0):
    """Return the PNG file of `samples`, int [h, w, channels] below 2 ** depth, whose rows have filters by chance.

    before, after: chunks before the pixels and after them.
    """
    height, width, _ = samples.shape
    rng = np.random.default_rng(seed)
    passes = [samples[top::down, left::right] for top, left, down, right in _ADAM7] if interlaced else [samples]
    raw = b"".join(_filtered(part, depth, rng) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = zlib.compress(raw)
    half = len(body) // 2  # readers have to join them
    data = chunk(b"IDAT", body[:half]) + chunk(b"IDAT", body[half:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + after + chunk(b"IEND", b"")


def with_checksums(content):
    """Return a file with the right checksum for each chunk, as far as its chunks are whole."""
    content, position = bytearray(content), 8
    while position + 12 <= len(content):
        end = position + 8 + int.from_bytes(content[position : position + 4], "big")
        if end + 4 > len(content):
            break
        content[end : end + 4] = struct.pack(">I", zlib.crc32(content[position + 4 : end]))
        position = end + 4
    return bytes(content)


def _filtered(samples, depth, rng):
    """Return the rows as a PNG file has them: packed, each with a filter and its number before it."""
    height, _, channels = samples.shape
    flat = samples.reshape(height, -1)
    if depth == 16:
        rows = flat.astype(">u2").view(np.uint8).reshape(height, -1)
    else:
        bits = (flat[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    step = max(1, channels * depth // 8)  # bytes from a sample to the same one of the next pixel
    above = np.zeros_like(rows[0])
    out = []
    for row in rows:
        left, corner = (np.concatenate([np.zeros(step, np.uint8), line])[: len(row)] for line in (row, above))
        kind = int(rng.integers(5))
        predicted = [0, left, above, (left.astype(int) + above) // 2, _paeth(left, above, corner)][kind]
        out.append(bytes([kind]) + (row.astype(int) - predicted).astype(np.uint8).tobytes())
        above = row
    return b"".join(out)


def _paeth(left, above, corner):
    """Return for each byte the neighbour that is nearest to left + above - corner."""
    neighbours = np.stack([left, above, corner]).astype(int)
    estimate = neighbours[0] + neighbours[1] - neighbours[2]
    return np.take_along_axis(neighbours, np.abs(neighbours - estimate).argmin(0)[None], 0)[0]
