"""Provide what painters share: seeded generators, coordinate grids, smooth noise, softening and colour arithmetic."""

from functools import lru_cache

import numpy as np
from PIL import Image


def generator(*numbers: int) -> np.random.Generator:
    """Return a generator that depends on the whole `numbers` and on nothing else."""
    return np.random.default_rng(np.random.SeedSequence([int(number) for number in numbers]))


@lru_cache(maxsize=4)
def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel centres (y, x), each float32 [size, size] in units of the image side."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    y.setflags(write=False)
    x.setflags(write=False)
    return y, x


def resized(array: np.ndarray, size: int, how: Image.Resampling = Image.Resampling.BICUBIC) -> np.ndarray:
    """Scale float32 [h, w] to [size, size]."""
    image = Image.fromarray(np.ascontiguousarray(array, np.float32))
    return np.asarray(image.resize((size, size), how))


def noise(rng: np.random.Generator, size: int, cells: float, octaves: int = 1) -> np.ndarray:
    """Draw smooth noise, float32 [size, size] about 0.

    There are `cells` bumps a side, of about 1 in height; each further octave doubles the bumps and halves their height.
    """
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        count = int(np.clip(cells * 2**octave, 2, size))
        total += resized(rng.standard_normal((count + 2, count + 2), np.float32), size) * 0.5**octave
    return total


def grain(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw white noise, float32 [size, size, 1], uniform in -1..1."""
    return rng.random((size, size, 1), np.float32) * 2 - 1


def soften(array: np.ndarray, radius: float) -> np.ndarray:
    """Blur float32 [s, s] over about `radius` pixels."""
    size = array.shape[0]
    small = max(2, round(size / max(radius, 1.0)))
    return resized(resized(array, small, Image.Resampling.BOX), size)


def soften_colour(rgb: np.ndarray, radius: float) -> np.ndarray:
    """Blur float32 [s, s, 3] over about `radius` pixels, channel by channel."""
    return np.stack([soften(rgb[..., channel], radius) for channel in range(3)], axis=-1)


def luma(rgb: np.ndarray) -> np.ndarray:
    """Return the perceived brightness of float32 [..., 3], in 0..1."""
    return rgb[..., 0] * np.float32(0.299) + rgb[..., 1] * np.float32(0.587) + rgb[..., 2] * np.float32(0.114)


def slope(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the central differences (dy, dx) of float32 [s, s], per pixel, 0 at the border."""
    dy = np.zeros_like(array)
    dx = np.zeros_like(array)
    dy[1:-1] = (array[2:] - array[:-2]) * 0.5
    dx[:, 1:-1] = (array[:, 2:] - array[:, :-2]) * 0.5
    return dy, dx


def smoothstep(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map values below `low` to 0 and above `high` to 1, smoothly between."""
    t = np.clip((array - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray | float) -> np.ndarray:
    """Blend linearly: `first` where `weight` is 0, `second` where it is 1."""
    change = np.subtract(second, first)
    if np.ndim(weight) == 3 and change.ndim == 3 and weight.shape[-1] == 1:
        # Channel by channel: numpy is slow where a short inner axis meets one that is broadcast.
        for channel in range(change.shape[-1]):
            change[..., channel] *= weight[..., 0]
        change += first
        return change
    return first + change * weight


def to_image(rgb: np.ndarray) -> Image.Image:
    """Return float [s, s, 3] in 0..1 as an 8-bit RGB image."""
    return Image.fromarray((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8))


def from_image(image: Image.Image) -> np.ndarray:
    """Return an 8-bit RGB image as float32 [h, w, 3] in 0..1."""
    return np.asarray(image, np.float32) / 255


def rotate_hue(rgb: np.ndarray, angle: float) -> np.ndarray:
    """Turn colours [..., 3] about the grey axis by `angle` radians, with their brightness kept."""
    cos, sin = np.cos(angle), np.sin(angle)
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = cos * np.eye(3) + sin * cross + (1 - cos) * np.outer(axis, axis)
    turned = np.einsum("...c,dc->...d", rgb, turn.astype(np.float32))
    return np.clip(turned + (luma(rgb) - luma(turned))[..., None], 0, 1).astype(np.float32)
