"""Which source pixels make which target pixel, and with what weight: the part of a resize that depends on sizes alone.

The weights are Pillow's (`Image.resize`, antialiased): a filter stretched by the reduction factor, sampled at pixel
centres, normalised to sum 1 and rounded to fixed point with `PRECISION` fractional bits. With integers on both sides
the NumPy reference and the compiled kernel give the same picture bit for bit, and the same one as Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .errors import KernelError

__all__ = ["FILTERS", "PRECISION", "Axis", "Plan", "normalisation_table", "plan_axis", "plan_resize"]

PRECISION = 22
"""Fractional bits of a weight: 8 of pixel, 22 of weight, one of sign and one for negative lobes make 32 bits."""

Floats = NDArray[np.float64]


def _area(x: Floats) -> Floats:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: Floats) -> Floats:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _bicubic(x: Floats) -> Floats:
    """Keys' cubic convolution with a = -1/2 (R. Keys, 1981)."""
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: Floats) -> Floats:
    """sinc(x)·sinc(x/3) inside three lobes."""
    return np.where((x >= -3.0) & (x < 3.0), np.sinc(x) * np.sinc(x / 3.0), 0.0)


FILTERS: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "area": (_area, 0.5),
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Filter → (its function, its support in source pixels at scale 1)."""


@dataclass(frozen=True)
class Axis:
    """One axis of a resize. Target i is the sum over k < count[i] of weight[i, k] · source[start[i] + k].

    `start`, `count` int32 (n,); `weight` int32 (n, taps), in units of 2^-PRECISION, zero beyond `count`.
    """

    start: NDArray[np.int32]
    count: NDArray[np.int32]
    weight: NDArray[np.int32]


@dataclass(frozen=True)
class Plan:
    """Both axes of a resize."""

    rows: Axis
    columns: Axis


def plan_axis(source: int, scaled: int, first: int, length: int, kind: str) -> Axis:
    """Weights for targets `first` to `first + length` of an axis of `source` pixels scaled to `scaled` pixels."""
    function, support = FILTERS[kind]
    step = source / scaled
    stretch = max(step, 1.0)
    centre = (np.arange(first, first + length, dtype=np.float64) + 0.5) * step
    # Truncation, not floor: both bounds are positive or clipped.
    low = np.maximum(np.trunc(centre - support * stretch + 0.5), 0.0).astype(np.int64)
    high = np.minimum(np.trunc(centre + support * stretch + 0.5), source).astype(np.int64)
    taps = np.arange(int((high - low).max()))
    inside = taps < (high - low)[:, None]
    values = function((low[:, None] + taps - centre[:, None] + 0.5) * (1.0 / stretch)) * inside
    values /= values.sum(axis=1, keepdims=True)
    fixed = np.trunc(values * (1 << PRECISION) + np.where(values < 0, -0.5, 0.5)).astype(np.int32)
    return _trimmed(low, fixed)


def _trimmed(low: NDArray[np.int64], weight: NDArray[np.int32]) -> Axis:
    """Drop leading and trailing taps whose weight rounded to zero: pixels that are not read."""
    used = weight != 0
    lead = used.argmax(axis=1)
    count = weight.shape[1] - used[:, ::-1].argmax(axis=1) - lead
    taps = int(count.max())
    index = lead[:, None] + np.arange(taps)
    padded = np.pad(weight, ((0, 0), (0, taps)))
    kept = np.take_along_axis(padded, index, axis=1) * (np.arange(taps) < count[:, None])
    axis = Axis((low + lead).astype(np.int32), count.astype(np.int32), np.ascontiguousarray(kept, np.int32))
    for array in (axis.start, axis.count, axis.weight):
        array.flags.writeable = False
    return axis


def _scaled_size(source: tuple[int, int], target: tuple[int, int], resize: str, edge: int | None) -> tuple[int, int]:
    """(height, width) after scaling and before the crop; the longer edge is rounded down, as torchvision does."""
    if resize == "exact":
        return target
    height, width = source
    if edge is not None:
        return (edge, edge * width // height) if height <= width else (edge * height // width, edge)
    if target[0] * width >= target[1] * height:
        return target[0], max(target[1], target[0] * width // height)
    return max(target[0], target[1] * height // width), target[1]


@lru_cache(maxsize=128)
def plan_resize(
    source: tuple[int, int], target: tuple[int, int], kind: str, resize: str, crop: str, edge: int | None
) -> Plan:
    """The weights of a resize from `source` to `target`, both (height, width).

    Raises:
        KernelError: an unknown word, a size below 1, or a scaled picture that does not fit the target.
    """
    _check_words(kind, resize, crop)
    if min(target) < 1:
        raise KernelError("height, width", found=target, expected="at least 1 × 1")
    if edge is not None and (edge < 1 or resize == "exact"):
        raise KernelError("edge", found=edge, expected="None, or at least 1 together with resize='shortest-edge'")
    scaled = _scaled_size(source, target, resize, edge)
    if scaled != target and (crop == "none" or min(scaled[0] - target[0], scaled[1] - target[1]) < 0):
        raise KernelError(
            "crop",
            found=f"{crop!r} with a picture of {source[0]} × {source[1]} scaled to {scaled[0]} × {scaled[1]}",
            expected=f"'centre' and at least {target[0]} × {target[1]} (height × width), or resize='exact'",
        )
    top, left = (scaled[0] - target[0]) // 2, (scaled[1] - target[1]) // 2
    return Plan(
        plan_axis(source[0], scaled[0], top, target[0], kind),
        plan_axis(source[1], scaled[1], left, target[1], kind),
    )


def _check_words(kind: str, resize: str, crop: str) -> None:
    for argument, word, words in (
        ("filter", kind, tuple(FILTERS)),
        ("resize", resize, ("shortest-edge", "exact")),
        ("crop", crop, ("centre", "none")),
    ):
        if word not in words:
            raise KernelError(argument, found=repr(word), expected=" or ".join(map(repr, words)))


@lru_cache(maxsize=128)
def normalisation_table(scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """(value · scale − mean) / std of every uint8 value, computed in float64: float32 (3, 256)."""
    if len(mean) != 3 or len(std) != 3:
        raise KernelError("mean, std", found=f"{len(mean)} and {len(std)} numbers", expected="3 and 3")
    if not all(map(math.isfinite, (scale, *mean, *std))) or 0.0 in std:
        raise KernelError("scale, mean, std", found=(scale, mean, std), expected="finite numbers, no zero in std")
    values = np.arange(256, dtype=np.float64) * scale
    table = (values - np.asarray(mean)[:, None]) / np.asarray(std)[:, None]
    table32 = np.ascontiguousarray(table, np.float32)
    table32.flags.writeable = False
    return table32
