"""Weights as int8 with a scale for each output channel, or for each row of a table.

Weights are scaled so that the result is the same on every CPU: x86 without VNNI adds products in pairs in 16 bits, and
what exceeds them is cut off there (measured: an encoder's cosine falls from 0.9996 to 0.95).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..runtime.values import Array

__all__ = ["Memo", "per_channel", "per_row", "remember"]

Memo = dict[tuple[Any, ...], tuple[Array, Array]]
"""Weights that were quantised before, for the next attempt at the same model."""
_CHUNK = 2**24
"""Values that are worked on at a time."""


def per_channel(weight: Array, axis: int, least: float | Array = 0.0) -> tuple[Array, Array]:
    """Symmetric int8 weight (−127 … 127) and one float32 scale, at least `least`, for each index of `axis`.

    No two weights of one sign sum to more than 128: times 255, the largest activation, that is 32640, which 16 bits
    hold in whatever order the products are paired. Seven bits would do it too; this costs a channel only what it must.
    """
    pairs = _pairs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1))
    scale = np.maximum(pairs / 127, np.maximum(least, 1e-14)).astype(np.float32)
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
    return _whole(weight, scale.reshape(shape)), scale


def _whole(weight: Array, scale: Array) -> Array:
    values = weight / scale
    np.clip(np.rint(values, out=values), -127, 127, out=values)
    return values.astype(np.int8, order="C")


def _pairs(rows: Array) -> Array:
    """The largest sum of two values of one sign in each row, as a positive number."""
    found = np.empty(len(rows), rows.dtype)
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        part = np.array(rows[start : start + step], order="C")
        found[start : start + step] = np.maximum(_largest_two(part), _largest_two(np.negative(part, out=part)))
    return found


def _largest_two(rows: Array) -> Array:
    """The sum of the two largest values above zero of each row."""
    lines, at = np.arange(len(rows)), rows.argmax(axis=1)
    first = rows[lines, at]
    rows[lines, at] = 0
    second = rows.max(axis=1)
    rows[lines, at] = first
    both: Array = np.maximum(first, 0) + np.maximum(second, 0)
    return both


def per_row(table: Array) -> tuple[Array, Array]:
    """int8 table (V, D) and float32 scales (V, 1)."""
    scale = np.maximum(np.maximum(table.max(axis=1), -table.min(axis=1)) / 127, 1e-14).astype(np.float32)[:, None]
    return _whole(table, scale), scale


def remember(memo: Memo, key: tuple[Any, ...], make: Callable[[], tuple[Array, Array]]) -> tuple[Array, Array]:
    """What was made before under that key, or is made now."""
    if key not in memo:
        memo[key] = make()
    return memo[key]
