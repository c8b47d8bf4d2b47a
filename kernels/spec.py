"""What an encoder wants of a picture, as one value."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .errors import KernelError
from .plan import FILTERS, SAMPLED

__all__ = ["ImageSpec"]

Triple = tuple[float, float, float]

_WORDS = {
    "filter": (*FILTERS, *SAMPLED),
    "order": ("across", "pillow"),
    "resize": ("shortest-edge", "longest-edge", "exact", "none"),
    "rounding": ("down", "nearest"),
    "channels": ("rgb", "bgr"),
    "layout": ("chw", "hwc"),
    "dtype": ("float32", "float16", "int8", "uint8"),
}


@dataclass(frozen=True)
class ImageSpec:
    """How a picture becomes a tensor of `height` × `width`: a value, to be made once and used for every frame.

    What happens, in this order:

    1. `box`: of the frame only the rows top to bottom and columns left to right, (top, left, bottom, right). None: all.
    2. `resize`: "exact" scales to `scaled`, or to (height, width) without it; "shortest-edge" keeps the proportions and
       covers (height, width), or makes the shorter edge `edge`; "longest-edge" fits into (height, width), or makes the
       longer edge `edge`; "none" leaves the pixels. The edge that follows from the other is rounded "down" or to the
       "nearest" (halves to even).
    3. `filter`: area, bilinear, hamming, bicubic, lanczos are Pillow's, antialiased, bit for bit, and so is nearest;
       opencv-linear is cv2.INTER_LINEAR, which takes four neighbours however small the target is.
       `order`: "across" goes along each row first, then down the columns, which was Pillow's only order for years.
       "pillow" does as Pillow 13 does: down the columns first where the height loses more than twice the pixels that
       the width does. In between the picture is rounded and clamped to bytes, so that the order makes a difference:
       mostly none, seldom a grey level, more beside hard edges. It is nothing to nearest and opencv-linear.
    4. `crop`: "centre" takes the middle (of an odd pixel, less at the top and left); a pair (top, left) is where the
       target begins in the scaled picture, negative for a margin; "none" asks that nothing needs to be cropped.
       What the picture does not cover is `pad`, a grey level or three of them in the order of `channels`, or `fill`, a
       number as it stands in the tensor. Without both, the picture has to cover the target.
    5. (value · scale − mean) / std for each channel, in the order of `channels`.
    6. `dtype`: float32, float16, or int8 or uint8: round(x / quant_scale) + zero_point, halves to even, saturating.
    7. `layout`: "chw" (3, height, width), or "hwc" (height, width, 3).

    Raises:
        KernelError: a field that no picture could be made by: which one, what was found, what was expected.
    """

    height: int
    width: int
    filter: str = "bilinear"
    order: str = "across"
    resize: str = "shortest-edge"
    edge: int | None = None
    scaled: tuple[int, int] | None = None
    rounding: str = "down"
    box: tuple[int, int, int, int] | None = None
    crop: str | tuple[int, int] = "centre"
    pad: int | tuple[int, int, int] | None = None
    fill: float | None = None
    scale: float = 1.0 / 255.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    channels: str = "rgb"
    layout: str = "chw"
    dtype: str = "float32"
    quant_scale: float = 1.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            self._set(name, _whole(name, getattr(self, name), 1, 1 << 16))
        for name, words in _WORDS.items():
            _check_word(name, getattr(self, name), words)
        self._check_geometry()
        self._check_numbers()

    def _check_geometry(self) -> None:
        if self.edge is not None:
            if self.resize not in ("shortest-edge", "longest-edge"):
                expected = "None, or resize='shortest-edge' or 'longest-edge'"
                raise KernelError("edge", found=f"{self.edge!r} with resize={self.resize!r}", expected=expected)
            self._set("edge", _whole("edge", self.edge, 1, 1 << 16))
        if self.scaled is not None:
            if self.resize != "exact":
                found = f"{self.scaled!r} with resize={self.resize!r}"
                raise KernelError("scaled", found=found, expected="None, or resize='exact'")
            self._set("scaled", _wholes("scaled", self.scaled, 2, low=1))
        if self.box is not None:
            top, left, bottom, right = self._set("box", _wholes("box", self.box, 4))
            if not (0 <= top < bottom and 0 <= left < right):
                raise KernelError("box", found=self.box, expected="(top, left, bottom, right) around some pixels")
        if not isinstance(self.crop, str):
            self._set("crop", _wholes("crop", self.crop, 2, low=-(1 << 16)))
        else:
            _check_word("crop", self.crop, ("centre", "none"))
        if self.pad is not None:
            if self.fill is not None:
                raise KernelError("pad, fill", found=(self.pad, self.fill), expected="one of them, or neither")
            three = (self.pad,) * 3 if isinstance(self.pad, (int, np.integer)) else self.pad
            self._set("pad", _wholes("pad", three, 3, high=255))

    def _check_numbers(self) -> None:
        for name in ("mean", "std"):
            values = self._set(name, _numbers(name, getattr(self, name), 3))
            if name == "std" and 0.0 in values:
                raise KernelError(name, found=values, expected="no zero")
        for name in ("scale", "quant_scale", "fill"):
            if getattr(self, name) is not None:
                self._set(name, _numbers(name, (getattr(self, name),), 1)[0])
        if self.quant_scale <= 0.0:
            raise KernelError("quant_scale", found=self.quant_scale, expected="a number above zero")
        if self.dtype in ("int8", "uint8"):
            limits = np.iinfo(self.dtype)
            low, high = int(limits.min), int(limits.max)
            self._set("zero_point", _whole("zero_point", self.zero_point, low, high))
        elif (self.quant_scale, self.zero_point) != (1.0, 0):
            found = f"{self.quant_scale} and {self.zero_point} with dtype={self.dtype!r}"
            raise KernelError("quant_scale, zero_point", found=found, expected="dtype='int8' or 'uint8'")

    def _set(self, name: str, value: Any) -> Any:
        object.__setattr__(self, name, value)
        return value

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the tensor."""
        return (3, self.height, self.width) if self.layout == "chw" else (self.height, self.width, 3)

    @classmethod
    def of(cls, height: Any, width: Any, settings: dict[str, Any]) -> ImageSpec:
        """From keywords.

        Raises:
            KernelError: also for a keyword that is no field.
        """
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise KernelError(name, found="an unknown setting", expected=", ".join(known))
        return cls(height, width, **settings)


def _check_word(argument: str, word: Any, words: tuple[str, ...]) -> None:
    if not isinstance(word, str) or word not in words:
        raise KernelError(argument, found=repr(word), expected=" or ".join(map(repr, words)))


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise KernelError(name, found=repr(value), expected=f"a whole number from {low} to {high}")
    return int(value)


def _wholes(name: str, values: Any, count: int, low: int = 0, high: int = 1 << 30) -> tuple[int, ...]:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or len(values) != count:
        raise KernelError(name, found=repr(values), expected=f"{count} whole numbers")
    return tuple(_whole(name, value, low, high) for value in values)


def _numbers(name: str, values: Any, count: int) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, values))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        expected = "a finite number" if count == 1 else f"{count} finite numbers"
        raise KernelError(name, found=values if count > 1 else values[0], expected=expected)
    return numbers
