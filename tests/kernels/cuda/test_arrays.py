"""Arrays on a GPU as the protocols describe them. No memory is touched, so NumPy's addresses serve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError
from chiasm.kernels.cuda.arrays import DeviceArray, address, aligned, view
from hypothesis import given, settings
from hypothesis import strategies as st


class Told:
    """An object with a `__cuda_array_interface__`."""

    def __init__(self, **interface: Any) -> None:
        self.__cuda_array_interface__ = interface


def told(array: Any, **changes: Any) -> Told:
    interface = dict(array.__array_interface__)
    interface.pop("descr")
    return Told(**{**interface, "version": 3, **changes})


@st.composite
def sliced(draw: st.DrawFn) -> Any:
    shape = draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    array = np.zeros(
        [2 * length for length in shape], draw(st.sampled_from([np.uint8, np.float16, np.float32, np.int64]))
    )
    array = array[tuple(slice(draw(st.integers(0, 2)), None, draw(st.sampled_from([-1, 1, 2]))) for _ in shape)]
    return array.transpose(draw(st.permutations(range(array.ndim))))


@settings(max_examples=300, deadline=None)
@given(array=sliced())
def test_view_is_what_numpy_sees(array: Any) -> None:
    seen = view("x", told(array)).array
    assert (seen.shape, seen.dtype) == (array.shape, array.dtype)
    assert seen.flags.c_contiguous == array.flags.c_contiguous
    if array.size:
        wide = [axis for axis, length in enumerate(array.shape) if length > 1]
        assert [seen.strides[axis] for axis in wide] == [array.strides[axis] for axis in wide]
        assert address(seen) == array.ctypes.data
        assert np.may_share_memory(seen, array)
    else:
        assert address(seen) == 0


def test_nothing_is_read_or_written() -> None:
    """No memory is at that address: to touch it would end this process."""
    seen = view("x", Told(shape=(4, 6), typestr="<f4", data=(4096, False))).array
    assert address(seen[1:, ::2]) == 4096 + 24
    assert address(seen.T) == address(seen.reshape(-1)) == address(np.broadcast_to(seen[None], (3, 4, 6))) == 4096
    assert address(None) == 0


def test_addresses_for_sixteen_bytes() -> None:
    assert aligned(0, 16, 4096)
    assert aligned()
    assert not aligned(16, 4100)


def test_read_only_and_stream_are_kept() -> None:
    array = np.zeros(4, np.float32)
    seen = view("x", told(array, data=(array.ctypes.data, True), stream=7))
    assert not seen.array.flags.writeable
    assert seen.stream == 7


def test_what_is_made_here_is_read_here() -> None:
    made = DeviceArray(4096, (2, 3), np.float16, 0)  # type: ignore[arg-type]
    seen = view("x", made)
    assert (address(seen.array), seen.array.shape, seen.array.dtype, seen.stream) == (4096, (2, 3), np.float16, 1)
    assert "float16 of shape (2, 3)" in repr(made)
    assert address(view("x", DeviceArray(4096, (0, 3), np.float16)).array) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros(3, np.float32), "an array in the CPU's memory"),
        ([1, 2], "list"),
        (None, "NoneType"),
        (Told(shape=(3,), typestr="<f4"), "broken"),
        (Told(shape=(3,), typestr="nonsense", data=(0, False)), "broken"),
        (Told(shape=(3, 3), typestr="<f4", data=(0, False), strides=(4,)), "broken"),
        (Told(shape=(-3,), typestr="<f4", data=(0, False)), "broken"),
        (Told(shape=(3,), typestr="|O", data=(16, False)), "broken"),
        (Told(shape=(3,), typestr="<f4", data=(0, False)), "broken.*no address"),
        (Told(shape=(3,), typestr="<f4", data=(0, False), mask=object()), "masked"),
    ],
)
def test_what_is_no_array_on_a_gpu(value: Any, words: str) -> None:
    with pytest.raises(KernelError, match=f"x: found .*{words}"):
        view("x", value)
