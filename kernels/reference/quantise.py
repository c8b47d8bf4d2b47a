"""Floats to bytes and back in NumPy. Arrays are (outer, channels, inner); scales and zeros (channels,)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["dequantize", "quantize"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


def quantize(values: Floats, scales: Floats, zeros: Ints, out: NDArray[Any]) -> bool:
    """value / scale, rounded, halves to even, + zero, saturated. False when a value is NaN."""
    if np.isnan(values).any():
        return False
    limits = np.iinfo(out.dtype)
    zero = zeros[:, None]
    with np.errstate(over="ignore"):
        wanted = values / scales[:, None]
    least, most = (limits.min - zero).astype(np.float32), (limits.max - zero).astype(np.float32)
    out[...] = np.rint(np.clip(wanted, least, most)).astype(np.int32) + zero
    return True


def dequantize(values: NDArray[Any], scales: Floats, zeros: Ints, out: Floats) -> None:
    """(value − zero) · scale, the product rounded to float32."""
    np.multiply((values.astype(np.int32) - zeros[:, None]).astype(np.float32), scales[:, None], out=out)
