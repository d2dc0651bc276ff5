"""Techniques made of touches of colour: dabs, strokes, washes, tiles, facets and cut paper.

Each returns the motif as float32 [s, s, 3], nominally in 0..1.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from attribench.sample.fields import from_image, grain, grid, luma, mix, noise, slope, smoothstep, soften, soften_colour


@dataclass(frozen=True)
class Hand:
    """Hold how a technique is used; every number is in 0..1 except `direction`, in radians.

    length, width  size of a touch (stroke, dab, tile, facet, line spacing)
    direction      direction of the strokes
    swirl          how far they wander from it
    variety        how much neighbouring touches differ in colour
    relief         strength of texture, outlines or paper grain
    detail         how closely the technique follows the subject
    """

    length: float
    width: float
    direction: float
    swirl: float
    variety: float
    relief: float
    detail: float


@dataclass(frozen=True)
class Motif:
    """Hold what is to be painted: colours float32 [s, s, 3] in 0..1, slot of each pixel uint8 [s, s], palette [k, 3]."""

    rgb: np.ndarray
    slots: np.ndarray
    palette: np.ndarray

    @property
    def size(self) -> int:
        """Return the side in pixels."""
        return self.rgb.shape[0]

    @property
    def ink(self) -> np.ndarray:
        """Return the darkest colour of the palette."""
        return self.palette[0]

    @property
    def paper(self) -> np.ndarray:
        """Return the lightest colour of the palette."""
        return self.palette[-1]


def edges(rgb: np.ndarray, low: float = 0.04, high: float = 0.14) -> np.ndarray:
    """Return the outlines of a picture, float32 [s, s]: 0 in flat colour, 1 where colour jumps."""
    total = np.zeros(rgb.shape[:2], np.float32)
    for channel in range(3):
        dy, dx = slope(rgb[..., channel])
        total += np.abs(dy) + np.abs(dx)
    return smoothstep(total, low * 3, high * 3)


def flow(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Return the direction of the strokes at each pixel in radians, float32 [s, s]."""
    wander = noise(rng, motif.size, 2 + 3 * hand.swirl, 1)
    free = (hand.direction + wander * (0.15 + 1.8 * hand.swirl)).astype(np.float32)
    # Along outlines a stroke follows the form, so that small strokes can still draw it.
    dy, dx = slope(luma(motif.rgb))
    return np.where(np.hypot(dy, dx) > 0.04, np.arctan2(dy, dx) + np.float32(np.pi / 2), free)


