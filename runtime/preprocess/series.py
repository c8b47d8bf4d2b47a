"""Rows of a sensor (radar, touch, inertial) → the window of a series encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..manifest import SeriesModality
from ..values import Array
from ._checks import as_array, described, output

__all__ = ["series_tensor"]


def series_tensor(
    series: Any, modality: SeriesModality, *, sample_rate: float | None = None, out: Array | None = None
) -> Array:
    """Floats (T, channels) → float32 (1, frames, channels): the last `frames` rows, (x − mean) / std.

    A shorter series has zeros before it, after the normalisation, so that nothing is not mistaken for a reading.
    `sample_rate` in rows per second, checked when given. `out`: where to write, of the same shape.

    Raises:
        InputError: integers, wrong rank or number of channels, empty, another sample rate, NaN or infinite.
    """
    name = modality.name
    rows = as_array(name, series, f"float32 of shape (T, {modality.channels})")
    _check_layout(modality, rows)
    if sample_rate is not None and abs(sample_rate - modality.sample_rate) > 1e-6 * modality.sample_rate:
        raise InputError(
            f"{name} has the wrong sample rate",
            found=f"{sample_rate:g} Hz",
            expected=f"{modality.sample_rate:g} Hz",
            fix="Resample the rows first",
        )
    window = rows[-modality.frames :]
    out = output(out, (1, modality.frames, modality.channels), np.float32)
    empty = modality.frames - len(window)
    out[0, :empty] = 0.0
    target = out[0, empty:]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported below
        np.subtract(window, modality.mean, out=target, casting="same_kind")
        np.divide(target, np.float32(modality.std), out=target)
    if not np.isfinite(target).all():
        bad = int(window.size - np.isfinite(target).sum())
        raise InputError(f"{name} has NaN or infinite values", found=f"{bad} of {window.size}", expected="none")
    return out


def _check_layout(modality: SeriesModality, rows: Array) -> None:
    name, expected = modality.name, f"float32 of shape (T, {modality.channels})"
    if rows.size == 0:
        raise InputError(f"{name} is empty", found=described(rows), expected=expected)
    if rows.dtype.kind != "f":
        raise InputError(
            f"{name} is not in floating point",
            found=described(rows),
            expected=expected,
            fix="Hand in series.astype(np.float32)",
        )
    if rows.ndim != 2 or rows.shape[1] != modality.channels:
        fix: str | None = None
        if rows.ndim == 1 and (modality.channels == 1 or rows.size == modality.channels):
            fix = f"Hand in series.reshape(-1, {modality.channels})"
        elif rows.ndim == 2 and rows.shape[0] == modality.channels:
            fix = "Time is the first axis: hand in series.T"
        elif rows.ndim == 3 and rows.shape[0] == 1:
            fix = "It has a batch axis: hand in series[0]"
        raise InputError(f"{name} has the wrong shape", found=described(rows), expected=expected, fix=fix)
