"""Arrays on a GPU: those of the caller, by `__cuda_array_interface__` or DLPack, and those made here.

Inside, each is a NumPy array that has the address, shape and strides of the one on the GPU. Nobody may read or write
its elements, for this process has nothing at that address; but slices, reshapes, flags and overlaps are NumPy's, and
so every check of `chiasm.kernels` serves for a GPU as it is, with the same words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import KernelError
from .dlpack import tensor_of

__all__ = ["DeviceArray", "Memory", "View", "address", "aligned", "view"]


class Memory(Protocol):
    """Memory on the GPU that is freed when the last one who holds this lets go."""

    def __int__(self) -> int: ...


@dataclass(frozen=True)
class View:
    """An array on a GPU as NumPy describes it (see above), and the handle of the stream that its values are made on."""

    array: NDArray[Any]
    stream: int | None = None


class DeviceArray:
    """A C-contiguous array on the GPU, made by a kernel. CuPy, PyTorch, Numba and PyCUDA take it as it is."""

    def __init__(self, memory: Memory, shape: tuple[int, ...], dtype: Any, stream: int | None = None) -> None:
        self.memory = memory
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._stream = stream

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * int(self.dtype.itemsize)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (int(self.memory) if self.nbytes else 0, False),
            "strides": None,
            "version": 3,
        }
        if self._stream is not None:
            answer["stream"] = self._stream or 1  # the protocol has no name for 0
        return answer

    def __repr__(self) -> str:
        return f"DeviceArray({self.dtype} of shape {self.shape})"


class _Described:
    """What NumPy makes an array of without touching it."""

    def __init__(self, pointer: int, shape: Any, typestr: str, strides: Any, read_only: bool, owner: Any) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "shape": tuple(shape),
            "typestr": typestr,
            "data": (pointer, read_only),
            "strides": None if strides is None else tuple(strides),
            "version": 3,
        }


def _proxy(pointer: int, shape: Any, typestr: str, strides: Any, read_only: bool, owner: Any) -> NDArray[Any]:
    dtype = np.dtype(typestr)
    lengths = tuple(int(length) for length in shape)
    if dtype.hasobject or min((0, *lengths)) < 0 or (strides is not None and len(strides) != len(lengths)):
        raise ValueError("shape, strides and type do not go together")
    if 0 in lengths:
        return np.empty(lengths, dtype)
    if not pointer:
        raise ValueError("no address")
    return np.asarray(_Described(pointer, lengths, typestr, strides, read_only, owner))


def address(array: NDArray[Any] | None) -> int:
    """Of the first element of such an array; 0 for none."""
    if array is None or not array.size:
        return 0
    pointer: int = array.__array_interface__["data"][0]
    return pointer


def aligned(*addresses: int) -> bool:
    """Whether sixteen bytes can be moved at once from each of them on."""
    return all(place % 16 == 0 for place in addresses)


def view(name: str, value: Any, stream: int | None = None) -> View:
    """The array `value` of the argument `name`; `stream` is the handle of the stream that will read or write it.

    Raises:
        KernelError: no array on a GPU, or one that these protocols describe wrongly.
    """
    interface = getattr(value, "__cuda_array_interface__", None)
    if isinstance(interface, dict):
        return _from_interface(name, value, interface)
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
        tensor = tensor_of(name, value, stream)
        steps = None if tensor.strides is None else [step * tensor.dtype.itemsize for step in tensor.strides]
        return View(_proxy(tensor.pointer, tensor.shape, tensor.dtype.str, steps, tensor.read_only, tensor.owner))
    where = "an array in the CPU's memory" if isinstance(value, np.ndarray) else type(value).__name__
    raise KernelError(name, found=where, expected="an array on the GPU (__cuda_array_interface__ or DLPack)")


def _from_interface(name: str, value: Any, interface: dict[str, Any]) -> View:
    if interface.get("mask") is not None:
        raise KernelError(name, found="a masked array", expected="an array without a mask")
    try:
        pointer, read_only = interface["data"]
        strides = interface.get("strides")
        array = _proxy(int(pointer or 0), interface["shape"], interface["typestr"], strides, bool(read_only), value)
        stream = interface.get("stream")
        return View(array, None if stream is None else int(stream))
    except (KeyError, TypeError, ValueError) as error:
        found = f"a broken __cuda_array_interface__ ({error})"
        raise KernelError(name, found=found, expected="version 2 or 3") from None
