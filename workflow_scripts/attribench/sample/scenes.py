"""Scenes: landscapes, seas, cities, forests and rooms, drawn in slots and tones and not yet coloured."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from attribench.sample.canvas import Canvas
from attribench.sample.colours import (
    BUILD,
    BUILD2,
    CLOTH,
    CLOUD,
    FAR,
    FRAME,
    GLINT,
    GROUND,
    LEAF,
    LEAF2,
    MID,
    NEAR,
    PATH,
    SUN,
    TABLE,
    TRUNK,
    WALL,
    WATER,
    WINDOW,
)
from attribench.sample.objects import CLASS_NAMES, FLOATING, ObjectIdentity, draw_object, place

_EXTRA_OBJECTS = 900_000_000


@dataclass(frozen=True)
class Habit:
    """Hold how a picture is composed: height of the horizon, position and radius of the sun, and how full it is, in 0..1."""

    horizon: float
    sun_x: float
    sun_size: float
    fullness: float


def random_habit(rng: np.random.Generator) -> Habit:
    """Draw a composition without an artist's preferences."""
    return Habit(rng.uniform(0.35, 0.65), rng.uniform(0.15, 0.85), rng.uniform(0.04, 0.1), rng.uniform(0.3, 0.9))


def extra_object(rng: np.random.Generator, categories: tuple[str, ...] = CLASS_NAMES) -> ObjectIdentity:
    """Draw an object of one of `categories` that belongs to no entry."""
    thing = draw_object(0, _EXTRA_OBJECTS + int(rng.integers(100_000_000)))
    return replace(thing, category=categories[rng.integers(len(categories))])


def _ridge(rng: np.random.Generator, level: float, height: float, bumps: int, octaves: int = 3) -> np.ndarray:
    """Return the heights [81] of a fractal skyline about `level`."""
    t = np.linspace(0, 1, 81)
    total = np.full(81, level)
    for octave in range(octaves):
        count = bumps * 2**octave + 2
        total += np.interp(t + rng.random() / count, np.linspace(0, 1 + 1 / count, count), rng.normal(0, 1, count)) * (
            height * 0.5**octave
        )
    return total


def _roll(rng: np.random.Generator, level: float, height: float) -> np.ndarray:
    """Return the heights [81] of soft rolling ground."""
    t = np.linspace(0, 1, 81)
    waves = ((rng.uniform(0.6, 2.2), rng.random(), height), (rng.uniform(2, 4), rng.random(), height * 0.4))
    return level + sum(size * np.sin(2 * np.pi * (rate * t + phase)) for rate, phase, size in waves)


def _sky(canvas: Canvas, rng: np.random.Generator, habit: Habit, clouds: bool = True) -> None:
    canvas.blend[:] = np.clip(canvas.y / max(habit.horizon, 0.2), 0, 1)
    sun_y = habit.horizon * rng.uniform(0.25, 0.85)
    glow = np.exp(-8 * np.hypot(canvas.x - habit.sun_x, canvas.y - sun_y))
    canvas.tone[:] = 0.9 * glow + 0.15 * canvas.blend - 0.12
    canvas.disc(habit.sun_x, sun_y, habit.sun_size, habit.sun_size, SUN)
    if clouds:
        for _ in range(rng.integers(1, 4)):
            x, y, wide = rng.uniform(0, 1), habit.horizon * rng.uniform(0.1, 0.75), rng.uniform(0.06, 0.14)
            for step in np.linspace(-1, 1, 5):
                puff = wide * rng.uniform(0.3, 0.55) * (1.2 - abs(step))
                canvas.disc(x + step * wide, y - puff * 0.4, puff * 1.3, puff * 0.8, CLOUD)


def _pine(canvas: Canvas, x: float, foot: float, tall: float, slot: int) -> None:
    canvas.box(x - tall * 0.03, foot - tall * 0.2, x + tall * 0.03, foot, TRUNK)
    for k in range(4):
        top, wide = foot - tall * (1 - 0.2 * k), tall * (0.11 + 0.06 * k)
        canvas.polygon([(x, top), (x - wide, top + tall * 0.33), (x + wide, top + tall * 0.33)], slot)


def _round_tree(canvas: Canvas, rng: np.random.Generator, x: float, foot: float, tall: float) -> None:
    canvas.line([(x, foot), (x + tall * 0.03, foot - tall * 0.6)], tall * 0.08, TRUNK)
    for _ in range(6):
        dx, dy = rng.uniform(-0.22, 0.22) * tall, rng.uniform(-0.2, 0.16) * tall
        slot = LEAF2 if dx + dy < 0 else LEAF
        canvas.disc(x + dx, foot - tall * 0.72 + dy, tall * 0.17, tall * 0.15, slot)


