"""A small look at what a modality carries: a waveform, a heat map, a line of words, another camera's picture."""

from __future__ import annotations

import numpy as np

from ..frame import is_picture
from ..values import Array, Packet
from .painting import Canvas, Colour, Pen, fit, mix

__all__ = ["preview"]

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


def preview(pen: Pen, canvas: Canvas, packet: Packet, box: Box, colour: Colour, ink: Colour) -> None:
    """Draw a packet into a box, by what its data is."""
    if isinstance(packet.data, str):
        _words(pen, canvas, packet.data, box, ink)
    elif is_picture(packet.data):
        _thumbnail(pen, canvas, np.asarray(packet.data), box)
    elif isinstance(packet.data, np.ndarray) and packet.data.size and packet.data.ndim == 1:
        _waveform(canvas, packet.data, box, colour)
    elif isinstance(packet.data, np.ndarray) and packet.data.size and packet.data.ndim == 2:
        _heat(pen, canvas, packet.data, box, colour)


def _words(pen: Pen, canvas: Canvas, words: str, box: Box, ink: Colour) -> None:
    """One or two lines, as the box allows."""
    x, y, width, height = box
    size = max(9.0, min(height * 0.4, width / 20))
    line, rest = "", f"“{words}”".split()
    if height >= 2.2 * size:
        while rest and pen.width(f"{line} {rest[0]}".strip(), size) <= width:
            line = f"{line} {rest.pop(0)}".strip()
        pen.text(canvas, line, x, y + size * 0.9, size, ink)
        y += 1.3 * size
    pen.text(canvas, pen.shortened(" ".join(rest), width, size), x, y + size * 0.9, size, ink)


def _thumbnail(pen: Pen, canvas: Canvas, picture: Canvas, box: Box) -> None:
    """The whole picture, on the left."""
    x, y, width, height = (round(value) for value in box)
    w, h = fit(picture.shape[1], picture.shape[0], width, height)
    canvas[y : y + h, x : x + w] = pen.resized(picture, w, h)


def _waveform(canvas: Canvas, samples: Array, box: Box, colour: Colour) -> None:
    """Loudest sample of each column, both ways from the middle."""
    x, y, width, height = (round(value) for value in box)
    peaks = np.zeros(width, np.float32)
    last = np.abs(samples[-(len(samples) // width) * width :]) if len(samples) >= width else np.abs(samples)
    loud = last.reshape(-1, len(last) // width).max(axis=1) if len(samples) >= width else last
    peaks[-len(loud) :] = loud
    # The square root lets a quiet engine be seen beside a siren.
    half = np.maximum(np.sqrt(np.minimum(peaks, 1.0)) * height / 2, 0.5)
    away = np.abs(np.arange(height) - (height - 1) / 2)[:, None]
    cover = np.clip(half[None] - away + 0.5, 0, 1)[..., None] * 0.85
    area = canvas[y : y + height, x : x + width]
    area[:] = area + (np.array(colour, np.float32) - area) * cover


def _heat(pen: Pen, canvas: Canvas, rows: Array, box: Box, colour: Colour) -> None:
    """Time to the right, channels upwards."""
    x, y, width, height = (round(value) for value in box)
    low, high = float(rows.min()), float(rows.max())
    level = (rows.T[::-1] - low) / max(high - low, 1e-6)
    area = canvas[y : y + height, x : x + width]
    dark, light = np.array(mix((16, 19, 24), colour, 0.12), np.float32), np.array(mix(colour, (255, 255, 255), 0.3))
    tiny = (dark + (light - dark) * level[..., None]).astype(np.uint8)
    area[:] = pen.cv2.resize(np.ascontiguousarray(tiny), (width, height), interpolation=pen.cv2.INTER_LINEAR)
