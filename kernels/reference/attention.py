"""Attention as Vaswani et al. 2017 define it, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["attention"]

Array = NDArray[Any]


def attention(
    queries: Array, keys: Array, values: Array, mask: Array | None, heads: int, scale: float, out: Array, threads: int
) -> None:
    """softmax(q · kᵀ · scale + mask) · v of each head. `queries` (B, M, heads · D), `keys` and `values`
    (B, N, heads · D), `mask` (B, heads, M, N), `out` as the queries."""
    batch, rows, width = queries.shape

    def split(tensor: Array) -> Array:
        parted: Array = tensor.astype(np.float64).reshape(batch, -1, heads, width // heads).swapaxes(1, 2)
        return parted

    scores = split(queries) @ split(keys).swapaxes(2, 3) * scale
    if mask is not None:
        scores = scores + mask
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    out[...] = (shares @ split(values)).swapaxes(1, 2).reshape(batch, rows, width)