def mountains(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw three ranges behind a dark slope of pines."""
    _sky(canvas, rng, habit)
    h = habit.horizon
    canvas.hill(_ridge(rng, h - 0.05, 0.10, 3), FAR, 0.25, -0.2, habit.sun_x)
    canvas.hill(_ridge(rng, h + 0.10, 0.06, 4), MID, 0.15, -0.5, habit.sun_x)
    canvas.hill(_roll(rng, h + 0.22, 0.03), LEAF, 0.2, -0.8, habit.sun_x)
    near = _roll(rng, 0.88, 0.04)
    canvas.hill(near, NEAR, 0.0, -0.8, habit.sun_x)
    for x in rng.uniform(0, 1, int(4 + 12 * habit.fullness)):
        _pine(canvas, x, float(np.interp(x, np.linspace(0, 1, 81), near)) + 0.02, rng.uniform(0.1, 0.24), NEAR)


def sea(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw moon or sun over water, its glittering path, boats and a headland."""
    _sky(canvas, rng, habit, clouds=rng.random() < 0.5)
    h = habit.horizon
    canvas.hill(_ridge(rng, h - 0.02, 0.02, 5), FAR, 0.2, 0)
    canvas.box(0, h, 1, 1, WATER)
    canvas.tone_box(0, h, 1, 1, 0)
    water = canvas.y > h
    path = np.exp(-(((canvas.x - habit.sun_x) / (0.05 + 0.4 * (canvas.y - h))) ** 2))
    canvas.tone[water] = (0.7 * path + 0.3 - 1.1 * (canvas.y - h))[water]
    canvas.blend[water] = np.clip(0.8 - 2 * (canvas.y - h), 0, 1)[water]
    for depth in rng.random(int(30 + 50 * habit.fullness)) ** 1.6:
        y, wide = h + 0.01 + depth * (1 - h), 0.01 + 0.06 * depth
        x = habit.sun_x + rng.normal(0, 0.05 + 0.16 * depth)
        canvas.disc(x, y, wide, 0.002 + 0.006 * depth, GLINT)
    for index in range(rng.integers(1, 3)):
        size = rng.uniform(0.06, 0.14)
        place(canvas, extra_object(rng, ("boat",)), (rng.uniform(0.12, 0.88), h + size * 0.4), size, index, shadow=0)
    if rng.random() < 0.6:
        side = _ridge(rng, 0.0, 0.03, 5) + np.linspace(h - 0.2, 1.5, 81)
        canvas.hill(side if rng.random() < 0.5 else side[::-1], NEAR, 0.1, -0.6, habit.sun_x)


def city(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw a skyline in three depths with lit windows."""
    _sky(canvas, rng, habit, clouds=rng.random() < 0.5)
    base = min(habit.horizon + 0.28, 0.9)
    for slot, low, tall, light in ((FAR, base, 0.34, 0.2), (BUILD2, base + 0.04, 0.32, 0.1), (BUILD, 1.0, 0.42, -0.05)):
        x = -0.03
        while x < 1:
            wide, top = rng.uniform(0.06, 0.15), low - tall * rng.uniform(0.35, 1.0)
            canvas.box(x, top, x + wide, 1, slot)
            canvas.tone_box(x, top, x + wide, 1, light)
            canvas.tone_box(x + wide * 0.65, top, x + wide, 1, light - 0.3)
            if rng.random() < 0.3:
                canvas.polygon([(x, top), (x + wide / 2, top - wide * 0.8), (x + wide, top)], slot)
            if slot != FAR:
                _windows(canvas, rng, (x, top, wide, low), habit.fullness)
            x += wide * rng.uniform(0.9, 1.3)


def _windows(canvas: Canvas, rng: np.random.Generator, block: tuple[float, ...], lit: float) -> None:
    x, top, wide, low = block
    for row in np.arange(top + 0.025, low - 0.02, 0.04):
        for column in np.arange(x + 0.015, x + wide - 0.02, 0.03):
            if rng.random() < 0.2 + 0.5 * lit:
                canvas.box(column, row, column + 0.013, row + 0.02, WINDOW)


def forest(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw trunks that recede into light, and a path."""
    canvas.labels.paste(WALL, (0, 0, *canvas.labels.size))
    canvas.blend[:] = 1 - canvas.y
    canvas.tone[:] = 0.9 * np.exp(-6 * ((canvas.x - habit.sun_x) ** 2 + (canvas.y - 0.4) ** 2)) - 0.1
    floor = habit.horizon + 0.22
    canvas.hill(_roll(rng, floor, 0.02), GROUND, 0.3, -0.9, habit.sun_x)
    bend = rng.uniform(-0.2, 0.2)
    x = habit.sun_x
    canvas.polygon([(x - 0.02, floor), (x + 0.02, floor), (0.75 + bend, 1.01), (0.3 + bend, 1.01)], PATH)
    for depth, slot in ((0.0, FAR), (0.35, MID), (1.0, TRUNK)):
        for trunk in rng.uniform(0, 1, int(5 + 5 * habit.fullness)):
            wide, foot = 0.012 + 0.035 * depth, floor + 0.01 + 0.24 * depth * rng.uniform(0.5, 1)
            if depth == 1 and abs(trunk - 0.5) < 0.18:
                continue
            lean = rng.normal(0, 0.02)
            canvas.polygon(
                [
                    (trunk - wide, foot),
                    (trunk + wide, foot),
                    (trunk + lean + wide * 0.7, 0),
                    (trunk + lean - wide * 0.7, 0),
                ],
                slot,
            )
            canvas.tone_box(trunk - wide, 0, trunk + wide * 0.2, foot, 0.15 - 0.2 * depth)
            canvas.tone_box(trunk + wide * 0.2, 0, trunk + wide, foot, -0.2 - 0.2 * depth)
        for _ in range(int(10 + 14 * habit.fullness)):
            size = rng.uniform(0.03, 0.08)
            canvas.disc(
                rng.random(),
                rng.uniform(-0.02, 0.2 + 0.08 * depth),
                size * 1.3,
                size * 0.8,
                (LEAF, LEAF2)[rng.integers(2)],
            )


def fields_and_hills(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw rolling farmland with furrows, trees and a house."""
    _sky(canvas, rng, habit)
    h = habit.horizon
    canvas.hill(_roll(rng, h, 0.03), FAR, 0.2, -0.2, habit.sun_x)
    for level, slot in ((h + 0.07, LEAF2), (h + 0.17, PATH), (h + 0.3, LEAF)):
        ridge = _roll(rng, level, 0.035)
        canvas.hill(ridge, slot, 0.15, -0.7, habit.sun_x)
        vanish = rng.uniform(0.1, 0.9)
        for x in np.linspace(-1.2, 2.2, int(10 + 10 * habit.fullness)):
            start = np.clip(vanish + (x - vanish) * 0.35, 0, 1)
            top = float(np.interp(start, np.linspace(0, 1, 81), ridge))
            canvas.line([(start, top + 0.01), (x, top + 0.35)], 0.007, GROUND)
        for tree in rng.uniform(0, 1, rng.integers(1, 4)):
            _round_tree(
                canvas, rng, tree, float(np.interp(tree, np.linspace(0, 1, 81), ridge)) + 0.02, rng.uniform(0.08, 0.2)
            )
    place(canvas, extra_object(rng, ("house",)), (rng.uniform(0.15, 0.85), h + 0.12), rng.uniform(0.05, 0.09), 0)
    canvas.hill(_roll(rng, 0.93, 0.02), NEAR, 0.1, -0.5, habit.sun_x)


def dunes(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw a desert: big sun, sharp-crested dunes, cactuses."""
    _sky(canvas, rng, habit, clouds=False)
    canvas.hill(_ridge(rng, habit.horizon - 0.03, 0.05, 3, 2), FAR, 0.2, -0.2, habit.sun_x)
    for k, slot in enumerate((PATH, GROUND, PATH, MID)):
        crest = _roll(rng, habit.horizon + 0.05 + 0.13 * k, 0.05)
        canvas.hill(crest, slot, 0.35 - 0.1 * k, -0.9, habit.sun_x)
        top = int(np.argmin(crest[10:70])) + 10
        x, y = top / 80, crest[top]
        canvas.polygon(
            [(x, y), (x + 0.12, y + 0.12), (x + 0.02, y + 0.3), (x + 0.3, y + 0.35), (x + 0.34, y + 0.12)], GROUND
        )
    for index in range(rng.integers(1, 4)):
        size = rng.uniform(0.06, 0.16)
        place(
            canvas, extra_object(rng, ("cactus",)), (rng.uniform(0.1, 0.9), rng.uniform(0.72, 0.88) - size), size, index
        )


def river(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw a river that winds out of hills."""
    _sky(canvas, rng, habit)
    h = habit.horizon
    canvas.hill(_ridge(rng, h - 0.06, 0.07, 3), FAR, 0.25, -0.3, habit.sun_x)
    canvas.hill(_roll(rng, h + 0.03, 0.02), LEAF2, 0.25, -0.7, habit.sun_x)
    t = np.linspace(0, 1, 40)
    middle = 0.5 + (0.1 + 0.22 * t) * np.sin(2 * np.pi * (t * rng.uniform(0.8, 1.3) + rng.random()))
    wide, y = 0.01 + 0.2 * t**1.4, h + 0.045 + (1 - h) * t
    for extra, slot in ((0.02, PATH), (0.0, WATER)):
        edge = wide + extra * (0.3 + t)
        canvas.polygon(np.concatenate([np.stack([middle - edge, y], 1), np.stack([middle + edge, y], 1)[::-1]]), slot)
    for _ in range(14):
        k = rng.integers(6, 40)
        canvas.disc(middle[k] + rng.uniform(-0.6, 0.6) * wide[k], y[k], wide[k] * 0.3, 0.004, GLINT)
    for k in np.sort(rng.integers(2, 38, int(6 + 10 * habit.fullness))):
        side = rng.choice([-1, 1])
        x, tall = middle[k] + side * (wide[k] + rng.uniform(0.05, 0.3)), 0.05 + 0.26 * t[k]
        if rng.random() < 0.5:
            _pine(canvas, x, y[k], tall, LEAF)
        else:
            _round_tree(canvas, rng, x, y[k], tall)


def still_life(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw three objects on a draped table."""
    table_top(canvas, rng, habit)
    edge = 0.55 + 0.2 * habit.horizon
    fold = _roll(rng, edge + 0.08, 0.015)
    canvas.polygon(
        [(0.1, edge + 0.02), *zip(np.linspace(0.1, 0.75, 81), fold + 0.1, strict=True), (0.8, edge + 0.02)], CLOTH
    )
    categories = ("mug", "teapot", "vase", "lamp", "clock", "cactus", "fish", "guitar")
    spots = np.array([0.22, 0.5, 0.78]) + rng.uniform(-0.05, 0.05, 3)
    for index, x in enumerate(spots):
        size = rng.uniform(0.13, 0.24)
        place(canvas, extra_object(rng, categories), (x, edge + rng.uniform(0.04, 0.14) - size), size, index)


def table_top(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw an empty table before a wall, in the light of a window."""
    canvas.labels.paste(WALL, (0, 0, *canvas.labels.size))
    slant = canvas.x * rng.uniform(-1, 1) + canvas.y * 0.6
    canvas.tone[:] = 0.45 - 0.6 * np.abs(slant - rng.uniform(0, 0.7))
    canvas.blend[:] = np.clip(1 - canvas.y - 0.3 * canvas.x, 0, 1)
    edge = 0.55 + 0.2 * habit.horizon
    canvas.box(0, edge, 1, 1, TABLE)
    table = canvas.y > edge
    canvas.tone[table] = (0.35 - 1.1 * (canvas.y - edge) - 0.3 * np.abs(canvas.x - habit.sun_x))[table]
    canvas.blend[table] = (1 - canvas.y)[table]


def room(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw an interior: window onto hills, curtain, rug, furniture."""
    canvas.labels.paste(WALL, (0, 0, *canvas.labels.size))
    floor = 0.6 + 0.2 * habit.horizon
    left = rng.uniform(0.12, 0.5)
    canvas.tone[:] = 0.4 * np.exp(-4 * ((canvas.x - left - 0.18) ** 2 + (canvas.y - 0.3) ** 2)) - 0.25 * canvas.x
    canvas.blend[:] = canvas.y * 0.5
    canvas.box(0, floor, 1, 1, TABLE)
    for x in np.linspace(-0.6, 1.6, 12):
        canvas.line([(0.5 + (x - 0.5) * 0.6, floor), (x, 1)], 0.004, FRAME)
    below = canvas.y > floor
    canvas.tone[below] = (0.3 - (canvas.y - floor))[below]
    canvas.box(left - 0.02, 0.1, left + 0.38, 0.5, FRAME)
    canvas.box(left, 0.12, left + 0.36, 0.48, 0)
    canvas.polygon(
        [(left, 0.48), (left, 0.36), (left + 0.12, 0.3), (left + 0.24, 0.38), (left + 0.36, 0.33), (left + 0.36, 0.48)],
        FAR,
    )
    canvas.disc(left + 0.36 * habit.sun_x, 0.2, 0.03, 0.03, SUN)
    canvas.box(left + 0.172, 0.12, left + 0.186, 0.48, FRAME)
    canvas.box(left, 0.29, left + 0.36, 0.302, FRAME)
    for side in (left - 0.06, left + 0.42):
        canvas.polygon([(side - 0.05, 0.06), (side + 0.05, 0.06), (side + 0.08, 0.6), (side - 0.08, 0.6)], CLOTH)
    canvas.disc(0.5, (floor + 1) / 2 + 0.04, 0.34, 0.09, CLOTH)
    canvas.disc(0.5, (floor + 1) / 2 + 0.04, 0.27, 0.065, LEAF)
    place(canvas, extra_object(rng, ("chair",)), (rng.uniform(0.15, 0.35), floor - 0.06), 0.2, 0)
    place(
        canvas, extra_object(rng, ("lamp", "vase", "cactus", "guitar")), (rng.uniform(0.7, 0.88), floor - 0.08), 0.2, 1
    )


def village(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw houses on a hill under a big moon."""
    _sky(canvas, rng, habit)
    h = habit.horizon
    canvas.hill(_roll(rng, h - 0.02, 0.05), FAR, 0.2, -0.3, habit.sun_x)
    for row, level in enumerate((h + 0.06, h + 0.2)):
        canvas.hill(_roll(rng, level, 0.03), (LEAF2, LEAF)[row], 0.2, -0.6, habit.sun_x)
        for x in rng.permutation(np.linspace(0.08, 0.92, 4 + row))[: 3 + row]:
            wide, foot = rng.uniform(0.05, 0.085), level + 0.09 + rng.uniform(-0.02, 0.03)
            tall = wide * rng.uniform(1.1, 2.0)
            canvas.box(x - wide, foot - tall, x + wide, foot, (BUILD2, WALL, CLOTH)[rng.integers(3)])
            canvas.tone_box(x - wide, foot - tall, x, foot, 0.25)
            canvas.tone_box(x, foot - tall, x + wide, foot, -0.25)
            canvas.polygon(
                [(x - wide * 1.15, foot - tall), (x, foot - tall - wide), (x + wide * 1.15, foot - tall)], BUILD
            )
            canvas.box(x - wide * 0.5, foot - tall * 0.7, x - wide * 0.15, foot - tall * 0.4, WINDOW)
            canvas.box(x + wide * 0.15, foot - tall * 0.7, x + wide * 0.5, foot - tall * 0.4, WINDOW)
    canvas.hill(_roll(rng, 0.86, 0.03), GROUND, 0.2, -0.8, habit.sun_x)
    for x in rng.uniform(0, 1, int(2 + 4 * habit.fullness)):
        _round_tree(canvas, rng, x, 0.9, rng.uniform(0.14, 0.24))


def meadow(canvas: Canvas, rng: np.random.Generator, habit: Habit) -> None:
    """Draw open ground under a wide sky."""
    _sky(canvas, rng, habit)
    canvas.hill(_roll(rng, habit.horizon + 0.06, 0.03), FAR, 0.2, -0.3, habit.sun_x)
    canvas.hill(_roll(rng, habit.horizon + 0.16, 0.02), (LEAF2, PATH, GROUND)[rng.integers(3)], 0.25, -0.9, habit.sun_x)


SCENES: dict[str, Callable[[Canvas, np.random.Generator, Habit], None]] = {
    "mountains": mountains,
    "sea": sea,
    "city": city,
    "forest": forest,
    "fields": fields_and_hills,
    "dunes": dunes,
    "river": river,
    "still_life": still_life,
    "room": room,
    "village": village,
}
"""Full scenes by name."""

QUIET_SCENES = (table_top, meadow)
"""Scenes with nothing in the middle, where one object can stand."""

OUTDOOR_SCENES = ("mountains", "sea", "fields", "dunes", "river", "village")
"""Scenes that look natural behind an object in the foreground."""


def floats(thing: ObjectIdentity) -> bool:
    """Return whether an object hangs in the air or in water and does not stand."""
    return thing.category in FLOATING
