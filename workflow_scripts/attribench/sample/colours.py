"""The slots of a picture, the palettes of artists, and natural light for photographs."""

import numpy as np

from attribench.sample.fields import luma, mix

(SKY, SUN, CLOUD, FAR, MID, NEAR, WATER, GLINT, BUILD, BUILD2) = range(10)
(WINDOW, TRUNK, LEAF, LEAF2, GROUND, PATH, WALL, TABLE, CLOTH, FRAME) = range(10, 20)
OBJECT = 20
BODY, PATTERN, TRIM, ACCENT, DARK, LIGHT = range(6)
OBJECT_SLOTS = 6
MAX_OBJECTS = 4
SLOTS = OBJECT + OBJECT_SLOTS * MAX_OBJECTS

_SCENE_VALUES = [
    *(0.80, 0.98, 0.92, 0.62, 0.45, 0.24, 0.50, 0.90, 0.30, 0.45),
    *(0.92, 0.16, 0.36, 0.55, 0.52, 0.74, 0.70, 0.40, 0.84, 0.26),
]
VALUES = np.array(_SCENE_VALUES + [0.48, 0.82, 0.28, 0.64, 0.08, 0.96] * MAX_OBJECTS, np.float32)
"""Usual brightness of each slot, 0..1, float32 [SLOTS]. It keeps a scene readable in any palette."""

_PALETTES = """
0b132b 1c2541 3a506b 5bc0be c9e4e7 f4f1de
2b1d1a 6b2d1f b5482a e08e45 f0c987 faf0dc
2d2a4a 564787 9a7fb6 7fa650 e6c86e fbf3d5
10222e 1f4e5f 3c8d93 f26b4e 9cc5a1 dce8d0
2a1a14 7a2e1d c4572b a8a15b e79f3c f5e8c7
3b1f50 8c2f7f e0529c ff9a76 ffd97d fff4e0
16211a 2f4a34 5f7f4a a3b56b dfd9a0 f6f2df
0f1e45 1d3f8a 3f74c8 8db6e6 d5e5f5 fbfaf2
1a0b12 5a1327 b3232f ef5a3c fba94c fde9b8
12355b 1f7a9a 43b5a0 ee964b f4d35e fff8e8
3a332e 6d5f54 9c8b78 c9b79c e5d9c3 f7f2e8
253018 5a7d2a c23b3b f08a5d f9d56e fdf6e0
1b2a41 324a5f 6f8ea3 e0b1cb a9c5d3 f4f6f8
14110f 34312d 7e7f83 d9a21b f3d779 fbf6e9
08313a 0e6b6f 27a59a f4845f 8fd6b4 f6e7b4
231123 5e2750 a23e6c d9758b f0b8a8 fbeee0
"""

_NATURAL = (
    "8fbfe8 fff6d8 fbfbff 8fa3b8 6c8a6a 3f5a38 3f7fa0 dff2fa 7a6f6a a08b7a "
    "ffe9a8 4a3626 4f7f3a 86a850 9a8f5a cbb98a cfc4b4 8a5f3c e9e2d6 5a4636"
)

# Each light: colour of the sky above and at the horizon, tint and strength of the light on everything else.
_LIGHTS = (
    ("5f9fe0", "d4e8f5", "fffaf0", 1.00),
    ("3f5f9f", "ffc08a", "ffc890", 0.88),
    ("1a2450", "4a5a8a", "8090c8", 0.55),
    ("9fb0bc", "dde2e4", "e6ecf0", 0.90),
    ("7a6ab0", "ffb8b0", "ffd0c8", 0.92),
    ("4fa0b8", "f5e8b8", "fff0c8", 1.00),
)


def hex_colours(text: str) -> np.ndarray:
    """Return space-separated hex colours as float32 [n, 3] in 0..1."""
    return np.array([list(bytes.fromhex(part)) for part in text.split()], np.float32) / 255


PALETTES = np.stack([hex_colours(line) for line in _PALETTES.strip().splitlines()])
"""Palettes that artists share, float32 [n_palettes, 6, 3], dark to light."""


def by_brightness(palette: np.ndarray) -> np.ndarray:
    """Return the palette [k, 3] sorted dark to light."""
    return palette[np.argsort(luma(palette), kind="stable")]


def natural_light(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the two colours of each slot, both float32 [SLOTS, 3], for one photo-like scene."""
    above, horizon, tint, strength = _LIGHTS[rng.integers(len(_LIGHTS))]
    base = np.full((SLOTS, 3), 0.5, np.float32)
    base[:OBJECT] = hex_colours(_NATURAL)
    base[:OBJECT] += rng.normal(0, 0.06, (OBJECT, 3)) + rng.normal(0, 0.04, (OBJECT, 1))
    base[:OBJECT] *= hex_colours(tint)[0] * strength
    base[[SUN, WINDOW]] = hex_colours("fff6d8 ffe9a8")
    other = mix(base, base.mean(0) * 0.4 + hex_colours(horizon)[0] * 0.6, 0.35).astype(np.float32)
    base[SKY], other[SKY] = hex_colours(above)[0], hex_colours(horizon)[0]
    base[WATER] = mix(base[WATER], base[SKY], 0.4)
    return np.clip(base, 0, 1), np.clip(other, 0, 1)


def backdrop_light(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the two colours of each slot for a studio: a soft colour for the wall, a related one for the table."""
    first, second = natural_light(rng)
    hue = by_brightness(PALETTES[rng.integers(len(PALETTES))])
    wall = mix(hue[rng.integers(2, 6)], np.float32(0.75), 0.35)
    first[[WALL, TABLE]] = wall, mix(wall, hue[rng.integers(1, 4)], 0.6)
    second[[WALL, TABLE]] = mix(first[[WALL, TABLE]], np.float32(1.0), 0.25)
    return first, second
