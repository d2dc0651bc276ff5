"""Techniques made of lines and dots: etching, woodcut, contour drawing, halftone print, stitches, glow and glass.

Each returns the motif as float32 [s, s, 3], nominally in 0..1.
"""

import math

import numpy as np

from attribench.sample.fields import grid, luma, mix, noise, slope, smoothstep, soften, soften_colour
from attribench.sample.paint import Hand, Motif, edges, nearest_cells


def _triangle(phase: np.ndarray) -> np.ndarray:
    """Return twice the distance to the nearest whole number, 0..1."""
    return np.abs(phase - np.floor(phase) - 0.5) * 2


def hatching(dark: np.ndarray, hand: Hand, rng: np.random.Generator, lines: float, layers: int) -> np.ndarray:
    """Return the ink, 0..1, of crossed hatching whose lines widen with darkness: float32 [s, s], `lines` a side."""
    size = dark.shape[0]
    y, x = grid(size)
    wobble = noise(rng, size, 5, 2) * (0.1 + 0.9 * hand.swirl)
    blur = 1.6 * lines / size
    total = np.zeros((size, size), np.float32)
    for layer in range(layers):
        angle = hand.direction + layer * (0.5 + 1.1 * hand.length)
        wave = _triangle((x * math.cos(angle) + y * math.sin(angle)) * lines + wobble)
        reach = np.clip((dark - 0.12 - layer * 0.2) * 1.3, 0, 0.85)
        total = np.maximum(total, smoothstep(wave, 1 - reach - blur, 1 - reach + blur) * (reach > 0.02))
    return total


