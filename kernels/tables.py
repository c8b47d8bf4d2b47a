"""What each byte of a picture becomes in a tensor: a table, so that every backend gives the same number."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import KernelError
from .spec import ImageSpec

__all__ = ["element_table", "margin_elements"]


@lru_cache(maxsize=128)
def element_table(spec: ImageSpec) -> NDArray[Any]:
    """(value · scale − mean) / std of every byte, in float64, then as `spec.dtype`: (3, 256).

    Raises:
        KernelError: a number that the dtype does not hold.
    """
    values = np.arange(256, dtype=np.float64) * spec.scale
    return _elements(spec, (values - np.asarray(spec.mean)[:, None]) / np.asarray(spec.std)[:, None])


@lru_cache(maxsize=128)
def margin_elements(spec: ImageSpec) -> NDArray[Any] | None:
    """What stands beside the picture, for each channel: (3,) of `spec.dtype`. None when nothing may."""
    if spec.fill is not None:
        return _elements(spec, np.full(3, spec.fill))
    if spec.pad is None:
        return None
    chosen: NDArray[Any] = element_table(spec)[np.arange(3), np.asarray(spec.pad)]
    chosen.flags.writeable = False
    return chosen


def _elements(spec: ImageSpec, numbers: NDArray[np.float64]) -> NDArray[Any]:
    """Rounded to nearest, halves to even; quantised ones saturate."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            made = np.ascontiguousarray(numbers, dtype)
        if not np.isfinite(made).all():
            found = f"numbers to {np.abs(numbers).max():.3g}"
            raise KernelError("scale, mean, std, fill", found=found, expected=f"what {dtype} can hold")
    else:
        limits = np.iinfo(dtype)
        steps = np.rint(numbers / spec.quant_scale) + spec.zero_point
        made = np.clip(steps, limits.min, limits.max).astype(dtype)
    made.flags.writeable = False
    return made
