"""What the camera sees: a street in perspective, drawn with flat anti-aliased shapes at any size.

Geometry: the unit is the frame's height; screen x = 0 in the middle, y from 0 (top) to 1 (bottom). A wide frame
therefore holds the square frame in its middle: shortest-edge resize and centre crop of a 16:9 render is the square
render. Ground points follow y = HORIZON + FOCAL · CAMERA_M / z. Output: uint8 (H, W, 3), RGB.
"""

from __future__ import annotations

import math
import random
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .draw_objects import Piece, Rgb, shape
from .draw_street import Look, View, glow, street
from .scene import FOCAL, VULNERABLE, Scene

_STYLES = 3
_DROP: Rgb = (214, 222, 232)


def render_image(scene: Scene, size: tuple[int, int] = (64, 64), time_s: float = 0.0) -> NDArray[np.uint8]:
    """Picture of `scene`, `size` = (height, width), uint8 (H, W, 3) RGB. `time_s` moves legs, lamps and rain."""
    height, width = size
    view = View(height, width, 3 if height <= 128 else 2)
    look = Look(scene.weather)
    if height <= 128:
        canvas = _still(scene.layout, scene.weather, view, scene.scroll_m).copy()
    else:
        canvas = street(scene.layout, scene.weather, view, scene.scroll_m)
    for far in sorted(scene.far, key=lambda item: -item.distance_m):
        pose = (far.lateral_m, far.distance_m, far.yaw)
        _put(canvas, view, look, shape(far.kind, far.colour, far.style, _phase(far.kind, far.style, time_s)), pose)
    if scene.traffic_light is not None:
        _traffic_light(canvas, view, look, scene.traffic_light, scene.light_m)
    glows = _main_object(canvas, view, look, scene, time_s)
    picture = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    for x, y, radius, colour in glows:
        glow(picture, x, y, radius, colour)
    if scene.weather == "rain":
        _streaks(picture, scene.seed, time_s)
    return np.asarray(picture, np.uint8)


@lru_cache(maxsize=256)
def _still(layout: int, weather: str, view: View, scroll_m: float) -> NDArray[np.uint8]:
    """A small street, kept: scenes stand in few places, so that many of them share one."""
    return street(layout, weather, view, scroll_m)


def _main_object(
    canvas: NDArray[np.uint8], view: View, look: Look, scene: Scene, time_s: float
) -> list[tuple[float, float, float, Rgb]]:
    """Shadow, wet reflection and the object itself; returns the glows (x, y, radius, colour) to be added at the end."""
    if scene.object == "none":
        return []
    phase = _phase(scene.object, scene.seed, time_s)
    pieces = shape(scene.object, scene.colour, scene.seed % _STYLES, phase)
    pose = (scene.lateral_m, scene.distance_m, scene.yaw if scene.object != "pedestrian" else 0.0)
    _shadow(canvas, view, look, pieces, pose)
    if look.wet:
        _reflect(canvas, view, look, pieces, pose)
    return _put(canvas, view, look, pieces, pose)


def _phase(kind: str, seed: int, time_s: float) -> int:
    """Step of the legs or flash of the lamps, 0..15; people start anywhere in their step."""
    start = seed % 16 if kind in VULNERABLE else 0
    return (start + int(time_s * 16.0)) % 16


def _placed(pieces: tuple[Piece, ...], pose: tuple[float, float, float]) -> NDArray[np.float64]:
    """All points (N, 3) in the camera's metres: turned by the pose's yaw about the rear, then moved."""
    lateral, distance, yaw = pose
    points = np.array([point for piece in pieces for point in piece.points], np.float64)
    cos, sin = math.cos(yaw), math.sin(yaw)
    x = points[:, 0] * cos + points[:, 2] * sin + lateral
    z = -points[:, 0] * sin + points[:, 2] * cos + distance
    return np.stack([x, points[:, 1], np.maximum(z, 0.5)], axis=1)


def _put(
    canvas: NDArray[np.uint8], view: View, look: Look, pieces: tuple[Piece, ...], pose: tuple[float, float, float]
) -> list[tuple[float, float, float, Rgb]]:
    """Draw the pieces that face the camera; returns lamps that glow at night."""
    placed = _placed(pieces, pose)
    seen = _seen_faces(pose)
    spots = view.pixels(placed)
    glows: list[tuple[float, float, float, Rgb]] = []
    first = 0
    for piece in pieces:
        last = first + len(piece.points)
        if piece.face == "any" or piece.face in seen:
            colour = piece.colour if piece.glow and not look.fog else look.shade(piece.colour, pose[1])
            if piece.width:
                thick = max(1, round(piece.width * FOCAL / pose[1] * view.scale))
                cv2.polylines(canvas, [spots[first:last]], piece.closed, colour, thick, cv2.LINE_AA, 4)
            else:
                cv2.fillPoly(canvas, [spots[first:last]], colour, cv2.LINE_AA, 4)
            if piece.glow and look.glow and pose[1] < 30.0:
                x, y = (spots[first:last].mean(axis=0) / 16.0 + 0.5) / view.super
                glows.append((float(x), float(y), 0.55 * FOCAL / pose[1] * view.height, piece.colour))
        first = last
    return glows


