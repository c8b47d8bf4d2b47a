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

    The factors follow from the shares of red and blue (BT.601-7 section 2.5, BT.709-6 items 3.2 to 3.5). Limited range has
    luma in 16..235 and differences in 16..240; what lies outside is used as it is.
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
    """The planes of `image`, an array or a tuple of arrays, without copying a byte.

    Raises:
        KernelError: an unknown word, wrong dtype or shape, a size that the format does not have.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise KernelError("format", found=repr(format), expected=" or ".join(map(repr, FORMATS)))
    taken, colours = FORMATS[format]
    planes = taken(image, format)
    if planes[0].size == 0:
        raise KernelError("image", found=described(planes[0]), expected="at least one pixel")
    if max(planes[0].shape[:2]) > MOST:
        raise KernelError("image", found=described(planes[0]), expected=f"at most {MOST} pixels a side")
    return Frame(planes, None if colours else yuv_matrix(matrix, bool(full_range)))


def _array(image: Any, expected: str, name: str = "image") -> Bytes:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise KernelError(name, found=described(image), expected=expected)
    return image


def _interleaved(image: Any, format: str) -> tuple[Bytes, ...]:
    count = len(format)
    expected = f"uint8 {format.upper()} of shape (H, W, {count})"
    array = _array(image, expected)
    if array.ndim != 3 or array.shape[2] != count:
        raise KernelError("image", found=described(array), expected=expected)
    return (array[:, :, 2::-1],) if format.startswith("bgr") else (array[:, :, :3],)


def _gray(image: Any, format: str) -> tuple[Bytes, ...]:
    expected = "uint8 grey of shape (H, W) or (H, W, 1)"
    array = _array(image, expected)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2:
        raise KernelError("image", found=described(array), expected=expected)
    return (np.broadcast_to(array[:, :, None], (*array.shape, 3)),)


def _yuyv(image: Any, format: str) -> tuple[Bytes, ...]:
    expected = "uint8 YUYV of shape (H, W, 2), W even"
    array = _array(image, expected)
    if array.ndim != 3 or array.shape[2] != 2 or array.shape[1] % 2:
        raise KernelError("image", found=described(array), expected=f"{expected}: cut off the last column")
    return array[:, :, 0], array[:, ::2, 1], array[:, 1::2, 1]


_CUT = "H and W even: cut off the last row or column before the conversion to this format"


def _nv12(image: Any, format: str) -> tuple[Bytes, ...]:
    if isinstance(image, tuple):
        luma, both = _several(image, ("luma (H, W)", "differences (H/2, W/2, 2)"))
        if luma.ndim != 2 or both.ndim != 3 or both.shape != (luma.shape[0] / 2, luma.shape[1] / 2, 2):
            expected = f"uint8 of shapes (H, W) and (H/2, W/2, 2), {_CUT}"
            raise KernelError("image", found=f"{described(luma)} and {described(both)}", expected=expected)
        return luma, both[:, :, 0], both[:, :, 1]
    array, height = _stacked(image, "nv12")
    return array[:height], array[height:, ::2], array[height:, 1::2]


def _i420(image: Any, format: str) -> tuple[Bytes, ...]:
    if isinstance(image, tuple):
        luma, blue, red = _several(image, ("luma (H, W)", "blue difference (H/2, W/2)", "red difference (H/2, W/2)"))
        half = (luma.shape[0] / 2, luma.shape[1] / 2) if luma.ndim == 2 else ()
        if luma.ndim != 2 or blue.shape != half or red.shape != half:
            found = f"{described(luma)}, {described(blue)} and {described(red)}"
            raise KernelError("image", found=found, expected=f"uint8 of (H, W) and twice (H/2, W/2), {_CUT}")
        return luma, blue, red
    array, height = _stacked(image, "i420")
    if not array.flags.c_contiguous:
        found = f"{described(array)}, not contiguous"
        raise KernelError("image", found=found, expected="a C-contiguous array, or the planes as a tuple of three")
    width = array.shape[1]
    rest = array[height:].reshape(2, height // 2, width // 2)
    return array[:height], rest[0], rest[1]


def _several(image: tuple[Any, ...], names: tuple[str, ...]) -> tuple[Bytes, ...]:
    expected = f"{len(names)} uint8 arrays: {', '.join(names)}"
    if len(image) != len(names):
        raise KernelError("image", found=f"a tuple of {len(image)}", expected=expected)
    return tuple(_array(plane, expected) for plane in image)


def _stacked(image: Any, format: str) -> tuple[Bytes, int]:
    """All planes in one array, as OpenCV and PyAV hand them out, and the height of the picture."""
    expected = f"uint8 {format.upper()} of shape (3·H/2, W), {_CUT}"
    array = _array(image, expected)
    height = array.shape[0] * 2 // 3
    if array.ndim != 2 or array.shape[0] % 3 or height % 2 or array.shape[1] % 2:
        raise KernelError("image", found=described(array), expected=expected)
    return array, height


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
