"""Frames as cameras give them: which bytes are which colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import described
from .errors import KernelError

__all__ = ["FORMATS", "MATRICES", "YUV_BITS", "Frame", "YuvMatrix", "frame_of", "yuv_matrix"]

Bytes = NDArray[np.uint8]
YuvMatrix = tuple[int, int, int, int, int, int]

YUV_BITS = 13
"""Fractional bits of the colour conversion: the largest factor, 2.11, then still has 16 bits with its sign."""

MOST = 1 << 24
"""The longest edge of a frame."""

MATRICES: Mapping[str, tuple[Fraction, Fraction]] = MappingProxyType({
    "bt601": (Fraction("0.299"), Fraction("0.114")),
    "bt709": (Fraction("0.2126"), Fraction("0.0722")),
})  # fmt: skip
"""The share of red and of blue in luma: ITU-R BT.601-7 and BT.709-6."""


@dataclass(frozen=True)
class Frame:
    """`planes`: one array (H, W, 3) in the order red, green, blue, or luma (H, W), then blue and red difference.

    The differences are (H/2, W/2), or (H, W/2); `matrix` is theirs. None of it is a copy.
    """

    planes: tuple[Bytes, ...]
    matrix: YuvMatrix | None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.planes[0].shape[0], self.planes[0].shape[1]


@lru_cache(maxsize=8)
def yuv_matrix(matrix: str, full_range: bool) -> YuvMatrix:
    """(black, luma, red of V, green of U, green of V, blue of U), all but the first in units of 2^-YUV_BITS.

    With y = luma·(Y − black), u = U − 128, v = V − 128 and half = 2^(YUV_BITS − 1), a colour is, clamped to 0..255,
    red = (y + red·v + half) >> YUV_BITS, green = (y + green_u·u + green_v·v + half) >> YUV_BITS, and blue as red, of u.

    The factors follow from the shares of red and blue (BT.601-7 section 2.5, BT.709-6 items 3.2 to 3.5). Limited range
    has luma in 16..235 and differences in 16..240; what lies outside is used as it is.
    """
    if matrix not in MATRICES:
        raise KernelError("matrix", found=repr(matrix), expected=" or ".join(map(repr, MATRICES)))
    red, blue = MATRICES[matrix]
    green = 1 - red - blue
    luma, difference = (Fraction(1), Fraction(1)) if full_range else (Fraction(255, 219), Fraction(255, 224))
    factors = (
        luma,
        2 * (1 - red) * difference,
        -2 * (1 - blue) * blue / green * difference,
        -2 * (1 - red) * red / green * difference,
        2 * (1 - blue) * difference,
    )
    y, r_v, g_u, g_v, b_u = (round(factor * (1 << YUV_BITS)) for factor in factors)
    return (0 if full_range else 16), y, r_v, g_u, g_v, b_u


def frame_of(image: Any, format: str, matrix: str, full_range: bool) -> Frame:
    """The planes of `image`, an array or a tuple of arrays, without copying a byte; a `Frame` is what it is.

    Raises:
        KernelError: an unknown word, wrong dtype or shape, a size that the format does not have.
    """
    if isinstance(image, Frame):
        return image
    if not isinstance(format, str) or format not in FORMATS:
        raise KernelError("format", found=repr(format), expected=" or ".join(map(repr, FORMATS)))
    taken, colours = FORMATS[format]
    planes = taken(image, format)
    if planes[0].size == 0:
        raise KernelError("image", found=described(planes[0]), expected="at least one pixel")
    if max(planes[0].shape[:2]) > MOST:
        raise KernelError("image", found=described(planes[0]), expected=f"at most {MOST} pixels a side")
    return Frame(planes, None if colours else yuv_matrix(matrix, bool(full_range)))


def _is_bytes(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.uint8


def _refused(image: Any, expected: str) -> KernelError:
    found = ", ".join(map(described, image)) if isinstance(image, tuple) else described(image)
    return KernelError("image", found=found, expected=f"uint8 {expected}")


def _interleaved(image: Any, format: str) -> tuple[Bytes, ...]:
    count = len(format)
    if not _is_bytes(image) or image.ndim != 3 or image.shape[2] != count:
        raise _refused(image, f"{format.upper()} of shape (H, W, {count})")
    if format == "rgb":
        return (image,)
    return (image[:, :, 2::-1],) if format.startswith("bgr") else (image[:, :, :3],)


def _gray(image: Any, format: str) -> tuple[Bytes, ...]:
    if not _is_bytes(image) or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,)):
        raise _refused(image, "grey of shape (H, W) or (H, W, 1)")
    height, width = image.shape[:2]
    return (np.broadcast_to(image.reshape(height, width, 1) if image.ndim == 2 else image, (height, width, 3)),)


def _yuyv(image: Any, format: str) -> tuple[Bytes, ...]:
    if not _is_bytes(image) or image.ndim != 3 or image.shape[2] != 2 or image.shape[1] % 2:
        raise _refused(image, "YUYV of shape (H, W, 2), W even: cut off the last column")
    return image[:, :, 0], image[:, ::2, 1], image[:, 1::2, 1]


_CUT = "H and W even: a picture of odd size has no such format, cut off its last row or column before"


def _nv12(image: Any, format: str) -> tuple[Bytes, ...]:
    if isinstance(image, tuple):
        if not all(map(_is_bytes, image)) or not _half_as_large(image, 2, (2,)):
            raise _refused(image, f"luma (H, W) and differences (H/2, W/2, 2), {_CUT}")
        luma, both = image
        return luma, both[:, :, 0], both[:, :, 1]
    height = _height(image, format)
    return image[:height], image[height:, ::2], image[height:, 1::2]


def _i420(image: Any, format: str) -> tuple[Bytes, ...]:
    if isinstance(image, tuple):
        if not all(map(_is_bytes, image)) or not _half_as_large(image, 3, ()):
            raise _refused(image, f"luma (H, W), then blue and red difference (H/2, W/2), {_CUT}")
        return image
    height = _height(image, format)
    if not image.flags.c_contiguous:
        raise _refused(image, "in a C-contiguous array: hand in np.ascontiguousarray(image), or a tuple of the planes")
    rest = image[height:].reshape(2, height // 2, image.shape[1] // 2)
    return image[:height], rest[0], rest[1]


def _half_as_large(planes: tuple[Bytes, ...], count: int, last: tuple[int, ...]) -> bool:
    """Whether there are `count` planes, all but the first half as high and wide, with axes `last` after that."""
    if len(planes) != count or planes[0].ndim != 2 or planes[0].shape[0] % 2 or planes[0].shape[1] % 2:
        return False
    half = (planes[0].shape[0] // 2, planes[0].shape[1] // 2, *last)
    return all(plane.shape == half for plane in planes[1:])


def _height(image: Any, format: str) -> int:
    """Of the picture, when all planes are in one array, as OpenCV and PyAV hand them out."""
    if not _is_bytes(image) or image.ndim != 2 or image.shape[0] % 3 or image.shape[1] % 2:
        raise _refused(image, f"{format.upper()} of shape (3·H/2, W), {_CUT}")
    height = int(image.shape[0]) * 2 // 3
    if height % 2:
        raise _refused(image, f"{format.upper()} of shape (3·H/2, W), {_CUT}")
    return height


FORMATS: Mapping[str, tuple[Callable[[Any, str], tuple[Bytes, ...]], bool]] = MappingProxyType({
    "rgb": (_interleaved, True),
    "bgr": (_interleaved, True),
    "rgba": (_interleaved, True),
    "bgra": (_interleaved, True),
    "gray": (_gray, True),
    "nv12": (_nv12, False),
    "i420": (_i420, False),
    "yuyv": (_yuyv, False),
})  # fmt: skip
"""Format → (what makes planes of it, whether they are colours already)."""
