"""Drawing on RGB pictures: type, bars, panels. OpenCV 5 has outline fonts; older ones draw with their stroke font."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError

__all__ = ["Canvas", "Colour", "Pen", "fit", "mix"]

Canvas = NDArray[np.uint8]
Colour = tuple[int, int, int]
_SHIFT = 4
"""Fractional bits of the coordinates that OpenCV takes."""


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of the other colour, the rest of the first."""
    r, g, b = (round(a + (c - a) * share) for a, c in zip(one, other, strict=True))
    return r, g, b


def fit(width: int, height: int, box_width: int, box_height: int) -> tuple[int, int]:
    """The largest size of the same shape that fits into the box."""
    scale = min(box_width / width, box_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


class Pen:
    """Draws text and shapes; sizes in pixels, `y` of a text is its baseline."""

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError:
            raise MissingExtraError("opencv-python", "camera", "drawing on pictures") from None
        self.cv2: Any = cv2
        self._face: Any = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None
        self._widths: dict[tuple[str, int, int], int] = {}

    def text(
        self,
        canvas: Canvas,
        words: str,
        x: float,
        y: float,
        size: float,
        colour: Colour,
        *,
        weight: int = 400,
        align: Literal["left", "right", "centre"] = "left",
    ) -> int:
        """Write one line and return its width. `weight` 100 (thin) to 900 (black)."""
        pixels = max(6, round(size))
        width = self.width(words, pixels, weight)
        left = round(x - (0, width, width / 2)[("left", "right", "centre").index(align)])
        if self._face is not None:
            self.cv2.putText(canvas, words, (left, round(y)), colour, self._face, pixels, weight)
        else:
            scale, thick = self._stroke(pixels, weight)
            self.cv2.putText(canvas, _ascii(words), (left, round(y)), 2, scale, colour, thick, 16)
        return width

    def width(self, words: str, size: float, weight: int = 400) -> int:
        """Width of one line in pixels."""
        key = (words, max(6, round(size)), weight)
        if key not in self._widths:
            if len(self._widths) > 4096:
                self._widths.clear()
            self._widths[key] = self._measure(*key)
        return self._widths[key]

    def shortened(self, words: str, limit: float, size: float, weight: int = 400) -> str:
        """The words, cut with an ellipsis where they would be wider than `limit` pixels."""
        if self.width(words, size, weight) <= limit:
            return words
        low, high = 0, len(words)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high)
                if self.width(words[:middle].rstrip() + "…", size, weight) <= limit
                else (low, middle - 1)
            )
        return words[:low].rstrip() + "…"

    def box(self, canvas: Canvas, x: float, y: float, w: float, h: float, colour: Colour, radius: float = 0.0) -> None:
        """A filled rectangle with round corners, anti-aliased, at fractional coordinates."""
        radius = min(radius, w / 2, h / 2)
        if w <= 0 or h <= 0:
            return
        if radius < 0.5:
            self._polygon(canvas, np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)]), colour)
            return
        turns = np.linspace(0, np.pi / 2, 8)
        arc = np.stack([np.cos(turns), np.sin(turns)], axis=1) * radius
        corners = [
            arc * (1, 1) + (x + w - radius, y + h - radius),
            arc[::-1] * (-1, 1) + (x + radius, y + h - radius),
            arc * (-1, -1) + (x + radius, y + radius),
            arc[::-1] * (1, -1) + (x + w - radius, y + radius),
        ]
        self._polygon(canvas, np.concatenate(corners), colour)

    def line(self, canvas: Canvas, points: NDArray[np.float64], colour: Colour, thickness: float = 1.0) -> None:
        """An anti-aliased line through points (n, 2)."""
        whole = np.round((points - 0.5) * 2**_SHIFT).astype(np.int32)
        self.cv2.polylines(canvas, [whole], False, colour, max(1, round(thickness)), self.cv2.LINE_AA, _SHIFT)

    def resized(self, picture: Canvas, width: int, height: int) -> Canvas:
        """A picture of another size: smooth when larger, averaged when smaller."""
        smaller = width < picture.shape[1]
        method = self.cv2.INTER_AREA if smaller else self.cv2.INTER_CUBIC
        return np.asarray(self.cv2.resize(picture, (width, height), interpolation=method), dtype=np.uint8)

    def _polygon(self, canvas: Canvas, points: NDArray[np.float64], colour: Colour) -> None:
        whole = np.round((points - 0.5) * 2**_SHIFT).astype(np.int32)
        self.cv2.fillPoly(canvas, [whole], colour, self.cv2.LINE_AA, _SHIFT)

    def _measure(self, words: str, size: int, weight: int) -> int:
        if self._face is not None:
            x, _, width, _ = self.cv2.getTextSize((1, 1), words, (0, 0), self._face, size, weight)
            return int(x + width)
        scale, thick = self._stroke(size, weight)
        return int(self.cv2.getTextSize(_ascii(words), 2, scale, thick)[0][0])

    @staticmethod
    def _stroke(size: int, weight: int) -> tuple[float, int]:
        # FONT_HERSHEY_DUPLEX is 22 pixels high at scale 1.
        return size / 30.0, 2 if weight >= 600 and size >= 16 else 1


def _ascii(words: str) -> str:
    """The stroke font has no other signs."""
    table = str.maketrans({"…": "...", "·": "-", "–": "-", "—": "-", "×": "x"})
    return words.translate(table).encode("ascii", "replace").decode()