def etching(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Draw crossed ink lines over a pale wash."""
    lines = 34 + 46 * (1 - hand.width)
    ink = hatching(1 - luma(motif.rgb), hand, rng, lines, 1 + round(2 * hand.detail))
    outline = edges(motif.rgb) * (0.2 + 0.8 * hand.relief)
    ground = mix(motif.paper, motif.rgb, 0.1 + 0.6 * hand.variety)
    return mix(ground, motif.ink, np.maximum(ink * 0.9, outline)[..., None])


def woodcut(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Carve bold blocks of colour with flowing gouge marks."""
    size, unit = motif.size, motif.size / 256
    y, x = grid(size)
    light = luma(motif.rgb)
    lines = 16 + 26 * (1 - hand.width)
    along = x * math.cos(hand.direction) + y * math.sin(hand.direction)
    bend = 0.12 * hand.swirl * noise(rng, size, 4, 1) + 0.25 * hand.length * soften(light, 18 * unit)
    wave = _triangle(lines * (along + bend))
    blur = 2.0 * lines / size
    carved = np.clip((light - 0.2) * 1.5, 0, 1.3)
    ink = 1 - smoothstep(carved - wave * (0.6 + 0.4 * hand.detail), -blur, blur)
    thick = soften(edges(motif.rgb, 0.03, 0.1), (1 + 1.6 * hand.relief) * unit)
    ink = np.maximum(ink, smoothstep(thick, 0.2, 0.5) * (0.3 + 0.7 * hand.relief))
    steps = 3 + round(2 * hand.variety)
    flat = np.round(motif.rgb * steps) / steps
    return mix(mix(flat, motif.rgb, 0.5), motif.ink, ink[..., None])


def contour(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Draw level lines of the light over flat washes, like a map."""
    size, unit = motif.size, motif.size / 256
    height = soften(luma(motif.rgb), (2 + 7 * hand.length) * unit) + 0.05 * (0.3 + hand.swirl) * noise(rng, size, 4, 2)
    levels = 7 + 15 * hand.detail
    dy, dx = slope(height)
    steep = np.hypot(dy, dx) * levels + 1e-3
    distance = (1 - _triangle(height * levels)) * 0.5 / steep
    line = 1 - smoothstep(distance, (0.35 + 1.3 * hand.width) * unit, (1.2 + 1.6 * hand.width) * unit)
    line *= smoothstep(steep, 0.004, 0.03)
    banded = np.floor(height * levels) / levels
    wash = motif.palette[np.clip(banded * len(motif.palette), 0, len(motif.palette) - 1).astype(np.int32)]
    ground = mix(mix(motif.paper, wash, 0.75), motif.rgb, 0.25 + 0.6 * hand.variety)
    dark_ground = hand.relief > 0.7
    pen = motif.paper if dark_ground else motif.ink
    ground = mix(ground, motif.ink, 0.65 * dark_ground)
    return mix(ground, pen, np.maximum(line, 0.5 * edges(motif.rgb))[..., None])


def halftone(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Print dots under flat colour that has slipped, with a bold outline."""
    size, unit = motif.size, motif.size / 256
    y, x = grid(size)
    dots = 26 + 34 * (1 - hand.width)
    cos, sin = math.cos(hand.direction), math.sin(hand.direction)
    u, v = (x * cos + y * sin) * dots, (y * cos - x * sin) * dots
    apart = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
    dark = 1 - luma(motif.rgb)
    radius = np.sqrt(np.clip(dark * (0.5 + 0.8 * hand.detail), 0, 1)) * 0.62
    blur = 0.8 * dots / size
    dot = 1 - smoothstep(apart - radius, -blur, blur)
    slip = round((1 + 4 * hand.length) * unit)
    colour = np.roll(motif.rgb, (slip, -slip), (0, 1))
    steps = 2 + round(2 * hand.variety)
    flat = mix(np.round(colour * steps) / steps, motif.paper, 0.2 + 0.3 * hand.swirl)
    rgb = mix(flat, motif.ink, (dot * (0.45 + 0.45 * hand.variety))[..., None])
    bold = smoothstep(soften(edges(motif.rgb, 0.03, 0.1), 1.6 * unit), 0.2, 0.5)
    return mix(rgb, motif.ink, (bold * hand.relief)[..., None])


def pencil(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Draw in graphite: soft shading, outlines and the tooth of the paper."""
    size = motif.size
    dark = np.clip(0.85 - luma(motif.rgb), 0, 1)
    stroke = hatching(dark, hand, rng, 50 + 40 * hand.width, 2)
    tooth = 0.5 + 0.25 * noise(rng, size, size / 2, 1)
    graphite = np.clip(0.55 * dark + 0.4 * stroke * tooth + 0.85 * edges(motif.rgb, 0.02, 0.09), 0, 1)
    return mix(motif.paper, motif.ink, graphite[..., None])


def neon(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Draw glowing tubes along the outlines in the dark."""
    unit = motif.size / 256
    tube = smoothstep(soften(edges(motif.rgb, 0.02, 0.08), 1.4 * unit), 0.15, 0.5)
    bright = np.clip(motif.rgb / (motif.rgb.max(-1, keepdims=True) + 0.05), 0, 1)
    hue = soften_colour(bright, 3 * unit)
    glow = soften_colour(hue * tube[..., None], (9 + 8 * hand.width) * unit)
    night = motif.rgb * np.array([0.16, 0.14, 0.24], np.float32) + np.array([0.02, 0.015, 0.05], np.float32)
    return night + glow * 0.9 + mix(hue, np.float32(1), 0.45) * tube[..., None]


def blueprint(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Draw white lines and sparse hatching on a ground with a grid."""
    y, x = grid(motif.size)
    cells = 10 + round(8 * hand.width)
    rule = np.maximum(_triangle(x * cells), _triangle(y * cells))
    light = luma(motif.rgb)
    hatch = hatching(light - 0.25, hand, rng, 56, 1) * 0.35
    drawn = np.maximum(edges(motif.rgb, 0.02, 0.08) * 0.95, hatch)
    drawn = np.maximum(drawn, smoothstep(rule, 1 - 0.016 * cells / 2, 1) * 0.22)
    ground = motif.ink * (0.85 + 0.35 * light[..., None])
    return mix(ground, motif.paper, drawn[..., None])


def cross_stitch(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Stitch little crosses of thread on cloth."""
    size = motif.size
    y, x = grid(size)
    stitches = 44 + round(20 * (1 - hand.width))
    u, v = x * stitches, y * stitches
    fu, fv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    rows = np.clip((np.floor(v) + 0.5) / stitches * size, 0, size - 1).astype(np.int32)
    columns = np.clip((np.floor(u) + 0.5) / stitches * size, 0, size - 1).astype(np.int32)
    thread = motif.rgb[rows, columns]
    arm = np.minimum(np.abs(fu - fv), np.abs(fu + fv))
    over = np.abs(fu - fv) < np.abs(fu + fv)
    cover = 1 - smoothstep(arm, 0.2, 0.36)
    shade = 0.12 * (over - 0.5) + 0.05 * noise(rng, size, size / 3, 1)
    cloth = mix(thread, motif.paper, 0.45) * (0.86 + 0.06 * _triangle(u * 2)[..., None])
    return mix(cloth, thread + shade[..., None], cover[..., None])


def stained_glass(motif: Motif, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """Set panes of glowing glass between leads that follow the outlines."""
    size, unit = motif.size, motif.size / 256
    owner, border, centres = nearest_cells(rng, size, 5 + 4 * hand.width, 0.1)
    pane = rng.normal(0, 0.06, len(centres)).astype(np.float32)[owner]
    glow = noise(rng, size, 9, 2) * 0.05
    rgb = motif.rgb + 0.25 * (motif.rgb - luma(motif.rgb)[..., None]) + (pane + glow)[..., None]
    lead = np.maximum(
        smoothstep(soften(edges(motif.rgb, 0.03, 0.1), 1.6 * unit), 0.2, 0.45),
        1 - smoothstep(border, 0.002, 0.009),
    )
    return mix(rgb, np.float32(0.05), lead[..., None])
