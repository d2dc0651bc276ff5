"""TIFF files of grey samples of any size: Pillow writes few of the kinds that it reads."""

import struct

import numpy as np

UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # sample formats


def grey_tiff(values, bits, sample_format=UNSIGNED, *, white_is_zero=False):
    """Return the file of `values` [h, w], samples of 8 to 64 bits (of 12, or whole bytes), uncompressed."""
    height, width = values.shape
    kind = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[sample_format]
    pixels = _packed_12(values) if bits == 12 else values.astype(f"<{kind}{bits // 8}").tobytes()
    short, long = 3, 4
    tags = [
        (256, long, width),
        (257, long, height),
        (258, short, bits),
        (259, short, 1),
        (262, short, int(not white_is_zero)),
    ]
    tags += [
        (273, long, 8),
        (277, short, 1),
        (278, long, height),
        (279, long, len(pixels)),
        (339, short, sample_format),
    ]
    entries = b"".join(struct.pack("<HHII", tag, size, 1, value) for tag, size, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)


def planar_tiff(values):
    """Return the file of `values` [h, w, 3] in 16 bits, uncompressed, each colour in a plane of its own."""
    height, width, n = values.shape
    planes = np.moveaxis(values, -1, 0).astype("<u2").tobytes()
    size, short, long = len(planes) // n, 3, 4
    first = 8 + len(planes)  # of the lists that do not fit into a tag
    lists = struct.pack("<3H", 16, 16, 16) + struct.pack("<3I", *(8 + i * size for i in range(n)))
    lists += struct.pack("<3I", *[size] * n)
    tags = [(256, long, 1, width), (257, long, 1, height), (258, short, n, first), (259, short, 1, 1)]
    tags += [(262, short, 1, 2), (273, long, n, first + 6), (277, short, 1, n), (278, long, 1, height)]
    tags += [(279, long, n, first + 18), (284, short, 1, 2)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", first + 30) + planes + lists + struct.pack("<H", len(tags)) + entries + bytes(4)


def _packed_12(values):
    first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)  # an even width
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8).tobytes()
