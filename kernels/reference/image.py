"""Resize, crop and normalise in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..plan import PRECISION

__all__ = ["resample"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


def _weighted(source: Bytes, start: Ints, count: Ints, weight: Ints) -> Bytes:
    """The first axis of `source` (N, …) resampled: round to nearest, halves up, and clamp to a byte, as Pillow does."""
    shape = (-1,) + (1,) * (source.ndim - 1)
    total = np.full((len(start), *source.shape[1:]), 1 << (PRECISION - 1), np.int64)
    for tap in range(weight.shape[1]):
        index = np.minimum(start + tap, source.shape[0] - 1)
        total += source[index].astype(np.int64) * weight[:, tap].astype(np.int64).reshape(shape)
    grey: Bytes = np.clip(total >> PRECISION, 0, 255).astype(np.uint8)
    return grey


def resample(
    image: Bytes,
    row_start: Ints,
    row_count: Ints,
    row_weight: Ints,
    column_start: Ints,
    column_count: Ints,
    column_weight: Ints,
    table: Floats,
    out: Floats,
) -> None:
    """uint8 (H, W, 3) → float32 (3, h, w): across rows, to bytes, down columns, through the table (3, 256)."""
    top, bottom = int(row_start.min()), int((row_start + row_count).max())
    narrow = _weighted(image[top:bottom].swapaxes(0, 1), column_start, column_count, column_weight)
    small = _weighted(narrow.swapaxes(0, 1), row_start - np.int32(top), row_count, row_weight)
    for channel in range(3):
        np.take(table[channel], small[:, :, channel], out=out[channel])
