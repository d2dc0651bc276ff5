"""A picture before it is coloured: each pixel has a slot, a tone, and a blend of the slot's two colours."""

import numpy as np
from PIL import Image, ImageDraw

from attribench.sample.colours import SKY, SLOTS
from attribench.sample.fields import from_image, grid, mix

SUPERSAMPLE = 2


class Canvas:
    """Hold a picture in slots, drawn at twice its size: halving them smooths every outline.

    A slot is a number that stands for a colour, which is chosen later. Positions are in units of the picture's side, y
    downwards.
    labels: 8-bit image [2 size, 2 size] of slots. tone: float32 [size, size], -1 darkest to 1 lightest, 0 the slot's own
    colour. blend: float32 [size, size], 0 the slot's first colour to 1 its second.
    """

    def __init__(self, size: int):
        self.size = size
        self.labels = Image.new("L", (size * SUPERSAMPLE,) * 2, SKY)
        self.pen = ImageDraw.Draw(self.labels)
        self.tone = np.zeros((size, size), np.float32)
        self.blend = np.zeros((size, size), np.float32)
        self.y, self.x = grid(size)

    def _pixels(self, points) -> list[tuple[float, float]]:
        scaled = np.asarray(points, np.float64) * (self.size * SUPERSAMPLE)
        return list(map(tuple, scaled.tolist()))

    def polygon(self, points, slot: int) -> None:
        """Fill the polygon of (x, y) points."""
        self.pen.polygon(self._pixels(points), fill=slot)

    def line(self, points, width: float, slot: int) -> None:
        """Draw a polyline `width` wide."""
        pixels = max(1, round(width * self.size * SUPERSAMPLE))
        self.pen.line(self._pixels(points), fill=slot, width=pixels, joint="curve")

    def box(self, x0: float, y0: float, x1: float, y1: float, slot: int) -> None:
        """Fill an upright rectangle, given by two corners in any order."""
        corners = [(min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))]
        self.pen.rectangle(self._pixels(corners), fill=slot)

    def disc(self, x: float, y: float, rx: float, ry: float, slot: int) -> None:
        """Fill an upright ellipse about (x, y)."""
        self.pen.ellipse(self._pixels([(x - rx, y - ry), (x + rx, y + ry)]), fill=slot)

    def hill(self, ridge: np.ndarray, slot: int, light: float, fall: float, sun_x: float = 0.5) -> None:
        """Fill all below a ridge, given as heights [n] spaced evenly from left to right.

        The tone is `light` at the ridge and changes by `fall` per side length downwards; slopes towards `sun_x` are lighter.
        """
        xs = np.linspace(0, 1, len(ridge))
        self.polygon([(0, 1.01), *zip(xs, ridge, strict=True), (1, 1.01)], slot)
        columns = np.interp(self.x[0], xs, ridge).astype(np.float32)
        depth = self.y - columns
        steep = np.convolve(np.pad(np.gradient(columns), 6, mode="edge"), np.ones(13) / 13, "valid")
        facing = np.clip(steep * self.size * 0.8, -1, 1) * np.sign(self.x[0] - sun_x)
        inside = depth > 0
        tone = light + fall * depth - 0.35 * facing * np.exp(-np.maximum(depth, 0) * 9)
        np.copyto(self.tone, tone, where=inside)
        np.copyto(self.blend, np.clip(0.7 - 2.5 * depth, 0, 1), where=inside)

    def tone_box(self, x0: float, y0: float, x1: float, y1: float, tone: float) -> None:
        """Set the tone of an upright rectangle."""
        rows, columns = (slice(*(int(np.clip(v, 0, 1) * self.size) for v in pair)) for pair in ((y0, y1), (x0, x1)))
        self.tone[rows, columns] = tone

    def slots(self) -> np.ndarray:
        """Return the slot of each pixel, uint8 [size, size]."""
        return np.asarray(self.labels)[::SUPERSAMPLE, ::SUPERSAMPLE]

    def mirror(self) -> None:
        """Flip left and right."""
        self.labels = self.labels.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        self.pen = ImageDraw.Draw(self.labels)
        self.tone, self.blend = self.tone[:, ::-1].copy(), self.blend[:, ::-1].copy()

    def _lookup(self, table: np.ndarray) -> np.ndarray:
        colours = Image.fromarray(np.asarray(self.labels))
        colours.putpalette((np.clip(table[:SLOTS], 0, 1) * 255 + 0.5).astype(np.uint8).tobytes())
        return from_image(colours.convert("RGB").reduce(SUPERSAMPLE))

    def coloured(self, first: np.ndarray, second: np.ndarray, light, dark, contrast: float = 0.6) -> np.ndarray:
        """Return the picture in colour, float32 [size, size, 3] in 0..1.

        first, second: each slot's two colours [SLOTS, 3]. light, dark: the colours [3] that tones move towards.
        """
        rgb = mix(self._lookup(first), self._lookup(second), self.blend[..., None])
        tone = np.clip(self.tone * np.float32(contrast), -0.95, 0.95)[..., None]
        rgb = mix(rgb, np.asarray(light, np.float32), np.maximum(tone, 0))
        return mix(rgb, np.asarray(dark, np.float32), np.maximum(-tone, 0))
