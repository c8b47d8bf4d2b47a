"""The k best rows in NumPy, and the order in which their products are added up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["topk_bytes", "topk_floats"]

Floats = NDArray[np.float32]

_SUMS = 32
_BLOCK = 1 << 18
"""Values of the memory that are worked on at once: a cache's worth."""


def _dots(query: Floats, rows: NDArray[Any]) -> Floats:
    """Sum j, of 32, over the products of elements j, j + 32, … in order; then sum j takes in j + 16, j + 8, … j + 1.

    Every product and every sum is rounded to float32. Both (…, D), with D a multiple of 32.
    """
    sums = np.zeros((len(rows), _SUMS), np.float32)
    for at in range(0, len(query), _SUMS):
        sums += query[at : at + _SUMS] * rows[:, at : at + _SUMS]
    half = _SUMS // 2
    while half:
        sums = sums[:, :half] + sums[:, half : 2 * half]
        half //= 2
    return sums[:, 0]


def topk_floats(
    queries: Floats,
    rows: NDArray[Any],
    factors: Floats | None,
    threads: int,
    scores: Floats,
    indices: NDArray[np.int64],
) -> None:
    """float32 (Q, D) against float32 or float16 (N, D) → the k best (Q, k): dot · factor of the row."""
    padding = ((0, 0), (0, -queries.shape[1] % _SUMS))
    asked = np.pad(queries, padding)
    dots = np.empty((len(queries), len(rows)), np.float32)
    step = max(1, _BLOCK // asked.shape[1])
    with np.errstate(all="ignore"):  # rows may hold anything
        for first in range(0, len(rows), step):
            block = np.pad(rows[first : first + step].astype(np.float32), padding)
            for query, row in zip(asked, dots, strict=True):
                row[first : first + step] = _dots(query, block)
        for row, best, index in zip(dots, scores, indices, strict=True):
            _select(row if factors is None else row * factors, best, index)


def topk_bytes(
    queries: NDArray[np.int16],
    scales: Floats,
    rows: NDArray[np.int8],
    factors: Floats | None,
    threads: int,
    scores: Floats,
    indices: NDArray[np.int64],
) -> None:
    """int16 (Q, D) against int8 (N, D) → the k best (Q, k): dot · factor of the row · scale of the query.

    The dot product is exact (a float64 holds every whole number that D < 2^31 products can give), then float32.
    """
    asked = queries.astype(np.float64)
    dots = np.empty((len(queries), len(rows)), np.float32)
    step = max(1, _BLOCK // rows.shape[1])
    for first in range(0, len(rows), step):
        dots[:, first : first + step] = asked @ rows[first : first + step].astype(np.float64).T
    with np.errstate(all="ignore"):
        for row, scale, best, index in zip(dots, scales, scores, indices, strict=True):
            _select((row if factors is None else row * factors) * scale, best, index)


def _select(values: Floats, best: Floats, indices: NDArray[np.int64]) -> None:
    """The best of `values`, best first, equal ones by index; NaN counts as minus infinity."""
    values = np.where(np.isnan(values), np.float32(-np.inf), values)
    k = len(best)
    bound = np.partition(values, len(values) - k)[len(values) - k]
    among = np.flatnonzero(values >= bound)
    chosen = among[np.argsort(-values[among], kind="stable")[:k]]
    best[...], indices[...] = values[chosen], chosen
