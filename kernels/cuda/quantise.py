"""Quantisation on a GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import no_overlap
from ..errors import KernelError
from ..quantise import dequantize_arguments, quantize_arguments
from .arrays import address, aligned
from .launching import BLOCK, Call, grid_for, opened

__all__ = ["dequantize", "quantize"]

_u64, _u32, _ptr = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p


class QuantiseArguments(ctypes.Structure):
    """quantise.cu."""

    _fields_ = [
        *((name, _ptr) for name in ("values", "out", "scales", "zeros", "bad")),
        *((name, _u64) for name in ("size", "channels", "inner")),
        ("is_signed", _u32),
        ("aligned", _u32),
    ]


def quantize(
    values: Any,
    scale: ArrayLike,
    zero_point: ArrayLike | None = None,
    *,
    dtype: str = "int8",
    axis: int | None = None,
    out: Any = None,
    check: bool = True,
    stream: Any = None,
) -> Any:
    """float32 of any shape → int8 or uint8 of that shape, as `chiasm.kernels.quantize`, bit for bit.

    `scale` and `zero_point` are in the CPU's memory. `check` waits for the stream to say whether there was a NaN;
    without it nothing waits, and a NaN becomes some byte.

    Raises:
        KernelError: as there, or no array on the GPU.
        CudaError: no GPU that can be used, or the driver refuses.
    """
    with opened(stream) as call:
        source = call.view("values", values)
        extent, scales, zeros = quantize_arguments(source, scale, zero_point, dtype, axis)
        answer, made = call.output("out", out, source.shape, dtype)
        no_overlap(made, values=source)
        bad = call.scratch(4) if check else 0
        if bad:
            call.driver.clear(bad, 4, call.stream)
        _launch(call, "chiasm_quantize", source, made, (extent, scales, zeros), dtype == "int8", bad)
        if bad:
            flag = np.zeros(1, np.uint32)
            call.driver.read(bad, flag, call.stream)
            if flag[0]:
                raise KernelError("values", found="NaN", expected="numbers")
        return answer


def dequantize(
    values: Any,
    scale: ArrayLike,
    zero_point: ArrayLike | None = None,
    *,
    axis: int | None = None,
    out: Any = None,
    stream: Any = None,
) -> Any:
    """int8 or uint8 of any shape → float32 of that shape, as `chiasm.kernels.dequantize`, bit for bit.

    Raises:
        KernelError: as there, or no array on the GPU.
        CudaError: no GPU that can be used, or the driver refuses.
    """
    with opened(stream) as call:
        source = call.view("values", values)
        constants = dequantize_arguments(source, scale, zero_point, axis)
        answer, made = call.output("out", out, source.shape, np.float32)
        no_overlap(made, values=source)
        _launch(call, "chiasm_dequantize", source, made, constants, source.dtype == np.int8, 0)
        return answer


def _launch(
    call: Call, kernel: str, source: NDArray[Any], made: NDArray[Any], constants: Any, is_signed: bool, bad: int
) -> None:
    (_, channels, inner), scales, zeros = constants
    scales, zeros = np.ascontiguousarray(scales), np.ascontiguousarray(zeros)
    kept = call.driver.kept(("constants", scales.tobytes(), zeros.tobytes()), lambda: [scales, zeros])
    places = (address(source), address(made))
    # Of the bytes four are moved at once.
    arguments = QuantiseArguments(
        *places, *kept, bad or None, source.size, channels, inner, is_signed, aligned(*places)
    )
    call.launch(kernel, grid_for(source.size, BLOCK * 4), arguments)
