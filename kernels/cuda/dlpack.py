"""What a DLPack capsule says of an array (https://dmlc.github.io/dlpack), read without any library.

The capsule is not consumed: it keeps its name and is held as long as the array is used, and its own destructor then
tells the producer that the array is free.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import KernelError

__all__ = ["Tensor", "tensor_of"]

CUDA, CUDA_MANAGED = 2, 13
KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}
READ_ONLY = 1
NO_WAIT = -1


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


@dataclass(frozen=True)
class Tensor:
    """An array on a GPU; `strides` in elements, None when C-contiguous; `owner` keeps it alive."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: np.dtype[Any]
    read_only: bool
    owner: Any


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]


def tensor_of(name: str, value: Any, stream: int | None) -> Tensor:
    """The array `value` of the argument `name`, whose values are ready for what is put on `stream`.

    Raises:
        KernelError: an array that is not on a CUDA device, or of a type that NumPy does not have.
    """
    device, _ = value.__dlpack_device__()
    if int(device) not in (CUDA, CUDA_MANAGED):
        raise KernelError(name, found=f"a DLPack array on device type {int(device)}", expected="an array on the GPU")
    # 1 is the legacy default stream: 0 is ambiguous and forbidden.
    capsule = _exported(value, 1 if stream in (None, 0) else stream)
    if _is_valid(capsule, b"dltensor_versioned"):
        versioned = _Versioned.from_address(_pointer(capsule, b"dltensor_versioned"))
        if versioned.major != 1:
            raise KernelError(name, found=f"DLPack {versioned.major}", expected="DLPack 1 or older")
        return _described(name, versioned.tensor, bool(versioned.flags & READ_ONLY), capsule)
    if _is_valid(capsule, b"dltensor"):
        return _described(name, _Tensor.from_address(_pointer(capsule, b"dltensor")), False, capsule)
    raise KernelError(name, found="a capsule that was used before", expected="a fresh DLPack capsule")


def _exported(value: Any, stream: int | None) -> Any:
    """Asked for version 1, which can say that an array is read-only; producers from before it know no such question."""
    try:
        return value.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:
        return value.__dlpack__(stream=stream)


def _described(name: str, tensor: _Tensor, read_only: bool, capsule: Any) -> Tensor:
    kind = KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1 or tensor.bits % 8:
        raise KernelError(
            name,
            found=f"DLPack type {tensor.code} of {tensor.bits} bits and {tensor.lanes} lanes",
            expected="whole numbers or IEEE floats",
        )
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] for i in range(tensor.ndim)) if tensor.strides else None
    pointer = (tensor.data or 0) + tensor.byte_offset
    return Tensor(pointer, shape, strides, np.dtype(f"{kind}{tensor.bits // 8}"), read_only, capsule)
