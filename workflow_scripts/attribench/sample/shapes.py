"""The object classes: each function draws an instance `s` from eight numbers `p` in 0..1.

An object's own coordinates are x and y in -1..1, y downwards; it stands on y = 1.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from attribench.sample.colours import ACCENT, BODY, DARK, LIGHT, PATTERN, TRIM


class Sketch:
    """Draw slots + 1 on an 8-bit layer (0: nothing there), in the object's own coordinates."""

    def __init__(self, pixels: int, centre: tuple[float, float], scale: float, angle: float, flip: bool):
        self.layer = Image.new("L", (pixels, pixels), 0)
        self.pen = ImageDraw.Draw(self.layer)
        cos, sin = np.cos(angle) * scale * pixels, np.sin(angle) * scale * pixels
        side = -1.0 if flip else 1.0
        self.turn = np.array([[cos * side, sin * side], [-sin, cos]])
        self.offset = np.array(centre) * pixels
        self.unit = scale * pixels

    def _pixels(self, points) -> list[tuple[float, float]]:
        return list(map(tuple, (np.asarray(points, np.float64) @ self.turn + self.offset).tolist()))

    def poly(self, points, slot: int) -> None:
        """Fill a polygon."""
        self.pen.polygon(self._pixels(points), fill=slot + 1)

    def blob(self, x: float, y: float, rx: float, ry: float, slot: int, lean: float = 0.0) -> None:
        """Fill an ellipse, turned by `lean` radians."""
        t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        u, v = rx * np.cos(t), ry * np.sin(t)
        self.poly(np.stack([x + u * np.cos(lean) - v * np.sin(lean), y + u * np.sin(lean) + v * np.cos(lean)], 1), slot)

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, slot: int, start=0.0, stop=1.0) -> None:
        """Stroke part of an ellipse; `start` and `stop` are turns, clockwise from the right."""
        t = np.linspace(start, stop, 36) * 2 * np.pi
        self.stroke(np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1), width, slot)

    def stroke(self, points, width: float, slot: int) -> None:
        """Stroke a polyline with round ends."""
        pixels = self._pixels(points)
        thick = max(1, round(width * self.unit))
        self.pen.line(pixels, fill=slot + 1, width=thick, joint="curve")
        half = thick / 2
        for x, y in (pixels[0], pixels[-1]):
            self.pen.ellipse((x - half, y - half, x + half, y + half), fill=slot + 1)

    def box(self, x0: float, y0: float, x1: float, y1: float, slot: int) -> None:
        """Fill a rectangle."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], slot)

    def lathe(self, heights, radii, slot: int) -> None:
        """Fill a smooth shape, symmetric about x = 0, through points at (radius, height) from top to bottom."""
        knots = np.linspace(0, 1, len(heights))
        t = np.linspace(0, 1, 48)
        fine = np.convolve(np.pad(np.interp(t, knots, radii), 3, mode="edge"), np.ones(7) / 7, "valid")
        y = np.interp(t, knots, heights)
        self.poly(np.concatenate([np.stack([-fine, y], 1), np.stack([fine, y], 1)[::-1]]), slot)


def _span(p: float, low: float, high: float) -> float:
    return low + (high - low) * p


def mug(s: Sketch, p: np.ndarray) -> None:
    """Draw a cup with an ear; width, taper, ear and saucer vary."""
    wide, taper = _span(p[0], 0.42, 0.72), _span(p[1], -0.18, 0.22)
    top = _span(p[2], -0.85, -0.2)
    ear = _span(p[3], 0.22, 0.42)
    if p[4] > 0.5:
        s.blob(0, 0.92, wide + 0.35, 0.12, TRIM)
    s.ring(wide - 0.02, (top + 0.85) / 2 + 0.05, ear, ear * _span(p[5], 0.8, 1.4), 0.13, TRIM)
    s.lathe([top, 0.2, 0.7, 0.95], [wide, wide - taper * 0.4, wide - taper, (wide - taper) * 0.75], BODY)
    s.blob(0, top, wide, 0.13, ACCENT)
    s.blob(0, top + 0.02, wide - 0.07, 0.085, DARK)


def teapot(s: Sketch, p: np.ndarray) -> None:
    """Draw a round pot with spout, handle and lid."""
    wide, tall = _span(p[0], 0.45, 0.68), _span(p[1], 0.42, 0.68)
    middle = 0.95 - tall
    s.ring(-wide * 0.95, middle - 0.05, _span(p[2], 0.22, 0.36), tall * 0.7, 0.11, TRIM, 0.2, 0.8)
    tip = _span(p[3], -0.5, 0.0)
    s.poly([(wide * 0.6, middle + 0.28), (1.02, middle + tip), (1.12, middle + tip), (wide * 0.7, middle - 0.22)], TRIM)
    s.poly([(wide * 0.5, middle + 0.3), (0.98, middle + tip), (1.06, middle + tip), (wide * 0.7, middle - 0.1)], BODY)
    s.blob(0, middle, wide, tall, BODY)
    s.blob(0, middle - tall * 0.86, wide * 0.55, _span(p[4], 0.08, 0.2), ACCENT)
    s.blob(0, middle - tall - 0.1, _span(p[5], 0.07, 0.14), 0.1, TRIM)
    s.box(-wide * 0.5, 0.9, wide * 0.5, 0.97, TRIM)


def vase(s: Sketch, p: np.ndarray) -> None:
    """Draw a turned vase, with flowers when p[5] is high."""
    top = _span(p[0], -0.75, -0.1)
    neck, belly, foot = _span(p[1], 0.12, 0.36), _span(p[2], 0.34, 0.72), _span(p[3], 0.18, 0.45)
    if p[5] > 0.4:
        for k in range(5):
            lean = (k - 2) * 0.3
            tip = (lean, top - 0.5 + abs(k - 2) * 0.13)
            s.stroke([(lean * 0.2, top), tip], 0.05, TRIM)
            s.blob(*tip, _span(p[6], 0.11, 0.2), 0.14, (ACCENT, LIGHT)[k % 2])
            s.blob(*tip, 0.06, 0.06, DARK)
    profile = [neck + 0.08, neck, _span(p[4], neck, belly), belly, belly * 0.9, foot, foot + 0.03]
    s.lathe([top, top + 0.2, 0.0, 0.3, 0.55, 0.9, 0.97], profile, BODY)
    s.blob(0, top + 0.02, neck + 0.08, 0.06, TRIM)


def lamp(s: Sketch, p: np.ndarray) -> None:
    """Draw a table lamp: shade, stem and base."""
    low, top, bottom = _span(p[0], -0.2, 0.15), _span(p[1], 0.15, 0.5), _span(p[2], 0.5, 0.85)
    s.lathe([low, 0.5, 0.9], [0.07, _span(p[3], 0.05, 0.34), 0.1], TRIM)
    s.blob(0, 0.9, _span(p[4], 0.25, 0.5), 0.09, TRIM)
    s.poly([(-top, -0.9), (top, -0.9), (bottom, low), (-bottom, low)], BODY)
    s.poly([(-bottom, low), (bottom, low), (bottom, low + 0.07), (-bottom, low + 0.07)], ACCENT)
    if p[5] > 0.5:
        s.stroke([(bottom * 0.6, low), (bottom * 0.6, low + 0.35)], 0.03, DARK)
        s.blob(bottom * 0.6, low + 0.37, 0.05, 0.05, ACCENT)


def guitar(s: Sketch, p: np.ndarray) -> None:
    """Draw a guitar with waist, sound hole and neck."""
    lower, upper, waist = _span(p[0], 0.4, 0.58), _span(p[1], 0.28, 0.44), _span(p[2], 0.2, 0.34)
    s.lathe([-0.12, 0.05, 0.25, 0.42, 0.62, 0.85, 0.98], [0.1, upper, upper, waist, lower, lower, 0.18], BODY)
    if p[4] > 0.5:
        s.poly([(0.12, 0.32), (lower * 0.8, 0.5), (lower * 0.6, 0.78), (0.1, 0.62)], ACCENT)
    s.blob(0, 0.4, _span(p[3], 0.1, 0.18), 0.14, DARK)
    s.box(-0.075, -0.75, 0.075, 0.42, TRIM)
    for fret in np.linspace(-0.6, 0.2, 6):
        s.box(-0.075, fret, 0.075, fret + 0.02, LIGHT)
    head = _span(p[5], 0.1, 0.18)
    s.poly([(-0.08, -0.72), (0.08, -0.72), (head, -1.0), (-head, -1.0)], ACCENT)
    s.box(-0.2, 0.74, 0.2, 0.8, DARK)


def fish(s: Sketch, p: np.ndarray) -> None:
    """Draw a fish seen from the side."""
    long, tall = _span(p[0], 0.55, 0.8), _span(p[1], 0.26, 0.56)
    fork = _span(p[2], 0.25, 0.55)
    s.poly([(-long * 0.7, 0), (-1.1, -fork), (-1.1 + 0.3 * p[3], 0), (-1.1, fork)], ACCENT)
    s.poly([(-0.3, -tall * 0.7), (_span(p[4], -0.5, 0.1), -tall - 0.35), (0.35, -tall * 0.7)], TRIM)
    s.poly([(-0.2, tall * 0.7), (-0.35, tall + 0.2), (0.15, tall * 0.7)], TRIM)
    s.blob(0.08, 0, long, tall, BODY)
    s.poly([(0.1, 0.05), (-0.25, 0.28), (-0.3, 0.02)], ACCENT)
    s.blob(0.08 + long * 0.62, -tall * 0.2, _span(p[5], 0.08, 0.14), _span(p[5], 0.08, 0.14), LIGHT)
    s.blob(0.1 + long * 0.62, -tall * 0.2, 0.05, 0.05, DARK)


def robot(s: Sketch, p: np.ndarray) -> None:
    """Draw a toy robot: head, body, arms, legs, antenna."""
    wide, head = _span(p[0], 0.32, 0.58), _span(p[1], 0.24, 0.46)
    s.box(-wide * 0.7, 0.5, -wide * 0.2, 0.98, TRIM)
    s.box(wide * 0.2, 0.5, wide * 0.7, 0.98, TRIM)
    lift = _span(p[2], -0.5, 0.45)
    s.stroke([(-wide, -0.05), (-wide - 0.3, lift)], 0.14, TRIM)
    s.stroke([(wide, -0.05), (wide + 0.3, _span(p[3], -0.5, 0.45))], 0.14, TRIM)
    s.box(-wide, -0.2, wide, 0.62, BODY)
    s.box(-wide * 0.5, 0.05, wide * 0.5, 0.35, ACCENT)
    s.stroke([(0, -0.7), (0, -0.98)], 0.05, DARK)
    s.blob(0, -0.98, 0.08, 0.08, ACCENT)
    if p[4] > 0.5:
        s.blob(0, -0.5, head, 0.33, BODY)
    else:
        s.box(-head, -0.78, head, -0.24, BODY)
    for side in (-1, 1):
        s.blob(side * head * 0.45, -0.52, _span(p[5], 0.07, 0.14), 0.1, LIGHT)
        s.blob(side * head * 0.45, -0.52, 0.04, 0.05, DARK)
    s.box(-head * 0.5, -0.38, head * 0.5, -0.32, DARK)


def house(s: Sketch, p: np.ndarray) -> None:
    """Draw a house with gable, door, windows and chimney."""
    wide, eaves, top = _span(p[0], 0.5, 0.88), _span(p[1], -0.35, 0.25), _span(p[2], -1.0, -0.6)
    s.box(wide * 0.4, top + 0.1, wide * 0.4 + 0.18, eaves, DARK)
    s.box(-wide, eaves, wide, 0.98, BODY)
    s.poly([(-wide - 0.12, eaves), (_span(p[3], -0.4, 0.4), top), (wide + 0.12, eaves)], TRIM)
    s.box(-0.12 + _span(p[4], -0.3, 0.3), 0.5, 0.16 + _span(p[4], -0.3, 0.3), 0.98, ACCENT)
    for x in (-wide * 0.65, wide * 0.65):
        s.box(x - 0.13, eaves + 0.12, x + 0.13, eaves + 0.4, LIGHT)
        s.box(x - 0.015, eaves + 0.12, x + 0.015, eaves + 0.4, DARK)
    if p[5] > 0.5:
        s.blob(0, (eaves + top) / 2 + 0.05, 0.1, 0.1, LIGHT)


def boat(s: Sketch, p: np.ndarray) -> None:
    """Draw a sailing boat."""
    deck, mast = _span(p[0], 0.45, 0.6), _span(p[1], -0.3, 0.2)
    s.stroke([(mast, deck), (mast, -1.0)], 0.06, DARK)
    s.poly([(mast + 0.05, -0.95), (_span(p[2], 0.5, 0.95), deck - 0.12), (mast + 0.05, deck - 0.12)], PATTERN)
    s.poly([(mast - 0.05, _span(p[3], -0.9, -0.4)), (mast - 0.05, deck - 0.12), (-0.85, deck - 0.12)], ACCENT)
    keel = _span(p[4], 0.4, 0.75)
    s.poly([(-0.98, deck), (1.0, deck - 0.05), (keel, 0.96), (-keel, 0.96)], BODY)
    s.poly([(-0.98, deck), (1.0, deck - 0.05), (0.95, deck + 0.07), (-0.95, deck + 0.1)], TRIM)
    s.poly([(mast, -1.0), (mast + 0.3, -0.92), (mast, -0.84)], TRIM)


def cactus(s: Sketch, p: np.ndarray) -> None:
    """Draw a potted cactus with arms and a flower."""
    thick, top = _span(p[0], 0.2, 0.36), _span(p[1], -0.95, -0.5)
    for side, height, bend in ((-1, p[2], p[3]), (1, p[4], p[5])):
        level = _span(height, -0.3, 0.2)
        reach = side * (thick + _span(bend, 0.18, 0.38))
        s.stroke([(0, level), (reach, level), (reach, level - _span(bend, 0.25, 0.5))], thick * 0.75, BODY)
    s.stroke([(0, 0.4), (0, top + thick / 2)], thick * 2, BODY)
    s.blob(0, top - thick * 0.4, 0.14, 0.1, ACCENT)
    rim = _span(p[6], 0.4, 0.6)
    s.poly([(-rim, 0.38), (rim, 0.38), (rim * 0.7, 0.98), (-rim * 0.7, 0.98)], TRIM)
    s.box(-rim - 0.06, 0.34, rim + 0.06, 0.48, ACCENT)


def chair(s: Sketch, p: np.ndarray) -> None:
    """Draw a chair, seen a little from the side."""
    wide, seat, top = _span(p[0], 0.4, 0.62), _span(p[1], 0.1, 0.35), _span(p[2], -1.0, -0.5)
    for x, foot in ((-wide, 0.95), (wide, 0.95), (-wide + 0.28, 0.8), (wide + 0.18, 0.8)):
        s.stroke([(x, seat), (x * _span(p[3], 1.0, 1.15), foot)], 0.09, TRIM)
    if p[4] > 0.5:
        s.lathe([top, top + 0.15, seat], [wide * _span(p[5], 0.5, 0.9), wide, wide * 0.95], BODY)
    else:
        s.box(-wide, top, wide, top + 0.22, BODY)
        for x in np.linspace(-wide + 0.05, wide - 0.05, 3 + int(p[5] * 3)):
            s.stroke([(x, top + 0.1), (x, seat)], 0.07, TRIM)
    for level, slot in ((seat + 0.06, ACCENT), (seat, BODY)):
        back, front = level - 0.05, level + 0.08
        s.poly([(-wide - 0.05, back), (wide, back), (wide + 0.2, front), (-wide + 0.2, front)], slot)


def clock(s: Sketch, p: np.ndarray) -> None:
    """Draw an alarm clock with bells and feet."""
    radius = _span(p[0], 0.55, 0.72)
    for side in (-1, 1):
        s.stroke([(side * radius * 0.5, 0.6), (side * radius * 0.8, 0.95)], 0.12, DARK)
        s.blob(side * radius * 0.6, -radius * 0.75, _span(p[1], 0.16, 0.3), 0.2, ACCENT, side * 0.6)
    s.ring(0, -radius * 0.8, 0.2, 0.22, 0.06, DARK, 0.5, 1.0)
    s.blob(0, 0.12, radius + 0.1, radius + 0.1, TRIM) if p[2] > 0.4 else s.box(-0.8, -0.6, 0.8, 0.84, TRIM)
    s.blob(0, 0.12, radius, radius, BODY)
    s.blob(0, 0.12, radius * 0.8, radius * 0.8, LIGHT)
    for mark in np.arange(12) / 12 * 2 * np.pi:
        s.blob(radius * 0.66 * np.cos(mark), 0.12 + radius * 0.66 * np.sin(mark), 0.035, 0.035, TRIM)
    for turn, reach in ((p[3], 0.35), (p[4], 0.55)):
        tip = (radius * reach * np.cos(turn * 6.28), 0.12 + radius * reach * np.sin(turn * 6.28))
        s.stroke([(0, 0.12), tip], 0.06, DARK)


def car(s: Sketch, p: np.ndarray) -> None:
    """Draw a toy car."""
    roof, start, stop = _span(p[0], -0.65, -0.3), _span(p[1], -0.75, -0.4), _span(p[2], 0.3, 0.7)
    bonnet, wheel = _span(p[3], -0.05, 0.2), _span(p[4], 0.2, 0.31)
    s.poly([(start - 0.15, 0.1), (start + 0.12, roof), (stop - 0.3, roof), (stop + 0.1, 0.1)], TRIM)
    s.poly([(start + 0.02, 0.08), (start + 0.2, roof + 0.1), (-0.05, roof + 0.1), (-0.05, 0.08)], LIGHT)
    s.poly([(0.04, 0.08), (0.04, roof + 0.1), (stop - 0.33, roof + 0.1), (stop - 0.05, 0.08)], LIGHT)
    s.poly([(-1, 0.06), (0.6, 0.0), (1.0, bonnet + 0.1), (1.03, 0.6), (-1.03, 0.6)], BODY)
    s.box(-1.05, 0.5, 1.05, 0.63, ACCENT)
    s.blob(0.92, 0.3, 0.09, 0.1, LIGHT)
    for x in (-0.58, 0.58):
        s.blob(x, 0.66, wheel, wheel, DARK)
        s.blob(x, 0.66, wheel * _span(p[5], 0.35, 0.65), wheel * _span(p[5], 0.35, 0.65), ACCENT)


def bird(s: Sketch, p: np.ndarray) -> None:
    """Draw a standing bird."""
    plump, head = _span(p[0], 0.36, 0.56), _span(p[1], 0.2, 0.32)
    for x in (-0.08, 0.14):
        s.stroke([(x, 0.4), (x + 0.03, 0.95), (x + 0.16, 0.96)], 0.05, DARK)
    tail = _span(p[2], -0.2, 0.6)
    s.poly([(-0.3, 0.0), (-1.05, tail - 0.15), (-0.98, tail + 0.12), (-0.25, 0.3)], TRIM)
    s.blob(0, 0.15, 0.62, plump, BODY, -0.35)
    neck = (0.48, -0.25 - 0.3 * p[3])
    s.poly([(0.1, -0.2), (neck[0] - head * 0.9, neck[1]), (neck[0] + head * 0.9, neck[1]), (0.6, 0.1)], BODY)
    s.blob(*neck, head, head, BODY)
    s.poly([(neck[0] + head * 0.7, neck[1] - 0.09), (neck[0] + head + _span(p[4], 0.15, 0.5), neck[1] + 0.05),
            (neck[0] + head * 0.7, neck[1] + 0.11)], ACCENT)  # fmt: skip
    s.blob(-0.08, 0.12, 0.42, _span(p[5], 0.16, 0.28), TRIM, -0.5)
    s.blob(neck[0] + 0.08, neck[1] - 0.05, 0.07, 0.07, LIGHT)
    s.blob(neck[0] + 0.1, neck[1] - 0.05, 0.04, 0.04, DARK)
    if p[6] > 0.5:
        s.poly([(neck[0] - 0.15, neck[1] - head * 0.8), (neck[0] - 0.2, neck[1] - head - 0.3),
                (neck[0] + 0.08, neck[1] - head * 0.9)], ACCENT)  # fmt: skip


def balloon(s: Sketch, p: np.ndarray) -> None:
    """Draw a hot-air balloon."""
    wide, tall = _span(p[0], 0.5, 0.78), _span(p[1], 0.5, 0.68)
    basket = _span(p[2], 0.1, 0.2)
    for side in (-1, 1):
        s.stroke([(side * wide * 0.6, 0.1), (side * basket, 0.75)], 0.03, DARK)
    s.lathe([-1 + tall * 0.3, 0.1, 0.42], [wide * 0.6, wide * 0.75, _span(p[3], 0.12, 0.3)], BODY)
    s.blob(0, -1 + tall, wide, tall, BODY)
    if p[4] > 0.4:
        s.blob(0, -1 + tall, wide * 0.4, tall, ACCENT)
    s.box(-0.2, 0.38, 0.2, 0.46, TRIM)
    s.box(-basket, 0.72, basket, 0.98, TRIM)
    s.box(-basket - 0.03, 0.7, basket + 0.03, 0.77, ACCENT)


def mushroom(s: Sketch, p: np.ndarray) -> None:
    """Draw a toadstool."""
    cap, tall, stem = _span(p[0], 0.5, 0.9), _span(p[1], 0.5, 0.95), _span(p[2], 0.14, 0.34)
    s.lathe([-0.3, 0.4, 0.95], [stem * 0.8, stem, stem * _span(p[3], 1.0, 1.7)], LIGHT)
    s.lathe([0.1, 0.16, 0.26], [stem * 1.3, stem * 1.5, stem * 1.7], ACCENT)
    t = np.linspace(np.pi, 2 * np.pi, 30)
    s.poly(np.stack([cap * np.cos(t), tall * np.sin(t) + _span(p[4], -0.15, 0.1)], 1), BODY)
    s.blob(0, _span(p[4], -0.15, 0.1), cap, 0.11, TRIM)


CLASSES: dict[str, Callable[[Sketch, np.ndarray], None]] = {
    draw.__name__: draw
    for draw in [
        *(mug, teapot, vase, lamp, guitar, fish, robot, house),
        *(boat, cactus, chair, clock, car, bird, balloon, mushroom),
    ]
}
"""The object classes by name."""
