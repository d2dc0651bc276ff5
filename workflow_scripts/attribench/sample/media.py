"""Pictures of one object: photo-like on a backdrop or in a scene, and in other media."""

import numpy as np

from attribench.sample.canvas import SUPERSAMPLE, Canvas
from attribench.sample.colours import (
    OBJECT,
    OBJECT_SLOTS,
    PALETTES,
    backdrop_light,
    by_brightness,
    hex_colours,
    natural_light,
)
from attribench.sample.fields import luma, mix, rotate_hue, smoothstep, soften, soften_colour
from attribench.sample.lines import blueprint, cross_stitch, neon, pencil, stained_glass, woodcut
from attribench.sample.objects import ObjectIdentity, place
from attribench.sample.paint import Hand, Motif, impasto, mosaic, watercolour, with_grain
from attribench.sample.scenes import OUTDOOR_SCENES, SCENES, extra_object, floats, meadow, random_habit, table_top

MEDIA = {
    "pencil": pencil,
    "mosaic": mosaic,
    "neon": neon,
    "watercolour": watercolour,
    "cross_stitch": cross_stitch,
    "stained_glass": stained_glass,
    "blueprint": blueprint,
    "woodcut": woodcut,
    "oil": impasto,
}
MEDIA_NAMES = tuple(MEDIA)

# Ink and paper, where they are the medium's own.
_OWN_COLOURS = {
    "pencil": hex_colours("2a2a2e f6f3ea"),
    "blueprint": hex_colours("16407f eaf4ff"),
    "woodcut": hex_colours("17130f f2e6cc"),
    "watercolour": hex_colours("2a2a2e fffdf8"),
}
# How strongly a medium shows around the object and on it: around it, its texture would drown everything else.
_AROUND = {
    "pencil": 0.1,
    "mosaic": 0.05,
    "neon": 0.4,
    "watercolour": 0.2,
    "cross_stitch": 0.06,
    "stained_glass": 0.03,
    "blueprint": 0.1,
    "woodcut": 0.1,
    "oil": 0.1,
}
_ON_OBJECT = 0.58
_LIGHT, _DARK = np.array([1, 0.98, 0.93], np.float32), np.array([0.04, 0.04, 0.1], np.float32)


def _set_colours(tables: tuple[np.ndarray, np.ndarray], index: int, thing: ObjectIdentity) -> None:
    start = OBJECT + OBJECT_SLOTS * index
    for table in tables:
        table[start : start + OBJECT_SLOTS] = np.array(thing.colours, np.float32)


def _pose(
    canvas: Canvas, thing: ObjectIdentity, rng: np.random.Generator, foot: float, index: int, scale: float
) -> None:
    """Draw the object with its foot at about `foot`; position and lean vary a little."""
    centre = (rng.uniform(0.4, 0.6), foot - scale * 0.92 - (0.12 if floats(thing) else 0))
    place(canvas, thing, centre, scale, index, rng.normal(0, 0.04), bool(rng.random() < 0.3))


def _mask(canvas: Canvas, index: int) -> np.ndarray:
    """Return where object `index` is, float32 [size, size] in 0..1."""
    first = OBJECT + OBJECT_SLOTS * index
    inside = canvas.labels.point([255 * (first <= slot < first + OBJECT_SLOTS) for slot in range(256)])
    return np.asarray(inside.reduce(SUPERSAMPLE), np.float32) / 255


def photo(thing: ObjectIdentity, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the object photo-like before a plain backdrop: float32 [size, size, 3]."""
    canvas = Canvas(size)
    table_top(canvas, rng, random_habit(rng))
    tables = backdrop_light(rng)
    _set_colours(tables, 0, thing)
    _pose(canvas, thing, rng, rng.uniform(0.82, 0.9), 0, rng.uniform(0.29, 0.36))
    return with_grain(canvas.coloured(*tables, _LIGHT, _DARK, 0.75), rng, 0.012)


def photo_in_scene(thing: ObjectIdentity, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the object photo-like before a scene that is out of focus: float32 [size, size, 3]."""
    canvas = Canvas(size)
    habit = random_habit(rng)
    index = 3
    if rng.random() < 0.25:
        SCENES["room"](canvas, rng, habit)
    else:
        SCENES[OUTDOOR_SCENES[rng.integers(len(OUTDOOR_SCENES))]](canvas, rng, habit)
    tables = natural_light(rng)
    for other in range(index):
        _set_colours(tables, other, extra_object(rng))
    far = soften_colour(canvas.coloured(*tables, _LIGHT, _DARK, 0.75), 2.6 * size / 256)
    _set_colours(tables, index, thing)
    behind = canvas.tone.copy()
    _pose(canvas, thing, rng, rng.uniform(0.84, 0.94), index, rng.uniform(0.26, 0.34))
    sharp = canvas.coloured(*tables, _LIGHT, _DARK, 0.75)
    mask = _mask(canvas, index)[..., None]
    shade = 1 + np.clip(canvas.tone - behind, -0.7, 0)[..., None] * 0.6
    return with_grain(mix(far * shade, sharp, mask), rng, 0.014)


def _recoloured(table: np.ndarray, angle: float, ramp: np.ndarray, share: float) -> np.ndarray:
    """Recolour a slot table [n, 3]: turn its hue, then move it towards the colour of its brightness in `ramp` [k, 3]."""
    turned = rotate_hue(table, angle)
    position = np.clip(luma(table) * (len(ramp) - 1), 0, len(ramp) - 1)
    return mix(turned, ramp[np.round(position).astype(int)], share).astype(np.float32)


def in_medium(thing: ObjectIdentity, size: int, rng: np.random.Generator, name: str | None = None) -> np.ndarray:
    """Draw the object in another medium (any, unless named), in that medium's colours: float32 [size, size, 3]."""
    name = name or MEDIA_NAMES[rng.integers(len(MEDIA_NAMES))]
    canvas = Canvas(size)
    (table_top, meadow)[int(rng.random() < 0.2)](canvas, rng, random_habit(rng))
    tables = backdrop_light(rng)
    _set_colours(tables, 0, thing)
    ramp = by_brightness(PALETTES[rng.integers(len(PALETTES))])
    turn, share = rng.uniform(0.8, 5.5), rng.uniform(0.15, 0.5)
    first, second = (_recoloured(table, turn, ramp, share) for table in tables)
    _pose(canvas, thing, rng, rng.uniform(0.84, 0.92), 0, rng.uniform(0.31, 0.38))
    palette = _OWN_COLOURS.get(name, ramp)
    motif = Motif(canvas.coloured(first, second, _LIGHT, _DARK, 0.7), canvas.slots(), palette)
    length, width, swirl, variety = rng.uniform(0.1, 0.6, 4).tolist()
    hand = Hand(length, width * 0.6, rng.uniform(0, np.pi), swirl * 0.6, variety * 0.5, 0.5, rng.uniform(0.6, 1))
    own = smoothstep(soften(_mask(canvas, 0), 3 * size / 256), 0.05, 0.3)[..., None]
    strength = mix(np.float32(_AROUND[name]), np.float32(_ON_OBJECT), own)
    return with_grain(mix(motif.rgb, MEDIA[name](motif, hand, rng), strength), rng, 0.01)
