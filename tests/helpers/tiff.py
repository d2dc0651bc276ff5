"""TIFF files of kinds that Pillow reads and does not write."""

import struct
import zlib

import numpy as np

UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # sample formats
_TYPES = {"H": 3, "I": 4}  # of a tag's values, by their letter of `struct`
_ORDERS = {"<": b"II*\0", ">": b"MM\0*"}


def grey_tiff(values, bits, sample_format=UNSIGNED, *, white_is_zero=False, order="<", is_deflated=False):
    """Return the file of `values` [h, w], samples of 8 to 64 bits (of 12, or whole bytes)."""
    kind = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[sample_format]
    pixels = _packed_12(values) if bits == 12 else values.astype(f"{order}{kind}{bits // 8}").tobytes()
    tags = {259: ("H", [8 if is_deflated else 1]), 262: ("H", [int(not white_is_zero)]), 339: ("H", [sample_format])}
    return _file(values.shape, [bits], [zlib.compress(pixels) if is_deflated else pixels], tags, order)


def planar_tiff(values, bits=16, photometric=2):
    """Return the file of `values` [h, w, n], uncompressed, each colour in a plane of its own; photometric 8 is CIELAB."""
    planes = [plane.astype(f"<u{bits // 8}").tobytes() for plane in np.moveaxis(values, -1, 0)]
    tags = {259: ("H", [1]), 262: ("H", [photometric]), 284: ("H", [2])}
    return _file(values.shape[:2], [bits] * len(planes), planes, tags)


def palette_tiff(values, palette):
    """Return the file of `values` [h, w], rows of `palette` [256, 3], whose numbers are written as they are."""
    tags = {259: ("H", [1]), 262: ("H", [3]), 320: ("H", palette.T.ravel().tolist())}
    return _file(values.shape, [8], [values.astype(np.uint8).tobytes()], tags)


def _file(shape, bits, strips, tags, order="<"):
    """Return a file of one image: its `strips`, what tags have no place for, and the tags."""
    (height, width), content, starts = shape, bytearray(8), []
    for strip in strips:
        starts.append(len(content))
        content += strip + bytes(len(strip) % 2)
    sizes = [len(strip) for strip in strips]
    tags = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", bits), 277: ("H", [len(bits)]), **tags}
    tags |= {273: ("I", starts), 278: ("I", [height]), 279: ("I", sizes)}
    entries = b""
    for tag, (letter, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            start = struct.pack(f"{order}I", len(content))
            content += packed
            packed = start
        entries += struct.pack(f"{order}HHI", tag, _TYPES[letter], len(values)) + packed.ljust(4, b"\0")
    content[:8] = _ORDERS[order] + struct.pack(f"{order}I", len(content))
    return bytes(content) + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def _packed_12(values):
    first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)  # an even width
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8).tobytes()