def _seen_faces(pose: tuple[float, float, float]) -> tuple[str, ...]:
    """Which flanks of a box at this pose look towards the camera."""
    lateral, distance, yaw = pose
    across = lateral * math.cos(yaw) - distance * math.sin(yaw)
    return ("rear", "left") if across > 0 else ("rear", "right")


def _shadow(
    canvas: NDArray[np.uint8], view: View, look: Look, pieces: tuple[Piece, ...], pose: tuple[float, float, float]
) -> None:
    """A flat dark shape under the object: its own footprint, rounded, a little larger."""
    points = np.array([point for piece in pieces for point in piece.points])
    low, high = points[:, 0].min() - 0.12, points[:, 0].max() + 0.12
    near, far = points[:, 2].min() - 0.2, points[:, 2].max() + 0.3
    turns = np.linspace(0.0, 2.0 * np.pi, 28, endpoint=False)
    bulge = 0.5 if far - near < 1.0 else 0.16
    across = np.sign(np.cos(turns)) * np.abs(np.cos(turns)) ** (2.0 * bulge)
    along = np.sign(np.sin(turns)) * np.abs(np.sin(turns)) ** (2.0 * bulge)
    cos, sin = math.cos(pose[2]), math.sin(pose[2])
    x = (low + high) / 2 + (high - low) / 2 * across
    z = (near + far) / 2 + (far - near) / 2 * along
    ring = np.stack([x * cos + z * sin + pose[0], np.zeros(28), z * cos - x * sin + pose[1]], axis=1)
    cv2.fillPoly(canvas, [view.pixels(ring)], look.shade((48, 50, 56), pose[1]), cv2.LINE_AA, 4)


def _reflect(
    canvas: NDArray[np.uint8], view: View, look: Look, pieces: tuple[Piece, ...], pose: tuple[float, float, float]
) -> None:
    """A mirror image on the wet road, in one colour, fading towards the viewer."""
    rear = tuple(piece for piece in pieces if not piece.width and piece.face != ("left" if pose[2] < 0 else "right"))
    main = max(rear, key=lambda piece: abs(piece.points[2][1] - piece.points[0][1]))
    placed = _placed((main,), pose)
    low, high, z = placed[:, 0].min(), placed[:, 0].max(), pose[1]
    spots = view.pixels(np.array([[low, 0.0, z], [high, -1.5, z]])) // 16
    (x0, y0), (x1, y1) = np.maximum(spots[0], 0), spots[1]
    patch = canvas[y0:y1, x0:x1]
    if patch.size:
        fade = np.linspace(0.42, 0.0, patch.shape[0], dtype=np.float32)[:, None, None]
        tint = np.array(look.shade(main.colour, z), np.float32)
        canvas[y0:y1, x0:x1] = (patch * (1.0 - fade) + tint * fade).astype(np.uint8)


def _traffic_light(canvas: NDArray[np.uint8], view: View, look: Look, lit: str, z: float) -> None:
    """A pole on the right pavement with three lamps, one of them lit."""
    if z < 3.0:
        return
    x = 3.5
    pieces = [Piece(((x, 0.0, z), (x, 3.9, z)), (70, 72, 78), width=0.16)]
    box = ((x - 0.38, 3.6, z), (x + 0.38, 3.6, z), (x + 0.38, 5.4, z), (x - 0.38, 5.4, z))
    pieces.append(Piece(box, (34, 36, 40)))
    for k, (name, colour) in enumerate((("green", (60, 240, 120)), ("amber", (255, 190, 40)), ("red", (255, 56, 48)))):
        on = name == lit
        y, radius = 3.92 + 0.58 * k, 0.27 if on else 0.2
        turns = [2.0 * math.pi * n / 12 for n in range(12)]
        ring = tuple((x + radius * math.cos(a), y + radius * math.sin(a), z) for a in turns)
        pieces.append(Piece(ring, colour if on else (60, 60, 60), glow=on))
    for piece in pieces:
        spots = view.pixels(np.array(piece.points))
        colour = piece.colour if piece.glow else look.shade(piece.colour, z)
        if piece.width:
            thick = max(1, round(piece.width * FOCAL / z * view.scale))
            cv2.polylines(canvas, [spots], False, colour, thick, cv2.LINE_AA, 4)
        else:
            cv2.fillPoly(canvas, [spots], colour, cv2.LINE_AA, 4)


def _streaks(picture: NDArray[np.uint8], seed: int, time_s: float) -> None:
    """Few soft slanted streaks, falling with time; the same set in every width of frame."""
    height, width = picture.shape[:2]
    rng = random.Random(seed % 8)
    layer = picture.copy()
    for _ in range(40):
        x, y, length = rng.uniform(-1.0, 1.0), rng.uniform(0.0, 1.2), rng.uniform(0.10, 0.17)
        y = (y + 2.2 * time_s) % 1.2 - 0.15
        p = ((x * height + width / 2), y * height)
        q = (p[0] - 0.18 * length * height, p[1] + length * height)
        spots = np.array([p, q]) * 16.0
        thick = max(1, round(height / 150))
        cv2.polylines(layer, [np.rint(spots).astype(np.int32)], False, _DROP, thick, cv2.LINE_AA, 4)
    strength = 0.4 if height <= 128 else 0.6
    cv2.addWeighted(layer, strength, picture, 1.0 - strength, 0.0, picture)
