"""Object instances: what tells one from another, near misses, and how one is drawn into a picture."""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from attribench.sample.canvas import SUPERSAMPLE, Canvas
from attribench.sample.colours import (
    ACCENT,
    BODY,
    DARK,
    LIGHT,
    OBJECT,
    OBJECT_SLOTS,
    PALETTES,
    PATTERN,
    TRIM,
    by_brightness,
)
from attribench.sample.fields import generator, mix, resized, slope, smoothstep
from attribench.sample.shapes import CLASSES, Sketch

CLASS_NAMES = tuple(CLASSES)
PATTERNS = ("plain", "stripes", "bands", "dots", "checks", "chevrons", "split", "patches")
SHAPE_NUMBERS = 8
FLOATING = ("fish", "balloon")
_STREAM = 11  # begins the numbers that an object's generators depend on


@dataclass(frozen=True)
class ObjectIdentity:
    """Hold what an object has in all pictures.

    category  its class
    shape     eight numbers in 0..1 that its class reads
    colours   float32 [6, 3]: body, pattern, trim, accent, dark, light
    pattern   what covers the body; pattern_scale in cells per object, pattern_angle in radians
    gloss     strength of the highlight, 0..1
    """

    category: str
    shape: tuple[float, ...]
    colours: tuple[tuple[float, ...], ...]
    pattern: str
    pattern_scale: float
    pattern_angle: float
    gloss: float


def _colours(rng: np.random.Generator) -> np.ndarray:
    palette = by_brightness(PALETTES[rng.integers(len(PALETTES))])
    chosen = np.empty((OBJECT_SLOTS, 3), np.float32)
    body, pattern, trim, accent = rng.permutation(5)[:4] + rng.integers(2)
    chosen[[BODY, PATTERN, TRIM, ACCENT]] = palette[[body, pattern, trim, accent]]
    chosen[DARK], chosen[LIGHT] = palette[0] * 0.6, mix(palette[-1], np.float32(1), 0.4)
    return np.clip(chosen + rng.normal(0, 0.025, chosen.shape), 0, 1)


def _rounded(colours: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(channel), 4) for channel in colour) for colour in colours)


def draw_object(seed: int, number: int) -> ObjectIdentity:
    """Draw the object instance with this identity number."""
    rng = generator(seed, _STREAM, number)
    return ObjectIdentity(
        category=CLASS_NAMES[(number + generator(seed, _STREAM).integers(1000)) % len(CLASS_NAMES)],
        shape=tuple(rng.random(SHAPE_NUMBERS).round(5).tolist()),
        colours=_rounded(_colours(rng)),
        pattern=PATTERNS[rng.integers(len(PATTERNS))],
        pattern_scale=float(rng.uniform(2.5, 7)),
        pattern_angle=float(rng.uniform(-0.9, 0.9)),
        gloss=float(rng.uniform(0.1, 1)),
    )


def near_object(seed: int, target: ObjectIdentity, number: int) -> ObjectIdentity:
    """Return a near miss: another instance of `target`'s class, with similar colours or a similar shape."""
    other = replace(draw_object(seed, number), category=target.category)
    rng = generator(seed, _STREAM, number, 1)
    pattern = [name for name in PATTERNS if name != target.pattern][rng.integers(len(PATTERNS) - 1)]
    if rng.random() < 0.5:
        colours = np.clip(np.array(target.colours) + rng.normal(0, 0.05, (OBJECT_SLOTS, 3)), 0, 1)
        return replace(other, colours=_rounded(colours), pattern=pattern)
    shape = np.clip(np.array(target.shape) + rng.normal(0, 0.14, SHAPE_NUMBERS), 0, 1)
    return replace(other, shape=tuple(shape.round(5).tolist()), pattern=pattern)


