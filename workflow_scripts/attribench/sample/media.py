"""Pictures of one object: photo-like on a backdrop or in a scene, and in other media."""

import numpy as np

from .colours import OBJECT, OBJECT_SLOTS, PALETTES, backdrop_light, by_brightness, hex_colours, natural_light
from .fields import luma, mix, rotate_hue, smoothstep, soften, soften_colour
from .lines import blueprint, cross_stitch, neon, pencil, stained_glass, woodcut
from .objects import ObjectIdentity, place
from .paint import Hand, Motif, impasto, mosaic, watercolour, with_grain
from .scenes import OUTDOOR_SCENES, SCENES, extra_object, floats, meadow, random_habit, table_top
from .stage import SUPERSAMPLE, Stage

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

# Ink and paper where the medium and not the picture decides them.
_OWN_COLOURS = {
    "pencil": hex_colours("2a2a2e f6f3ea"),
    "blueprint": hex_colours("16407f eaf4ff"),
    "woodcut": hex_colours("17130f f2e6cc"),
    "watercolour": hex_colours("2a2a2e fffdf8"),
}
# How strongly a medium shows around the object, where its texture would drown everything else, and on the object.
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


def _pose(stage: Stage, thing: ObjectIdentity, rng: np.random.Generator, foot: float, index: int, scale: float) -> None:
    """Set the object down with a little change of place, size and lean."""
    centre = (rng.uniform(0.4, 0.6), foot - scale * 0.92 - (0.12 if floats(thing) else 0))
    place(stage, thing, centre, scale, index, rng.normal(0, 0.04), bool(rng.random() < 0.3))


def _mask(stage: Stage, index: int) -> np.ndarray:
    """Where object `index` is, float32 [size, size] in 0..1."""
    first = OBJECT + OBJECT_SLOTS * index
    inside = stage.labels.point([255 * (first <= slot < first + OBJECT_SLOTS) for slot in range(256)])
    return np.asarray(inside.reduce(SUPERSAMPLE), np.float32) / 255


def photo(thing: ObjectIdentity, size: int, rng: np.random.Generator) -> np.ndarray:
    """The object photo-like before a plain backdrop, float32 [size, size, 3]."""
    stage = Stage(size)
    table_top(stage, rng, random_habit(rng))
    tables = backdrop_light(rng)
    _set_colours(tables, 0, thing)
    _pose(stage, thing, rng, rng.uniform(0.82, 0.9), 0, rng.uniform(0.29, 0.36))
    return with_grain(stage.coloured(*tables, _LIGHT, _DARK, 0.75), rng, 0.012)


def photo_in_scene(thing: ObjectIdentity, size: int, rng: np.random.Generator) -> np.ndarray:
    """The object photo-like in front of a scene that is out of focus, float32 [size, size, 3]."""
    stage = Stage(size)
    habit = random_habit(rng)
    index = 3
    if rng.random() < 0.25:
        SCENES["room"](stage, rng, habit)
    else:
        SCENES[OUTDOOR_SCENES[rng.integers(len(OUTDOOR_SCENES))]](stage, rng, habit)
    tables = natural_light(rng)
    for other in range(index):
        _set_colours(tables, other, extra_object(rng))
    far = soften_colour(stage.coloured(*tables, _LIGHT, _DARK, 0.75), 2.6 * size / 256)
    _set_colours(tables, index, thing)
    behind = stage.tone.copy()
    _pose(stage, thing, rng, rng.uniform(0.84, 0.94), index, rng.uniform(0.26, 0.34))
    sharp = stage.coloured(*tables, _LIGHT, _DARK, 0.75)
    mask = _mask(stage, index)[..., None]
    shade = 1 + np.clip(stage.tone - behind, -0.7, 0)[..., None] * 0.6
    return with_grain(mix(far * shade, sharp, mask), rng, 0.014)


def _recoloured(table: np.ndarray, angle: float, ramp: np.ndarray, share: float) -> np.ndarray:
    """A slot table [n, 3] in the medium's colours: hue turned, then drawn towards a ramp [k, 3] by brightness."""
    turned = rotate_hue(table, angle)
    place_on_ramp = np.clip(luma(table) * (len(ramp) - 1), 0, len(ramp) - 1)
    return mix(turned, ramp[np.round(place_on_ramp).astype(int)], share).astype(np.float32)


def in_medium(thing: ObjectIdentity, size: int, rng: np.random.Generator, name: str | None = None) -> np.ndarray:
    """The object in another medium (any, unless named), in the medium's colours; float32 [size, size, 3]."""
    name = name or MEDIA_NAMES[rng.integers(len(MEDIA_NAMES))]
    stage = Stage(size)
    (table_top, meadow)[int(rng.random() < 0.2)](stage, rng, random_habit(rng))
    tables = backdrop_light(rng)
    _set_colours(tables, 0, thing)
    ramp = by_brightness(PALETTES[rng.integers(len(PALETTES))])
    turn, share = rng.uniform(0.8, 5.5), rng.uniform(0.15, 0.5)
    first, second = (_recoloured(table, turn, ramp, share) for table in tables)
    _pose(stage, thing, rng, rng.uniform(0.84, 0.92), 0, rng.uniform(0.31, 0.38))
    palette = _OWN_COLOURS.get(name, ramp)
    motif = Motif(stage.coloured(first, second, _LIGHT, _DARK, 0.7), stage.slots(), palette)
    length, width, swirl, variety = rng.uniform(0.1, 0.6, 4).tolist()
    hand = Hand(length, width * 0.6, rng.uniform(0, np.pi), swirl * 0.6, variety * 0.5, 0.5, rng.uniform(0.6, 1))
    own = smoothstep(soften(_mask(stage, 0), 3 * size / 256), 0.05, 0.3)[..., None]
    strength = mix(np.float32(_AROUND[name]), np.float32(_ON_OBJECT), own)
    return with_grain(mix(motif.rgb, MEDIA[name](motif, hand, rng), strength), rng, 0.01)
