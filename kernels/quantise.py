"""Quantisation: floats to bytes and back, as ONNX's QuantizeLinear and DequantizeLinear define it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import described, float_array, no_overlap, output
from ._select import kernels
from .errors import KernelError

__all__ = ["dequantize", "dequantize_arguments", "quantize", "quantize_arguments"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
_NARROW = 16
"""Runs of fewer values with one scale are not worth a loop of their own."""


def quantize(
    values: Floats,
    scale: ArrayLike,
    zero_point: ArrayLike | None = None,
    *,
    dtype: str = "int8",
    axis: int | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """float32 of any shape → int8 or uint8 of that shape: values / scale, halves to even, + zero_point, saturated.

    `scale`, above zero, and `zero_point`, a value of the dtype (None: 0, symmetric), are single numbers, or with an
    `axis` one for each index of it. Infinity saturates. `out`: where to write, C-contiguous.

    Raises:
        KernelError: wrong dtype, shape or stride, an empty array, NaN, a scale or a zero point that cannot be.
    """
    extent, scales, zeros = quantize_arguments(values, scale, zero_point, dtype, axis)
    out = output(out, values.shape, np.int8 if dtype == "int8" else np.uint8)
    no_overlap(out, values=values)
    extent, scales, zeros = _widened(extent, scales, zeros)
    if not kernels.quantize(values.reshape(extent), scales, zeros, out.reshape(extent)):
        raise KernelError("values", found="NaN", expected="numbers")
    return out


def dequantize(
    values: NDArray[Any],
    scale: ArrayLike,
    zero_point: ArrayLike | None = None,
    *,
    axis: int | None = None,
    out: Floats | None = None,
) -> Floats:
    """int8 or uint8 of any shape → float32 of that shape: (values − zero_point) · scale. Constants as in `quantize`.

    Raises:
        KernelError: wrong dtype, shape or stride, an empty array, a scale or a zero point that cannot be.
    """
    extent, scales, zeros = dequantize_arguments(values, scale, zero_point, axis)
    out = output(out, values.shape, np.float32)
    no_overlap(out, values=values)
    extent, scales, zeros = _widened(extent, scales, zeros)
    kernels.dequantize(values.reshape(extent), scales, zeros, out.reshape(extent))
    return out


def quantize_arguments(
    values: Any, scale: Any, zero_point: Any, dtype: Any, axis: Any
) -> tuple[tuple[int, int, int], Floats, Ints]:
    """Checks all but `out` and NaN, for every backend: the array as (outer, channels, inner), scales, zero points."""
    float_array("values", values, None)
    if dtype not in ("int8", "uint8"):
        raise KernelError("dtype", found=repr(dtype), expected="'int8' or 'uint8'")
    extent = _extent("values", values, axis)
    return (extent, *_constants(scale, zero_point, dtype, axis, extent[1]))


def dequantize_arguments(
    values: Any, scale: Any, zero_point: Any, axis: Any
) -> tuple[tuple[int, int, int], Floats, Ints]:
    """As `quantize_arguments`."""
    if not isinstance(values, np.ndarray) or values.dtype not in (np.int8, np.uint8) or not values.flags.c_contiguous:
        layout = ", not contiguous" if isinstance(values, np.ndarray) and not values.flags.c_contiguous else ""
        raise KernelError("values", found=described(values) + layout, expected="int8 or uint8, C-contiguous")
    extent = _extent("values", values, axis)
    return (extent, *_constants(scale, zero_point, values.dtype.name, axis, extent[1]))


def _extent(name: str, values: NDArray[Any], axis: Any) -> tuple[int, int, int]:
    """The array as (outer, channels, inner)."""
    if not values.size:
        raise KernelError(name, found=described(values), expected="at least one value")
    if axis is None:
        return 1, 1, values.size
    rank = values.ndim
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool) or not -rank <= axis < rank:
        raise KernelError("axis", found=repr(axis), expected=f"None, or an axis of {described(values)}")
    shape: Sequence[int] = values.shape
    at = int(axis) % rank
    return int(np.prod(shape[:at])), shape[at], int(np.prod(shape[at + 1 :]))


def _constants(scale: Any, zero_point: Any, dtype: str, axis: Any, channels: int) -> tuple[Floats, Ints]:
    shape = () if axis is None else (channels,)
    scales = _numbers("scale", scale, shape, "uif").astype(np.float32)
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise KernelError("scale", found=_shown(scale), expected="finite float32 numbers above 0")
    zeros = np.zeros(shape, np.int32) if zero_point is None else _numbers("zero_point", zero_point, shape, "ui")
    limits = np.iinfo(dtype)
    if (zeros < limits.min).any() or (zeros > limits.max).any():
        raise KernelError("zero_point", found=_shown(zero_point), expected=f"{dtype}, {limits.min} to {limits.max}")
    return np.broadcast_to(scales, channels), np.broadcast_to(zeros.astype(np.int32), channels)


def _numbers(name: str, given: Any, shape: tuple[int, ...], kinds: str) -> NDArray[Any]:
    try:
        numbers = np.asarray(given)
    except ValueError as error:  # ragged
        raise KernelError(name, found=type(given).__name__, expected="numbers") from error
    if numbers.dtype.kind not in kinds or numbers.shape != shape:
        what = "whole numbers" if "f" not in kinds else "numbers"
        expected = f"{what} of shape {shape}, one for each index of the axis" if shape else f"one of {what}"
        raise KernelError(name, found=described(numbers), expected=expected)
    return numbers


def _shown(given: Any) -> str:
    return np.array2string(np.asarray(given), threshold=8)


def _widened(extent: tuple[int, int, int], scales: Floats, zeros: Ints) -> tuple[tuple[int, int, int], Floats, Ints]:
    """Short runs put together, with a scale for each value; contiguous constants."""
    outer, channels, inner = extent
    if channels == 1 or inner >= _NARROW:
        return extent, np.ascontiguousarray(scales), np.ascontiguousarray(zeros)
    return (outer, channels * inner, 1), np.repeat(scales, inner), np.repeat(zeros, inner)
