"""Which source pixels make which target pixel, and with what weight: the part of a resize that depends on sizes alone.

Two kinds. Weighed axes are Pillow's (`Image.resize`, antialiased): a filter stretched by the reduction factor, sampled
at pixel centres, normalised to sum 1 and rounded to fixed point with `PRECISION` fractional bits. Sampled axes take one
or two neighbours, not antialiased: Pillow's nearest, and OpenCV's bilinear. With integers on both sides the NumPy
reference and the compiled kernels give the same picture bit for bit, and the same one as Pillow or OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FILTERS", "LERP_BITS", "PRECISION", "SAMPLED", "Axis", "Samples", "plan_axis", "sample_axis"]

PRECISION = 22
"""Fractional bits of a weight: 8 of pixel, 22 of weight, one of sign and one for negative lobes make 32 bits."""

LERP_BITS = 11
"""Fractional bits of a weight of a sampled axis."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


def _area(x: Floats) -> Floats:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: Floats) -> Floats:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _hamming(x: Floats) -> Floats:
    """sinc(x) in a Hamming window of one lobe, whose numbers Pillow writes in float32."""
    x = np.abs(x)
    window = np.float64(np.float32(0.54)) + np.float64(np.float32(0.46)) * np.cos(x * np.pi)
    return np.where(x < 1.0, np.sinc(x) * window, 0.0)


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
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Filter → (its function, its support in source pixels at scale 1)."""

SAMPLED = ("nearest", "opencv-linear")
"""The filters that take neighbours."""


@dataclass(frozen=True)
class Axis:
    """One axis of a resize. Target i is the sum over k < count[i] of weight[i, k] · source[start[i] + k].

    `start`, `count` int32 (n,); `weight` int32 (n, taps), in units of 2^-PRECISION, zero beyond `count`.
    """

    start: Ints
    count: Ints
    weight: Ints


@dataclass(frozen=True)
class Samples:
    """One axis of a resize. Target i is weight[i, 0] · source[first[i]] + weight[i, 1] · source[second[i]].

    `first`, `second` int32 (n,); `weight` int32 (n, 2), in units of 2^-LERP_BITS, of sum 1.
    """

    first: Ints
    second: Ints
    weight: Ints


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


def _trimmed(low: NDArray[np.int64], weight: Ints) -> Axis:
    """Drop leading and trailing taps whose weight rounded to zero: pixels that are not read."""
    used = weight != 0
    lead = used.argmax(axis=1)
    count = weight.shape[1] - used[:, ::-1].argmax(axis=1) - lead
    taps = int(count.max())
    index = lead[:, None] + np.arange(taps)
    padded = np.pad(weight, ((0, 0), (0, taps)))
    kept = np.take_along_axis(padded, index, axis=1) * (np.arange(taps) < count[:, None])
    return Axis(frozen_ints(low + lead), frozen_ints(count), frozen_ints(kept))


def sample_axis(source: int, scaled: int, first: int, length: int, kind: str, *, row: bool) -> Samples:
    """Neighbours for targets `first` to `first + length` of an axis of `source` pixels scaled to `scaled` pixels.

    "nearest": Pillow's, which walks from pixel centre to pixel centre and adds up in float64. "opencv-linear": cv2's
    INTER_LINEAR of bytes, whose positions are float32. Beyond an edge the edge pixel counts; `row` says that the axis
    runs down the rows, where OpenCV gives its weight in two parts, which are rounded apart.
    """
    if kind == "nearest":
        walk = np.full(first + length, source / scaled)
        walk[0] = 0.5 * (source / scaled)
        at = np.minimum(np.cumsum(walk)[first:].astype(np.int64), source - 1)
        whole = np.asarray([1 << LERP_BITS, 0], np.int32)
        return Samples(frozen_ints(at), frozen_ints(at), frozen_ints(np.tile(whole, (length, 1))))
    position = ((np.arange(first, first + length) + 0.5) * (1.0 / (scaled / source)) - 0.5).astype(np.float32)
    at = np.floor(position).astype(np.int64)
    part = position - at.astype(np.float32)
    if not row:  # the same pixel either way; that two neighbours are side by side is a help to the kernels
        part = np.where(at < 0, np.float32(0.0), np.where(at >= source - 1, np.float32(1.0), part))
        at = np.clip(at, 0, max(source - 2, 0))
    one = np.float32(1 << LERP_BITS)
    weight = np.rint(np.stack([(np.float32(1.0) - part) * one, part * one], axis=1))
    low, high = np.clip(at, 0, source - 1), np.clip(at + 1, 0, source - 1)
    return Samples(frozen_ints(low), frozen_ints(high), frozen_ints(weight))


def frozen_ints(values: NDArray[np.generic]) -> Ints:
    """As contiguous int32 that nobody can write to."""
    array = np.ascontiguousarray(values, np.int32)
    array.flags.writeable = False
    return array
