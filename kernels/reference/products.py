"""Products of bytes, as ONNX's DynamicQuantizeLinear and MatMulInteger define them, scaled back to floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Product", "products_pay"]

Array = NDArray[Any]


class Product:
    """int8 `weights` (K, N), a float32 scale for each column, a `bias` (N,) or None."""

    def __init__(self, weights: Array, scales: Array, bias: Array | None) -> None:
        self._weights = weights.astype(np.int64)
        self._scales, self._bias = scales, bias

    def of_floats(self, values: Array, out: Array, threads: int) -> None:
        """(M, K) floats → (M, N), quantised by one scale and zero point as DynamicQuantizeLinear does."""
        low, high = min(values.min(), np.float32(0)), max(values.max(), np.float32(0))
        scale = np.float32(1) if low == high else (high - low) / np.float32(255)
        zero = np.rint(np.clip(np.float32(0) - low / scale, 0, 255))
        whole = np.rint(np.clip(values / scale, -zero, 255 - zero)).astype(np.int64)
        self._scaled(whole @ self._weights, scale, out)

    def of_bytes(self, values: Array, scale: float, zero: int, out: Array, threads: int) -> None:
        """(M, K) bytes, each worth (byte - zero) · scale, → (M, N)."""
        self._scaled((values.astype(np.int64) - zero) @ self._weights, np.float32(scale), out)

    def _scaled(self, sums: Array, scale: np.float32, out: Array) -> None:
        np.multiply(sums.astype(np.float32), scale * self._scales, out=out)
        if self._bias is not None:
            np.add(out, self._bias, out=out)


def products_pay() -> bool:
    """Never, in NumPy."""
    return False
