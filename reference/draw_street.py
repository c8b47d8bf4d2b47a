"""The street itself: sky, houses, trees, road; and how weather changes every colour.

`Look` turns a colour into the colour seen at a distance in this weather, `View` turns metres into pixels of the
enlarged canvas.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .draw_objects import Rgb
from .scene import FOCAL, ROAD_HALF_M

HORIZON = 0.42
CAMERA_M = 1.3
WALL_M = 5.6
_BLOCK_M = 14.0
_WALLS: tuple[Rgb, ...] = ((206, 158, 122), (186, 176, 160), (170, 120, 104), (150, 164, 178), (216, 196, 156))
_FOG: Rgb = (196, 202, 208)
_SKY: dict[str, tuple[Rgb, Rgb]] = {
    "clear": ((92, 160, 232), (206, 230, 246)),
    "rain": ((104, 114, 128), (150, 158, 168)),
    "fog": ((186, 194, 202), _FOG),
    "night": ((10, 14, 38), (38, 42, 78)),
}
_ROAD: Rgb = (104, 106, 112)
_PAVEMENT: Rgb = (188, 182, 170)


@dataclass(frozen=True)
class View:
    """A canvas `super` times the picture; `scale` is canvas pixels per frame height."""

    height: int
    width: int
    super: int

    @property
    def scale(self) -> int:
        return self.height * self.super

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Metres (N, 3) → canvas positions (N, 2) in sixteenths of a pixel."""
        z = np.maximum(points[:, 2], 0.5)
        x = FOCAL * points[:, 0] / z + 0.5 * self.width / self.height
        y = HORIZON + FOCAL * (CAMERA_M - points[:, 1]) / z
        spots = (np.stack([x, y], axis=1) * self.scale - 0.5) * 16.0
        return np.asarray(np.clip(np.rint(spots), -400000, 400000), np.int32)


