"""What the kernels ask of every array before any of them runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import KernelError

__all__ = ["described", "float_array", "no_overlap", "output", "thread_count"]

_FLOAT32 = np.dtype(np.float32)


def described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return type(value).__name__


def float_array(name: str, value: Any, shape: tuple[int, ...] | None) -> None:
    if (
        not isinstance(value, np.ndarray)
        or value.dtype != _FLOAT32
        or (shape is not None and value.shape != shape)
        or not value.flags.c_contiguous
    ):
        wanted = "float32, C-contiguous" + ("" if shape is None else f", of shape {shape}")
        layout = "" if not isinstance(value, np.ndarray) or value.flags.c_contiguous else ", not contiguous"
        raise KernelError(name, found=described(value) + layout, expected=wanted)


def output(out: Any, shape: tuple[int, ...], dtype: type[np.generic] | str, name: str = "out") -> NDArray[Any]:
    if out is None:
        return np.empty(shape, dtype)
    if (
        not isinstance(out, np.ndarray)
        or out.dtype != dtype
        or out.shape != shape
        or not out.flags.c_contiguous
        or not out.flags.writeable
    ):
        raise KernelError(
            name, found=described(out), expected=f"writeable, C-contiguous {np.dtype(dtype)} of shape {shape}"
        )
    return out


def no_overlap(out: NDArray[Any], **inputs: NDArray[Any] | None) -> None:
    """Every input lies outside the memory that is written."""
    for name, value in inputs.items():
        if value is not None and np.may_share_memory(out, value):
            raise KernelError("out", found=f"memory that it shares with {name}", expected="memory of its own")


def thread_count(threads: Any) -> int:
    if not isinstance(threads, (int, np.integer)) or isinstance(threads, bool) or not 1 <= threads <= 1024:
        raise KernelError("threads", found=repr(threads), expected="a whole number from 1 to 1024")
    return int(threads)