def _seeds(motif: Motif, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw the centres of strokes in painting order, float32 [count, 2] in pixels; the last are on outlines, and show."""
    seeds = rng.random((count, 2), np.float32) * motif.size
    detail = edges(motif.rgb, 0.02, 0.1)[seeds[:, 0].astype(int), seeds[:, 1].astype(int)]
    return seeds[np.argsort(detail + rng.random(count, np.float32), kind="stable")]


def _touches(motif: Motif, rng, angles, half_length: float, half_width: float, coverage: float, squareness: float):
    """Lay strokes over each other at double size. Lengths are in pixels.

    Returns (seeds, owner, across). seeds [n, 2]: the strokes' centres in pixels (y, x). owner int32 [2s, 2s]: the stroke
    that shows, n for the ground. across float32 [2s, 2s]: the position across that stroke, -1..1.
    """
    side = angles.shape[0] * 2
    long, wide = max(half_length * 2, 1.2), max(half_width * 2, 1.2)
    count = int(np.clip(coverage * side**2 / (4 * long * wide), 40, 9000))
    seeds = _seeds(motif, rng, count)
    u, v = np.meshgrid(np.arange(-long, long + 0.01, 0.95), np.arange(-wide, wide + 0.01, 0.95), indexing="ij")
    keep = np.abs(u / long) ** squareness + np.abs(v / wide) ** 2 <= 1
    u, v = u[keep].astype(np.float32), v[keep].astype(np.float32)
    theta = angles[seeds[:, 0].astype(int), seeds[:, 1].astype(int)]
    cos, sin = np.cos(theta)[:, None], np.sin(theta)[:, None]
    padded = side + 2
    y = np.clip(seeds[:, :1] * 2 + u * sin + v * cos + 1, 0, padded - 1).astype(np.int32)
    x = np.clip(seeds[:, 1:] * 2 + u * cos - v * sin + 1, 0, padded - 1).astype(np.int32)
    code = np.full(padded * padded, count * u.size, np.int32)
    code[(y * padded + x).ravel()] = np.arange(count * u.size, dtype=np.int32)
    code = code.reshape(padded, padded)[1:-1, 1:-1]
    owner, sample = np.divmod(code, np.int32(u.size))
    return seeds.astype(np.int32), owner, (v / wide)[sample]


def _touch_colours(motif: Motif, hand: Hand, rng: np.random.Generator, seeds: np.ndarray, ground) -> np.ndarray:
    """Choose the colour of each stroke and, last, of the ground: uint8 [n + 1, 3]."""
    colours = motif.rgb[seeds[:, 0], seeds[:, 1]]
    count = len(seeds)
    guest = motif.palette[rng.integers(0, len(motif.palette), count)]
    share = (rng.random((count, 1), np.float32) ** 3) * (0.05 + 0.5 * hand.variety)
    colours = mix(colours, guest, share) + rng.normal(0, 0.02 + 0.05 * hand.variety, (count, 1))
    table = np.concatenate([colours, np.asarray(ground, np.float32)[None]])
    return (np.clip(table, 0, 1) * 255 + 0.5).astype(np.uint8)


def pointillist(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Paint round dabs of broken colour."""
    unit = motif.size / 256
    radius = (1.2 + 1.5 * hand.width) * unit
    angles = flow(motif, hand, rng)
    seeds, owner, _ = _touches(motif, rng, angles, radius * (1 + 1.2 * hand.length), radius, 1.4 + 0.8 * hand.detail, 2)
    ground = mix(motif.paper, motif.ink, 0.75 * (hand.relief > 0.6))
    table = _touch_colours(motif, hand, rng, seeds, ground)
    return from_image(Image.fromarray(table[owner]).reduce(2))


def impasto(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Paint thick strokes whose bristles catch the light."""
    unit = motif.size / 256
    half_length, half_width = (2.4 + 5.6 * hand.length) * unit, (1.1 + 1.9 * hand.width) * unit
    angles = flow(motif, hand, rng)
    seeds, owner, across = _touches(motif, rng, angles, half_length, half_width, 1.5 + 0.6 * hand.detail, 6)
    table = _touch_colours(motif, hand, rng, seeds, motif.rgb.mean((0, 1)))
    rgb = from_image(Image.fromarray(table[owner]).reduce(2))
    bristles = rng.random((len(seeds) + 1, 8), np.float32)
    height = bristles[owner, ((across + 1) * 3.99).astype(np.int32)] * 0.5 + 1 - across**2
    height = height.reshape(motif.size, 2, motif.size, 2).mean((1, 3))
    dy, dx = slope(height)
    return rgb + (np.clip(dy + dx, -1, 1) * (0.06 + 0.26 * hand.relief))[..., None]


def papercut(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Lay flat coloured paper in layers, each of which casts a small shadow."""
    size, unit = motif.size, motif.size / 256
    levels = 2 + round(3 * hand.detail)
    blurred = soften_colour(motif.rgb, (1 + 4 * hand.width) * unit)
    base = mix(blurred, motif.rgb, 0.35 + 0.3 * hand.detail)
    light = luma(base)
    stepped = np.round(light * levels + 0.25 * noise(rng, size, 6)) / levels
    rgb = base + 0.8 * (stepped - light)[..., None]
    reach = max(1, round((1.5 + 5 * hand.length) * unit))
    angle = hand.direction
    shift = (round(reach * math.sin(angle)), round(reach * math.cos(angle)))
    level = stepped + motif.slots * np.float32(0.03)
    under = np.roll(level, shift, (0, 1)) - level
    rgb -= (soften(smoothstep(under, 0.02, 0.2), 1.5 * unit) * (0.12 + 0.3 * hand.relief))[..., None]
    fibre = noise(rng, size, size / 2, 1) * 0.02 + noise(rng, size, size / 7, 1) * 0.015
    return rgb + (fibre * (0.4 + 1.8 * hand.variety))[..., None]


def watercolour(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Paint wet washes that run, pool at their outlines and leave the paper bare."""
    size, unit = motif.size, motif.size / 256
    spread = (1 + 5 * hand.swirl) * unit
    y, x = grid(size)
    rows = np.clip(y * size + noise(rng, size, 12, 2) * spread * 0.5, 0, size - 1).astype(np.int32)
    columns = np.clip(x * size + noise(rng, size, 12, 2) * spread * 0.5, 0, size - 1).astype(np.int32)
    run = soften_colour(motif.rgb[rows, columns], (0.8 + 1.2 * hand.width) * unit)
    pool = soften_colour(run, (4 + 8 * hand.length) * unit)
    edge = np.abs(luma(run) - luma(pool))
    wash = noise(rng, size, 5, 3) * (0.05 + 0.14 * hand.variety)
    pigment = np.clip(0.85 + 0.3 * hand.detail + wash + 2.2 * edge, 0, 1.5)[..., None]
    rgb = 1 - (1 - mix(pool, run, 0.7)) * pigment
    tooth = noise(rng, size, size / 3, 1) * 0.05 * hand.relief
    margin = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) + 0.025 * noise(rng, size, 7, 2)
    bare = smoothstep(margin, 0.01, 0.03 + 0.05 * hand.length)[..., None]
    return mix(mix(motif.paper, np.float32(1), 0.6), rgb, bare) + tooth[..., None]


def mosaic(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Set square tiles in rows, with grout between."""
    size = motif.size
    side = (4 + 5 * hand.width) / 256
    y, x = grid(size)
    bend = noise(rng, size, 2, 1) * 0.025 * hand.swirl
    cos, sin = math.cos(hand.direction), math.sin(hand.direction)
    u, v = (x * cos + y * sin + bend) / side, (y * cos - x * sin - bend) / (side * (0.7 + 0.6 * hand.length))
    v = v + 0.5 * (np.floor(u) % 2) * (hand.detail > 0.5)
    column, row = np.floor(u), np.floor(v)
    fu, fv = u - column, v - row
    # The middle of each tile, found by stepping back from the pixel, gives the tile's one colour.
    du, dv = (0.5 - fu) * side, (0.5 - fv) * side * (0.7 + 0.6 * hand.length)
    rows = np.clip((y + du * sin + dv * cos) * size, 0, size - 1).astype(np.int32)
    columns = np.clip((x + du * cos - dv * sin) * size, 0, size - 1).astype(np.int32)
    rgb = motif.rgb[rows, columns]
    lottery = rng.normal(0, 0.03 + 0.1 * hand.variety, 8192).astype(np.float32)
    number = (column.astype(np.int64) * 73 + row.astype(np.int64) * 1031) % lottery.size
    rgb = rgb + lottery[number][..., None]
    rgb += ((fv - 0.5) * -0.22 * hand.relief + (fu - 0.5) * -0.12 * hand.relief)[..., None]
    border = np.minimum(np.minimum(fu, 1 - fu), np.minimum(fv, 1 - fv))
    grout = mix(motif.ink, motif.paper, 0.15 + 0.7 * (hand.relief < 0.4))
    return mix(grout, rgb, smoothstep(border, 0.02, 0.16)[..., None])


def nearest_cells(rng: np.random.Generator, size: int, cells: float, warp: float = 0.0):
    """Cut the picture into Voronoi cells, about `cells` a side.

    Returns each pixel's cell, int32 [s, s]; its distance to the cell's border, in sides; and the centres (y, x) [n, 2].
    """
    count = int(np.ceil(cells)) + 3
    seeds = rng.random((count * count, 2), np.float32) * 0.9
    seeds[:, 0] += np.repeat(np.arange(count), count) - 1
    seeds[:, 1] += np.tile(np.arange(count), count) - 1
    y, x = (axis * np.float32(cells) for axis in grid(size))
    if warp:
        y, x = y + noise(rng, size, 8, 1) * warp, x + noise(rng, size, 8, 1) * warp
    row, column = np.floor(y).astype(np.int32) + 1, np.floor(x).astype(np.int32) + 1
    first = np.full((size, size), 9.0, np.float32)
    second, owner = first.copy(), np.zeros((size, size), np.int32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            number = np.clip(row + dy, 0, count - 1) * count + np.clip(column + dx, 0, count - 1)
            seed = seeds[number]
            far = (y - seed[..., 0]) ** 2 + (x - seed[..., 1]) ** 2
            closer = far < first
            second = np.where(closer, first, np.minimum(second, far))
            owner = np.where(closer, number, owner)
            first = np.minimum(first, far)
    return owner, (np.sqrt(second) - np.sqrt(first)) / np.float32(cells), seeds / np.float32(cells)


def cubist(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Cut the subject into facets, each a little shifted and lit from its own side."""
    size = motif.size
    cells = 4 + 9 * (1 - hand.length)
    owner, border, centres = nearest_cells(rng, size, cells, 0.0)
    y, x = grid(size)
    jump = rng.normal(0, (0.008 + 0.03 * hand.swirl), (len(centres), 2)).astype(np.float32)
    rows = np.clip((y + jump[owner, 0]) * size, 0, size - 1).astype(np.int32)
    columns = np.clip((x + jump[owner, 1]) * size, 0, size - 1).astype(np.int32)
    middle = np.clip(centres * size, 0, size - 1).astype(np.int32)
    flat = soften_colour(motif.rgb, 6 * size / 256)[middle[:, 0], middle[:, 1]][owner]
    rgb = mix(flat, motif.rgb[rows, columns], 0.5 + 0.4 * hand.detail)
    turn = hand.direction + rng.normal(0, 0.5, len(centres)).astype(np.float32)
    lean = np.cos(turn)[owner] * (x - centres[owner, 1]) + np.sin(turn)[owner] * (y - centres[owner, 0])
    rgb = rgb + (lean * cells * (0.1 + 0.25 * hand.variety))[..., None]
    line = (0.3 + 1.6 * hand.width) / 256
    seam = mix(motif.ink, motif.paper, float(hand.relief > 0.6))
    return mix(seam, rgb, np.maximum(smoothstep(border, line * 0.3, line + 0.004), 0.1)[..., None])


def with_grain(rgb: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Add fine brightness noise of the given strength."""
    return rgb + grain(rng, rgb.shape[0]) * np.float32(strength)
