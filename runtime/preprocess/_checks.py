"""What the preprocessing of every modality asks first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..values import Array

__all__ = ["as_array", "described", "output"]


def described(array: Array) -> str:
    """dtype and shape, for a message."""
    return f"{array.dtype} of shape {array.shape}"


def as_array(name: str, data: Any, expected: str) -> Array:
    """`data` as a numeric NumPy array without a copy where that is possible.

    Raises:
        InputError: not an array, ragged, or of a dtype that is no number.
    """
    try:
        array = np.asarray(data)
    except Exception as error:  # __array__ of a foreign object may raise anything
        raise InputError(f"{name} cannot be read as an array ({error})", expected=expected) from error
    if array.dtype.kind not in "uifb":
        found = type(data).__name__ if array.dtype == object or isinstance(data, (str, bytes)) else described(array)
        raise InputError(f"{name} is not an array of numbers", found=found, expected=expected)
    return array


def output(out: Array | None, shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
    """`out` after a check of its shape and dtype, or a new array."""
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype:
        raise InputError("out does not fit", found=described(out), expected=f"{np.dtype(dtype)} of shape {shape}")
    return out