@dataclass(frozen=True)
class Look:
    """Light of one weather."""

    weather: str

    @property
    def fog(self) -> bool:
        return self.weather == "fog"

    @property
    def wet(self) -> bool:
        return self.weather == "rain"

    @property
    def glow(self) -> bool:
        return self.weather == "night"

    @property
    def aside(self) -> float:
        """Metres to add for things that our headlights hardly reach."""
        return 12.0 if self.glow else 0.0

    def shade(self, colour: Rgb, z: float) -> Rgb:
        """The colour as seen `z` metres away."""
        r, g, b = self.shades(np.array([colour], np.float64), np.array([z]))[0]
        return (int(r), int(g), int(b))

    def shades(self, colours: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Colours (N, 3) at distances (N,) → colours (N, 3), 0..255."""
        if self.weather == "night":
            lit = 0.26 + 0.64 * np.exp(-z / 16.0)
            return np.asarray(colours * lit[:, None] * np.array([0.94, 0.96, 1.12]))
        if self.weather == "fog":
            clear = np.exp(-z / 19.0)[:, None]
            return colours * clear + np.array(_FOG) * (1.0 - clear)
        if self.weather == "rain":
            grey = colours.mean(axis=1, keepdims=True)
            return np.asarray((colours * 0.78 + grey * 0.22) * 0.8)
        haze = (1.0 - np.exp(-z / 220.0))[:, None]
        return colours * (1.0 - haze) + np.array([206.0, 226.0, 240.0]) * haze


def street(layout: int, weather: str, view: View, scroll_m: float) -> NDArray[np.uint8]:
    """The empty street on the enlarged canvas, uint8 (H·s, W·s, 3) RGB, after driving `scroll_m` metres."""
    canvas: NDArray[np.uint8] = _ground(layout % 3, weather, view).copy()
    look = Look(weather)
    _sky(canvas, view, weather, layout)
    last = int((scroll_m + 75.0) // _BLOCK_M)
    for block in range(last, int((scroll_m - 12.0) // _BLOCK_M), -1):
        for side in (-1.0, 1.0):
            rng = random.Random(f"{layout}/{block % 11}/{side}")
            _house(canvas, view, look, rng, block * _BLOCK_M - scroll_m, side)
        if block % 2 == 0:
            _lamp(canvas, view, look, block * _BLOCK_M + 5.0 - scroll_m, -1.0 if block % 4 else 1.0)
    _lane_marks(canvas, view, look, scroll_m)
    return canvas


def _sky(canvas: NDArray[np.uint8], view: View, weather: str, layout: int) -> None:
    """Two flat clouds on a clear day, a moon at night; nothing moves."""
    rng = random.Random(layout)
    middle = 0.5 * view.width / view.height
    if weather == "night":
        x, y = rng.uniform(-0.15, 0.15) + middle, rng.uniform(0.06, 0.12)
        glow(canvas, x * view.scale, y * view.scale, 0.09 * view.scale, (150, 150, 190), 0.5)
        _blob(canvas, view, x, y, (0.026, 0.026), (238, 234, 214))
    if weather == "clear":
        for left, high in ((-0.2, 0.05), (0.02, 0.13)):
            x, y = left + rng.uniform(0.0, 0.2), high + rng.uniform(0.0, 0.06)
            for dx, dy, rx, ry in ((-0.045, 0.008, 0.04, 0.016), (0.05, 0.01, 0.045, 0.014), (0.0, 0.0, 0.05, 0.026)):
                _blob(canvas, view, x + dx + middle, y + dy, (rx, ry), (240, 246, 250))


def _blob(canvas: NDArray[np.uint8], view: View, x: float, y: float, radii: tuple[float, float], colour: Rgb) -> None:
    """A filled ellipse; position and radii in frame heights, x from the left edge."""
    turns = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    ring = np.stack([x + radii[0] * np.cos(turns), y + radii[1] * np.sin(turns)], axis=1) * view.scale
    cv2.fillPoly(canvas, [np.rint((ring - 0.5) * 16.0).astype(np.int32)], colour, cv2.LINE_AA, 4)


def _lamp(canvas: NDArray[np.uint8], view: View, look: Look, z: float, side: float) -> None:
    """A street lamp that leans over the road; it shines at night."""
    if z < 4.0:
        return
    foot, head = side * 3.1, side * 2.2
    pole = _quad(view, (foot, 0, z), (foot, 4.6, z), (foot - side * 0.2, 4.95, z), (head, 5.05, z))
    thick = max(1, round(0.1 * FOCAL / z * view.scale))
    cv2.polylines(canvas, [pole], False, look.shade((84, 88, 96), z), thick, cv2.LINE_AA, 4)
    shade = _quad(view, (head - 0.35, 4.9, z), (head + 0.35, 4.9, z), (head + 0.3, 5.1, z), (head - 0.3, 5.1, z))
    cv2.fillPoly(canvas, [shade], (255, 226, 150) if look.glow else look.shade((84, 88, 96), z), cv2.LINE_AA, 4)
    if look.glow:
        x, y = _quad(view, (head, 4.8, z))[0] / 16.0
        glow(canvas, float(x), float(y), 1.6 * FOCAL / z * view.scale, (255, 200, 110), 0.5)


@lru_cache(maxsize=32)
def _ground(tint: int, weather: str, view: View) -> NDArray[np.uint8]:
    """Sky gradient above the horizon, road and pavements below it."""
    rows, columns = view.height * view.super, view.width * view.super
    y = (np.arange(rows) + 0.5) / view.scale
    top, low = (np.array(colour, np.float64) for colour in _SKY[weather])
    top = np.clip(top + np.array([10.0, 2.0, -6.0]) * (tint - 1), 0, 255)
    mix = np.clip(y / HORIZON, 0.0, 1.0)[:, None] ** 0.8
    sky = top * (1.0 - mix) + low * mix
    z = FOCAL * CAMERA_M / np.maximum(y - HORIZON, 1e-3)
    look = Look(weather)
    road = look.shades(np.tile(np.array(_ROAD, np.float64), (rows, 1)), z)
    if look.wet:
        road = road * 0.82 + low * 0.22 * np.clip(z / 30.0, 0.25, 1.0)[:, None]
    walk = look.shades(np.tile(np.array(_PAVEMENT, np.float64), (rows, 1)), z)
    kerb = look.shades(np.tile(np.array((226.0, 224.0, 218.0)), (rows, 1)), z)
    x = np.abs((np.arange(columns) + 0.5) / view.scale - 0.5 * view.width / view.height)
    metres = x[None, :] * np.minimum(z, 400.0)[:, None] / FOCAL
    canvas = np.where((metres < ROAD_HALF_M)[..., None], road[:, None], walk[:, None])
    canvas = np.where(((metres >= ROAD_HALF_M) & (metres < ROAD_HALF_M + 0.22))[..., None], kerb[:, None], canvas)
    above = (y < HORIZON)[:, None, None]
    return np.clip(np.where(above, sky[:, None], canvas), 0, 255).astype(np.uint8)


def _quad(view: View, *corners: tuple[float, float, float]) -> NDArray[np.int32]:
    return view.pixels(np.array(corners, np.float64))


def _house(canvas: NDArray[np.uint8], view: View, look: Look, rng: random.Random, z0: float, side: float) -> None:
    """A house with windows, and a tree before some of them."""
    wall, height = rng.choice(_WALLS), rng.choice((5.5, 7.0, 8.5))
    tree, lit = rng.random() < 0.55, [rng.random() < 0.5 for _ in range(24)]
    z1, x = z0 + _BLOCK_M - 2.0, side * WALL_M
    near = max(z0, 2.5)
    if z1 > near + 0.2:
        middle = (near + z1) / 2.0
        front = tuple(int(c * 0.8) for c in wall)
        if z0 > 2.5:
            face = _quad(view, (x, 0, z0), (x + side * 12, 0, z0), (x + side * 12, height, z0), (x, height, z0))
            cv2.fillPoly(canvas, [face], look.shade((front[0], front[1], front[2]), z0 + look.aside), cv2.LINE_AA, 4)
        face = _quad(view, (x, 0, near), (x, 0, z1), (x, height, z1), (x, height, near))
        cv2.fillPoly(canvas, [face], look.shade(wall, middle + look.aside), cv2.LINE_AA, 4)
        if z0 > 3.0:
            _windows(canvas, view, look, lit, (x, z0, height))
    if tree:
        _tree(canvas, view, look, side * 4.7, z0 - 1.0)


def _windows(
    canvas: NDArray[np.uint8], view: View, look: Look, lit: list[bool], wall: tuple[float, float, float]
) -> None:
    """Rows of panes on a wall; at night some are lit."""
    x, z0, height = wall
    dark: list[NDArray[np.int32]] = []
    bright: list[NDArray[np.int32]] = []
    for row in range(int((height - 1.0) // 2.4)):
        for column in range(4):
            z, y = z0 + 1.3 + 2.7 * column, 1.2 + 2.4 * row
            pane = _quad(view, (x, y, z), (x, y, z + 1.4), (x, y + 1.4, z + 1.4), (x, y + 1.4, z))
            (bright if lit[row * 4 + column] else dark).append(pane)
    glass = look.shade((84, 106, 128), z0 + 6.0)
    light = (250, 206, 110) if look.glow else glass
    cv2.fillPoly(canvas, dark, glass, cv2.LINE_AA, 4)
    cv2.fillPoly(canvas, bright, light, cv2.LINE_AA, 4)


def _tree(canvas: NDArray[np.uint8], view: View, look: Look, x: float, z: float) -> None:
    """A trunk and three round clumps of leaves."""
    if z < 3.0:
        return
    trunk = _quad(view, (x - 0.14, 0, z), (x + 0.14, 0, z), (x + 0.1, 2.2, z), (x - 0.1, 2.2, z))
    cv2.fillPoly(canvas, [trunk], look.shade((98, 74, 56), z), cv2.LINE_AA, 4)
    for dx, y, radius, tone in ((-0.45, 2.7, 0.85, 0.86), (0.5, 2.8, 0.8, 0.92), (0.0, 3.3, 0.95, 1.0)):
        turns = [2.0 * math.pi * k / 24 for k in range(24)]
        ring = [(x + dx + radius * math.cos(a), y + radius * math.sin(a), z) for a in turns]
        colour = (int(70 * tone), int(132 * tone), int(68 * tone))
        cv2.fillPoly(canvas, [_quad(view, *ring)], look.shade(colour, z + look.aside), cv2.LINE_AA, 4)


def _lane_marks(canvas: NDArray[np.uint8], view: View, look: Look, scroll_m: float) -> None:
    """Two dashed lines that divide the road into three lanes."""
    for k in range(int((scroll_m + 2.0) // 5.0), int((scroll_m + 42.0) // 5.0)):
        z0, z1 = max(k * 5.0 - scroll_m, 2.2), k * 5.0 + 2.2 - scroll_m
        if z1 <= z0:
            continue
        for x in (-0.87, 0.87):
            dash = _quad(view, (x - 0.07, 0, z0), (x + 0.07, 0, z0), (x + 0.07, 0, z1), (x - 0.07, 0, z1))
            cv2.fillPoly(canvas, [dash], look.shade((238, 236, 226), z0 + 1.0), cv2.LINE_AA, 4)


@lru_cache(maxsize=64)
def _halo(size: int) -> NDArray[np.float32]:
    """A soft round light (size, size, 1), 1 in the middle, 0 at the rim."""
    axis = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    far = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    return (np.clip(1.0 - far, 0.0, 1.0) ** 2)[..., None].astype(np.float32)


def glow(picture: NDArray[np.uint8], x: float, y: float, radius: float, colour: Rgb, strength: float = 0.6) -> None:
    """Add a halo of `radius` pixels round (x, y) in place; parts outside the picture are left out."""
    half = max(2, round(radius))
    left, top = round(x) - half, round(y) - half
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + 2 * half, picture.shape[1]), min(top + 2 * half, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    halo = _halo(2 * half)[y0 - top : y1 - top, x0 - left : x1 - left]
    light = picture[y0:y1, x0:x1] + halo * (np.array(colour, np.float32) * strength)
    picture[y0:y1, x0:x1] = np.minimum(light, 255.0).astype(np.uint8)