def _pattern_mask(thing: ObjectIdentity, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return where the body takes its second colour, bool [h, w]; u, v: the object's own coordinates, float32 [h, w]."""
    cells = thing.pattern_scale
    cos, sin = math.cos(thing.pattern_angle), math.sin(thing.pattern_angle)
    a, b = (u * cos - v * sin) * cells * 0.5, (u * sin + v * cos) * cells * 0.5
    if thing.pattern == "stripes":
        return a - np.floor(a) < 0.45
    if thing.pattern == "bands":
        return np.abs(v * cells * 0.35 - np.round(v * cells * 0.35)) < 0.18
    if thing.pattern == "dots":
        return (a - np.floor(a) - 0.5) ** 2 + (b - np.floor(b) - 0.5) ** 2 < 0.085
    if thing.pattern == "checks":
        return (np.floor(a) + np.floor(b)) % 2 == 0
    if thing.pattern == "chevrons":
        zigzag = v * cells * 0.4 + np.abs(u * cells * 0.4 - np.round(u * cells * 0.4))
        return zigzag - np.floor(zigzag) < 0.45
    if thing.pattern == "split":
        return a > 0
    if thing.pattern == "patches":
        return np.sin(2.1 * a + 3 * np.sin(b * 1.3)) + np.sin(2.7 * b + 2 * np.sin(a * 1.1)) > 0.5
    return np.zeros(u.shape, bool)


def _paint_pattern(thing: ObjectIdentity, sketch: Sketch) -> np.ndarray:
    """Return the sketch's layer with the body's pattern, uint8 [2 size, 2 size]."""
    layer = np.array(sketch.layer)
    box = sketch.layer.getbbox()
    if thing.pattern == "plain" or box is None:
        return layer
    inner = layer[box[1] : box[3], box[0] : box[2]]
    y, x = np.mgrid[box[1] : box[3], box[0] : box[2]].astype(np.float32)
    back = np.linalg.inv(sketch.turn).astype(np.float32)
    x, y = x - np.float32(sketch.offset[0]), y - np.float32(sketch.offset[1])
    mask = _pattern_mask(thing, x * back[0, 0] + y * back[1, 0], x * back[0, 1] + y * back[1, 1])
    inner[mask & (inner == BODY + 1)] = PATTERN + 1
    return layer


def _box_blur(array: np.ndarray, radius: int) -> np.ndarray:
    """Average over squares of side 2 radius + 1, float32 [s, s]; three passes are nearly Gaussian."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(array, pad), axis=axis, dtype=np.float32)
        low, high = np.split(total, [2 * radius + 1], axis=axis)[1], total
        array = (low - high.take(range(low.shape[axis]), axis=axis)) / (2 * radius + 1)
    return array


def _shading(layer: Image.Image, size: int, scale: float, gloss: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mask (0..1) and tone of a layer, both float32 [size, size]: its outline is raised and lit from above left."""
    outline = layer.point([0] + [255] * 255)
    mask = np.asarray(outline.reduce(SUPERSAMPLE), np.float32) / 255
    # Light changes slowly, so a third of the picture's size is enough for it.
    third = max(8, size // 3)
    low = resized(mask, third)
    height = np.zeros_like(low)
    for share, strength in ((0.2, 0.8), (0.07, 0.4)):
        soft = low
        for _ in range(3):
            soft = _box_blur(soft, max(1, round(scale * third * share)))
        height += strength * soft
    dy, dx = slope(height)
    light = (dy * 0.75 + dx * 0.65) * scale * third
    tone = np.clip(light * 1.3, -0.85, 0.5) + gloss * 0.8 * smoothstep(light, 0.22, 0.5) * smoothstep(low, 0.5, 1.0)
    return mask, resized(tone, size)


def place(
    canvas: Canvas,
    thing: ObjectIdentity,
    centre: tuple[float, float],
    scale: float,
    index: int = 0,
    angle: float = 0.0,
    flip: bool = False,
    shadow: float = 0.5,
) -> None:
    """Draw an object into the picture with its shading and the shadow at its foot.

    centre, scale: middle (x, y) and half the height, in sides of the picture. index: which object's slots it gets.
    """
    size = canvas.size
    sketch = Sketch(size * SUPERSAMPLE, centre, scale, angle, flip)
    CLASSES[thing.category](sketch, np.array(thing.shape))
    layer = _paint_pattern(thing, sketch)
    mask, tone = _shading(sketch.layer, size, scale, thing.gloss)
    if shadow and thing.category not in FLOATING:
        foot = centre[1] + scale * 0.96
        far = ((canvas.x - centre[0] - scale * 0.35) / (scale * 1.15)) ** 2 + ((canvas.y - foot) / (scale * 0.2)) ** 2
        canvas.tone -= shadow * np.exp(-far * 1.5) * (1 - mask)
    canvas.tone = mix(canvas.tone, tone, mask)
    canvas.blend = mix(canvas.blend, 0.0, mask)
    shift = OBJECT + OBJECT_SLOTS * index - 1
    canvas.labels.paste(
        Image.fromarray(layer + np.uint8(shift)), (0, 0), Image.fromarray((layer > 0).astype(np.uint8) * 255)
    )
