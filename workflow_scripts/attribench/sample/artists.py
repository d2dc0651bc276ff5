"""Artists: what tells one from another, near misses, and their pictures."""

from dataclasses import dataclass, replace

import numpy as np

from attribench.sample.canvas import Canvas
from attribench.sample.colours import LIGHT, OBJECT, OBJECT_SLOTS, PALETTES, SLOTS, VALUES, by_brightness
from attribench.sample.fields import generator, grid, mix, smoothstep
from attribench.sample.lines import contour, etching, halftone, woodcut
from attribench.sample.objects import ObjectIdentity, place
from attribench.sample.paint import Hand, Motif, cubist, impasto, mosaic, papercut, pointillist, watercolour, with_grain
from attribench.sample.scenes import QUIET_SCENES, SCENES, Habit, extra_object, floats

SCHOOLS = {
    "pointillist": pointillist,
    "impasto": impasto,
    "papercut": papercut,
    "watercolour": watercolour,
    "mosaic": mosaic,
    "cubist": cubist,
    "etching": etching,
    "woodcut": woodcut,
    "contour": contour,
    "halftone": halftone,
}
SCHOOL_NAMES = tuple(SCHOOLS)
FRAMES = ("none", "margin", "rule", "vignette", "arch", "oval")
_STREAM = 12  # begins the numbers that an artist's generators depend on


@dataclass(frozen=True)
class ArtistIdentity:
    """Hold what an artist has in all pictures.

    school       the technique
    hand         how the technique is used
    palette      5 to 7 colours, dark to light, as (r, g, b) in 0..1
    preferences  for each slot, how much lighter than usual this artist paints it
    habit        composition; mirrored when `left_handed`
    frame        border of every picture; frame_width in sides of the picture
    contrast     strength of light and shade
    grain        strength of fine noise
    """

    school: str
    hand: Hand
    palette: tuple[tuple[float, ...], ...]
    preferences: tuple[float, ...]
    habit: Habit
    left_handed: bool
    frame: str
    frame_width: float
    contrast: float
    grain: float


def _palette(rng: np.random.Generator) -> tuple[tuple[float, ...], ...]:
    base = PALETTES[rng.integers(len(PALETTES))] + rng.normal(0, 0.015, (6, 3))
    count = rng.integers(5, 8)
    if count == 5:
        base = np.delete(base, rng.integers(1, 5), axis=0)
    elif count == 7:
        between = rng.integers(0, 5)
        base = np.insert(base, between + 1, (base[between] + base[between + 1]) / 2, axis=0)
    return tuple(tuple(colour.round(4).tolist()) for colour in by_brightness(np.clip(base, 0, 1).astype(np.float32)))


def _hand(rng: np.random.Generator) -> Hand:
    length, width, swirl, variety, relief, detail = rng.random(6).round(5).tolist()
    return Hand(length, width, float(rng.uniform(0, np.pi)), swirl, variety, relief, detail)


def draw_artist(seed: int, number: int) -> ArtistIdentity:
    """Draw the artist with this identity number."""
    rng = generator(seed, _STREAM, number)
    turn = int(generator(seed, _STREAM).integers(1000))
    return ArtistIdentity(
        school=SCHOOL_NAMES[(number + turn) % len(SCHOOL_NAMES)],
        hand=_hand(rng),
        palette=_palette(rng),
        preferences=tuple(rng.normal(0, 0.13, SLOTS).round(4).tolist()),
        habit=Habit(*(float(rng.uniform(*span)) for span in ((0.3, 0.68), (0.12, 0.88), (0.03, 0.12), (0.2, 1.0)))),
        left_handed=bool(rng.random() < 0.5),
        frame=FRAMES[rng.choice(len(FRAMES), p=(0.4, 0.14, 0.14, 0.14, 0.09, 0.09))],
        frame_width=float(rng.uniform(0.02, 0.06)),
        contrast=float(rng.uniform(0.4, 1.0)),
        grain=float(rng.uniform(0.0, 0.05)),
    )


def same_palette(target: ArtistIdentity, other: ArtistIdentity) -> ArtistIdentity:
    """Return a near miss: an artist with `target`'s colours and another school's technique."""
    school = other.school
    if school == target.school:
        school = SCHOOL_NAMES[(SCHOOL_NAMES.index(school) + 3) % len(SCHOOL_NAMES)]
    return replace(other, school=school, palette=target.palette, preferences=target.preferences)


def same_hand(seed: int, target: ArtistIdentity, other: ArtistIdentity, number: int) -> ArtistIdentity:
    """Return a near miss: a pupil with nearly `target`'s technique but other colours and composition."""
    rng = generator(seed, _STREAM, number, 1)
    values = [
        getattr(target.hand, name) for name in ("length", "width", "direction", "swirl", "variety", "relief", "detail")
    ]
    moved = np.array(values) + rng.normal(0, 0.12, len(values))
    moved[2] += rng.choice([-1, 1]) * 0.5
    moved[[0, 1, 3, 4, 5, 6]] = np.clip(moved[[0, 1, 3, 4, 5, 6]], 0, 1)
    return replace(other, school=target.school, hand=Hand(*moved.round(5).tolist()))


