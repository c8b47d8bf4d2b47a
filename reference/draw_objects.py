"""Shapes of the things that move: vehicles, people, bicycles, as flat pieces in metres.

A piece is a polygon or a line in the object's own space: x to the right, y up from the ground, z away from the
viewer, the rear of a vehicle at z = 0. `draw` turns, places, lights and projects them; here is only shape and colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

Rgb = tuple[int, int, int]
Point = tuple[float, float, float]

PAINT: dict[str, Rgb] = {
    "red": (205, 38, 38),
    "blue": (38, 84, 196),
    "white": (240, 240, 238),
    "yellow": (244, 196, 36),
}
GLASS: Rgb = (58, 78, 98)
TYRE: Rgb = (28, 28, 32)
DARK: Rgb = (52, 54, 60)
TAIL: Rgb = (255, 46, 40)
SKIN: Rgb = (222, 172, 134)
COATS: tuple[Rgb, ...] = ((236, 112, 32), (32, 150, 110), (150, 62, 170))


@dataclass(frozen=True)
class Piece:
    """A polygon (`width` 0) or a line `width` metres thick. `face`: drawn only when that side is seen."""

    points: tuple[Point, ...]
    colour: Rgb
    face: str = "any"
    width: float = 0.0
    closed: bool = False
    glow: bool = False


def darker(colour: Rgb, factor: float) -> Rgb:
    """The same hue, `factor` as bright."""
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


@lru_cache(maxsize=512)
def shape(kind: str, colour: str | None, style: int, phase: int) -> tuple[Piece, ...]:
    """Pieces of an object, far ones first. `style` picks a coat, `phase` (0..15) the step or the flash."""
    paint = PAINT[colour or "white"]
    if kind == "car":
        return _car(paint)
    if kind == "truck":
        return _truck(paint)
    if kind == "bus":
        return _bus(paint)
    if kind == "ambulance":
        return _ambulance(phase)
    if kind == "pedestrian":
        return _pedestrian(COATS[style % 3], phase)
    return _cyclist(COATS[style % 3], phase)


def _rear(x0: float, x1: float, y0: float, y1: float, colour: Rgb, *, z: float = 0.0, glow: bool = False) -> Piece:
    return Piece(((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)), colour, "rear", glow=glow)


def _sides(half: float, z0: float, z1: float, y0: float, y1: float, colour: Rgb) -> list[Piece]:
    """A rectangle on both flanks."""
    return [
        Piece(((x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)), colour, face)
        for x, face in ((-half, "left"), (half, "right"))
    ]


def _wheels(half: float, radius: float, *places: float) -> list[Piece]:
    """Discs on both flanks and stubs seen from behind."""
    found = [_rear(-half, -half + 0.3, 0.0, 0.4, TYRE), _rear(half - 0.3, half, 0.0, 0.4, TYRE)]
    for z in places:
        for x, face in ((-half, "left"), (half, "right")):
            for size, colour in ((radius, TYRE), (radius * 0.5, (150, 152, 156))):
                found.append(Piece(_ring(x, radius, z, size), colour, face))
    return found


def _ring(x: float, y: float, z: float, radius: float, count: int = 14) -> tuple[Point, ...]:
    turns = (2.0 * math.pi * k / count for k in range(count))
    return tuple((x, y + radius * math.sin(a), z + radius * math.cos(a)) for a in turns)


def _disc(x: float, y: float, radius: float, z: float = 0.0, count: int = 14) -> tuple[Point, ...]:
    turns = (2.0 * math.pi * k / count for k in range(count))
    return tuple((x + radius * math.cos(a), y + radius * math.sin(a), z) for a in turns)


def _tail_lamps(half: float, y0: float, y1: float, width: float = 0.24) -> list[Piece]:
    return [_rear(-half, -half + width, y0, y1, TAIL, glow=True), _rear(half - width, half, y0, y1, TAIL, glow=True)]


def _car(paint: Rgb) -> tuple[Piece, ...]:
    shade, half = darker(paint, 0.78), 0.82
    pieces = _sides(half, 0.0, 3.7, 0.25, 0.88, shade)
    for x, face in ((-half, "left"), (half, "right")):
        inner = x * 0.9
        cabin = ((x, 0.88, 0.1), (x, 0.88, 2.7), (inner, 1.46, 2.0), (inner, 1.46, 0.5))
        glass = ((x * 0.99, 0.93, 0.35), (x * 0.99, 0.93, 2.4), (inner, 1.38, 1.9), (inner, 1.38, 0.62))
        pieces += [Piece(cabin, shade, face), Piece(glass, GLASS, face)]
    pieces += _wheels(half, 0.33, 0.75, 2.95)
    cabin = ((-half, 0.86, 0.05), (half, 0.86, 0.05), (0.7, 1.47, 0.5), (-0.7, 1.47, 0.5))
    window = ((-0.66, 0.95, 0.1), (0.66, 0.95, 0.1), (0.57, 1.37, 0.45), (-0.57, 1.37, 0.45))
    pieces += [
        _rear(-half, half, 0.25, 0.9, paint),
        Piece(cabin, paint, "rear"),
        Piece(window, GLASS, "rear"),
        _rear(-half, half, 0.22, 0.42, DARK),
        _rear(-0.25, 0.25, 0.45, 0.58, (236, 236, 226)),
    ]
    return tuple(pieces + _tail_lamps(half, 0.6, 0.82, 0.3))


def _truck(paint: Rgb) -> tuple[Piece, ...]:
    shade, half = darker(paint, 0.74), 1.12
    pieces = _sides(1.0, 5.0, 6.6, 0.5, 2.35, shade) + _sides(1.0, 5.3, 6.3, 1.35, 2.1, GLASS)
    pieces += _sides(0.9, 0.2, 6.2, 0.45, 0.8, DARK)
    pieces += _sides(half, 0.0, 4.7, 0.8, 2.95, shade) + _sides(half, 0.0, 4.7, 0.8, 0.98, darker(shade, 0.7))
    pieces += _wheels(half, 0.48, 0.9, 2.0, 5.8)
    pieces += [
        _rear(-half, half, 0.8, 2.95, paint),
        _rear(-half, half, 0.45, 0.82, DARK),
        _rear(-0.05, 0.05, 0.86, 2.85, darker(paint, 0.45)),
        _rear(-half, half, 2.8, 2.95, darker(paint, 0.6)),
        _rear(-half, half, 0.8, 0.9, darker(paint, 0.45)),
        _rear(-0.4, -0.3, 1.1, 2.6, darker(paint, 0.6)),
        _rear(0.3, 0.4, 1.1, 2.6, darker(paint, 0.6)),
    ]
    for k in range(4):
        left = -0.8 + 0.4 * k
        pieces.append(_rear(left, left + 0.4, 0.5, 0.68, (240, 240, 240) if k % 2 else (214, 40, 40)))
    return tuple(pieces + _tail_lamps(half, 0.5, 0.74, 0.28))


def _bus(paint: Rgb) -> tuple[Piece, ...]:
    shade, half = darker(paint, 0.78), 1.18
    pieces = _sides(half, 0.0, 8.0, 0.35, 2.95, shade) + _sides(half, 0.0, 8.0, 2.8, 2.95, darker(shade, 0.7))
    for k in range(5):
        pieces += _sides(half, 0.35 + 1.5 * k, 1.6 + 1.5 * k, 1.45, 2.45, (150, 196, 222))
    pieces += _wheels(half, 0.46, 1.8, 6.4)
    pieces += [
        _rear(-half, half, 0.35, 2.95, paint),
        _rear(-0.98, 0.98, 1.5, 2.4, (120, 170, 200)),
        _rear(-0.98, 0.98, 1.5, 1.6, (88, 130, 158)),
        _rear(-0.7, 0.7, 2.5, 2.82, (30, 30, 34)),
        _rear(-0.5, 0.5, 2.57, 2.75, (255, 178, 40), glow=True),
        _rear(-half, half, 0.35, 0.55, DARK),
        _rear(-0.6, 0.6, 0.72, 1.15, darker(paint, 0.62)),
    ]
    return tuple(pieces + _tail_lamps(half, 0.75, 1.2, 0.26))


def _ambulance(phase: int) -> tuple[Piece, ...]:
    white, shade, red, half = (250, 250, 250), (212, 216, 222), (222, 30, 36), 1.02
    lit = (phase // 4) % 2 == 0
    blues = ((70, 130, 255), (20, 50, 190)) if lit else ((20, 50, 190), (70, 130, 255))
    pieces = _sides(half, 0.0, 4.8, 0.3, 2.4, shade) + _sides(half, 0.0, 4.8, 0.95, 1.3, darker(red, 0.85))
    pieces += _sides(half, 3.2, 4.5, 1.45, 2.1, GLASS) + _sides(half, 0.3, 1.3, 1.5, 2.1, GLASS)
    pieces += _wheels(half, 0.38, 1.0, 3.9)
    pieces += [
        _rear(-half, half, 0.3, 2.4, white),
        _rear(-half, half, 0.95, 1.3, red),
        _rear(-0.85, -0.12, 1.5, 2.05, GLASS),
        _rear(0.12, 0.85, 1.5, 2.05, GLASS),
        _rear(-0.03, 0.03, 0.5, 2.3, (150, 154, 160)),
        _rear(-half, half, 0.28, 0.5, DARK),
        _rear(-0.85, -0.1, 2.4, 2.66, blues[0], glow=True),
        _rear(0.1, 0.85, 2.4, 2.66, blues[1], glow=True),
    ]
    return tuple(pieces + _tail_lamps(half, 0.55, 0.85, 0.22))


def _pedestrian(coat: Rgb, phase: int) -> tuple[Piece, ...]:
    swing = math.sin(2.0 * math.pi * phase / 16.0)
    trousers, hair = (44, 52, 84), (64, 44, 34)
    foot = 0.12 + 0.2 * swing
    legs = [((0.08, 0.92, 0.0), (foot, 0.06, 0.0)), ((-0.08, 0.92, 0.0), (-foot, 0.06, 0.0))]
    arms = [((0.22, 1.42, 0.0), (0.3 - 0.2 * swing, 0.9, 0.0)), ((-0.22, 1.42, 0.0), (-0.3 + 0.2 * swing, 0.9, 0.0))]
    torso = ((-0.2, 0.84, 0.0), (0.2, 0.84, 0.0), (0.27, 1.46, 0.0), (-0.27, 1.46, 0.0))
    return (
        *(Piece(line, trousers, width=0.19) for line in legs),
        *(Piece(line, darker(coat, 0.8), width=0.14) for line in arms),
        Piece(torso, coat),
        Piece(_disc(0.0, 1.66, 0.16), SKIN),
        Piece(((-0.16, 1.68, 0.0), (0.16, 1.68, 0.0), (0.1, 1.84, 0.0), (-0.1, 1.84, 0.0)), hair),
    )


def _cyclist(coat: Rgb, phase: int) -> tuple[Piece, ...]:
    turn = 2.0 * math.pi * phase / 16.0
    rear, front, hub = -0.55, 0.55, (-0.02, 0.36)
    pedals = [(hub[0] + 0.17 * math.cos(turn + k), hub[1] + 0.17 * math.sin(turn + k)) for k in (0.0, math.pi)]
    knees = [(0.18 + 0.3 * (px - hub[0]), 0.72 + 0.35 * (py - hub[1])) for px, py in pedals]
    frame: Rgb = (206, 44, 60)
    legs = [((-0.16, 0.98, 0.0), (k[0], k[1], 0.0), (p[0], p[1], 0.0)) for k, p in zip(knees, pedals, strict=True)]
    bars = ((rear, 0.34, 0.0), (-0.16, 0.86, 0.0), (0.4, 0.84, 0.0), (hub[0], hub[1], 0.0), (rear, 0.34, 0.0))
    return (
        Piece(_disc(rear, 0.34, 0.31), TYRE, width=0.09, closed=True),
        Piece(_disc(front, 0.34, 0.31), TYRE, width=0.09, closed=True),
        Piece(legs[1], (36, 42, 70), width=0.15),
        Piece(bars, frame, width=0.07),
        Piece(((front, 0.34, 0.0), (0.38, 1.02, 0.0), (0.5, 1.06, 0.0)), frame, width=0.07),
        Piece(legs[0], (44, 52, 84), width=0.16),
        Piece(((-0.18, 0.94, 0.0), (0.16, 1.48, 0.0)), coat, width=0.34),
        Piece(((0.14, 1.42, 0.0), (0.44, 1.06, 0.0)), darker(coat, 0.8), width=0.12),
        Piece(_disc(0.26, 1.68, 0.15), SKIN),
        Piece(((0.08, 1.7, 0.0), (0.44, 1.7, 0.0), (0.34, 1.86, 0.0), (0.16, 1.86, 0.0)), (240, 240, 240)),
    )
