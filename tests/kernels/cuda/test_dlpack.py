"""DLPack capsules: NumPy makes real ones, and the test says that they are on a GPU."""

from __future__ import annotations

import ctypes
import gc
import weakref
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError
from chiasm.kernels.cuda.arrays import address, view


class OnGpu:
    """A NumPy array behind the protocol, on another device; remembers what was asked."""

    def __init__(self, array: Any, *, device: int = 2, old: bool = False) -> None:
        self.array, self.device, self.old = array, device, old
        self.streams: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, *, stream: Any = None, **more: Any) -> Any:
        if self.old and more:
            raise TypeError("unexpected keyword argument 'max_version'")
        self.streams.append(stream)
        return self.array.__dlpack__(**more)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float16, np.float32, np.float64])
def test_view_says_what_numpy_says(dtype: Any, old: bool) -> None:
    array = np.zeros((6, 8), dtype)[1::2, ::3]
    seen = view("x", OnGpu(array, old=old)).array
    assert (seen.shape, seen.dtype, seen.strides) == (array.shape, array.dtype, array.strides)
    assert address(seen) == array.ctypes.data
    assert not seen.flags.c_contiguous
    assert view("x", OnGpu(np.zeros((3, 4), dtype), old=old)).array.flags.c_contiguous


def test_the_producer_is_told_the_stream() -> None:
    told = OnGpu(np.zeros(3, np.float32))
    for stream in (None, 0, 1, 77):
        view("x", told, stream)
    assert told.streams == [1, 1, 1, 77]  # the protocol forbids 0


def test_the_array_lives_as_long_as_its_view() -> None:
    class Kept(np.ndarray):  # a plain array takes no weak reference through a view
        pass

    array = np.zeros(3, np.float32).view(Kept)
    alive = weakref.ref(array)
    seen = view("x", OnGpu(array))
    del array
    gc.collect()
    assert alive() is not None
    assert ctypes.string_at(address(seen.array), 12) == bytes(12)
    del seen
    gc.collect()
    assert alive() is None


def test_read_only_is_kept() -> None:
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    try:
        seen = view("x", OnGpu(array))
    except BufferError:
        pytest.skip("this NumPy does not export read-only arrays")
    assert not seen.array.flags.writeable


def test_capsule_that_was_used() -> None:
    class Used(OnGpu):
        def __dlpack__(self, *, stream: Any = None, **more: Any) -> Any:
            capsule = self.array.__dlpack__()
            name = ctypes.pythonapi.PyCapsule_SetName
            name.argtypes = [ctypes.py_object, ctypes.c_char_p]
            name(capsule, b"used_dltensor")
            return capsule

    with pytest.raises(KernelError, match="used before"):
        view("x", Used(np.zeros(3, np.float32)))


def test_array_on_another_device() -> None:
    with pytest.raises(KernelError, match="device type 1"):
        view("x", OnGpu(np.zeros(3), device=1))


def test_type_that_numpy_lacks() -> None:
    with pytest.raises(KernelError, match="whole numbers or IEEE floats"):
        view("x", OnGpu(np.zeros(3, np.complex64)))