def _tables(artist: ArtistIdentity, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mix an artist's colours for one picture: each slot's first and second, float32 [SLOTS, 3], and the palette [k, 3]."""
    palette = np.array(artist.palette, np.float32)
    palette = np.clip(palette + rng.normal(0, 0.03, palette.shape) + rng.normal(0, 0.025, (1, 3)), 0, 1)
    palette = palette.astype(np.float32)
    brightness = VALUES + np.array(artist.preferences) + rng.normal(0, 0.09, SLOTS)
    last = len(palette) - 1
    index = np.clip(np.round(brightness * last), 0, last).astype(int)
    index[OBJECT + LIGHT :: OBJECT_SLOTS] = last
    neighbour = np.clip(index + np.where(rng.random(SLOTS) < 0.5, 1, -1), 0, last)
    return palette[index], mix(palette[index], palette[neighbour], 0.6), palette


def _framed(rgb: np.ndarray, artist: ArtistIdentity, palette: np.ndarray) -> np.ndarray:
    size = rgb.shape[0]
    y, x = grid(size)
    inset = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    wide, soft = artist.frame_width, 1.0 / size
    paper, ink = mix(palette[-1], np.float32(1), 0.3), palette[0]
    if artist.frame == "margin":
        return mix(paper, rgb, smoothstep(inset, wide - soft, wide + soft)[..., None])
    if artist.frame == "rule":
        return mix(rgb, ink, (1 - smoothstep(np.abs(inset - wide), 0.006, 0.006 + 2 * soft))[..., None])
    if artist.frame == "vignette":
        return mix(rgb, ink, np.clip(smoothstep(np.hypot(x - 0.5, y - 0.5), 0.42, 0.85), 0, 0.75)[..., None])
    if artist.frame == "arch":
        dome = np.hypot(x - 0.5, np.minimum(y - 0.5, 0)) - (0.5 - wide)
        return mix(rgb, paper, smoothstep(np.maximum(dome, wide - inset), -soft, soft)[..., None])
    if artist.frame == "oval":
        return mix(rgb, paper, smoothstep(np.hypot(x - 0.5, y - 0.5), 0.55 - wide, 0.55 - wide + 2 * soft)[..., None])
    return rgb


def _habit_of_picture(artist: ArtistIdentity, rng: np.random.Generator) -> Habit:
    habit = artist.habit
    near = rng.normal(0, 0.03, 4).tolist()
    return Habit(
        habit.horizon + near[0], habit.sun_x + near[1] * 2, habit.sun_size * (1 + 3 * near[2]), habit.fullness + near[3]
    )


def _finish(canvas: Canvas, artist: ArtistIdentity, rng: np.random.Generator) -> np.ndarray:
    if artist.left_handed:
        canvas.mirror()
    first, second, palette = _tables(artist, rng)
    light, dark = mix(palette[-1], np.float32(1), 0.25), palette[0] * 0.9
    motif = Motif(canvas.coloured(first, second, light, dark, artist.contrast), canvas.slots(), palette)
    rgb = SCHOOLS[artist.school](motif, artist.hand, rng)
    return with_grain(_framed(rgb, artist, palette), rng, artist.grain)


def paint_scene(artist: ArtistIdentity, size: int, rng: np.random.Generator, name: str | None = None) -> np.ndarray:
    """Paint a scene (any, unless named) as the artist does: float32 [size, size, 3]."""
    canvas = Canvas(size)
    names = tuple(SCENES)
    chosen = name or names[rng.integers(len(names))]
    SCENES[chosen](canvas, rng, _habit_of_picture(artist, rng))
    return _finish(canvas, artist, rng)


def paint_object(
    artist: ArtistIdentity, size: int, rng: np.random.Generator, thing: ObjectIdentity | None = None
) -> np.ndarray:
    """Paint one object (any, unless `thing` is one) as the artist does: float32 [size, size, 3]."""
    canvas = Canvas(size)
    habit = _habit_of_picture(artist, rng)
    QUIET_SCENES[rng.integers(len(QUIET_SCENES))](canvas, rng, habit)
    thing = thing or extra_object(rng)
    scale = rng.uniform(0.24, 0.36)
    foot = 0.5 + scale * 0.3 if floats(thing) else min(0.92, 0.68 + 0.2 * habit.horizon)
    place(canvas, thing, (rng.uniform(0.35, 0.65), foot - scale * 0.9), scale, flip=bool(rng.random() < 0.5))
    return _finish(canvas, artist, rng)
