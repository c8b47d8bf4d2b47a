"""The GPU as a session sees it, through PyCUDA: memory, streams, events, copies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...kernels.cuda.driver import open_pycuda
from ...kernels.cuda.protocol import CudaError
from ..errors import BackendError
from ..values import Array

__all__ = ["Gpu", "Lane", "Scratch", "why_no_gpu"]

WITHOUT_TIMING = 2
"""CU_EVENT_DISABLE_TIMING: such events cost least."""


def why_no_gpu() -> str | None:
    """None where PyCUDA and a GPU are there."""
    try:
        open_pycuda()
    except CudaError as error:
        return f"{error}; see pip install 'chiasm[cuda]'" if "PyCUDA" in str(error) else str(error)
    return None


class Gpu:
    """The first GPU in its primary context, which PyTorch, CuPy and ONNX Runtime use too. `shared`: it has no
    memory of its own."""

    def __init__(self) -> None:
        try:
            self._cuda = open_pycuda()
        except CudaError as error:
            raise BackendError("No GPU can be used", found=error) from error
        device = self._cuda.Device(0)
        major, minor = device.compute_capability()
        self.capability = f"{major}.{minor}"
        self.name = str(device.name())
        self.shared = bool(device.get_attribute(self._cuda.device_attribute.INTEGRATED))
        self._context = device.retain_primary_context()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Everything on the GPU happens in here; its errors become `BackendError`."""
        self._context.push()
        try:
            yield
        except self._cuda.Error as error:
            raise BackendError(f"The GPU {self.name} failed", found=error) from error
        finally:
            self._context.pop()

    def stream(self) -> Any:
        """A stream: what is put on it is done in order, and beside what is on others."""
        return self._cuda.Stream()

    def event(self) -> Any:
        """A mark for a stream that other streams, or the host, wait for; until it is recorded nobody waits."""
        return self._cuda.Event(WITHOUT_TIMING)

    def memory(self, size: int) -> Any:
        """Memory on the GPU: its `int()` is the address."""
        return self._cuda.mem_alloc(max(1, size))

    def pinned(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A page-locked array of zeros, which copies need for going on by themselves."""
        array: Array = self._cuda.pagelocked_empty(shape, np.dtype(dtype))
        array[...] = 0
        return array

    def put(self, target: Any, array: Array, stream: Any) -> None:
        """Copy to the GPU, in the stream's order."""
        self._cuda.memcpy_htod_async(int(target), array, stream)

    def take(self, array: Array, source: Any, stream: Any) -> None:
        """Copy from the GPU, in the stream's order."""
        self._cuda.memcpy_dtoh_async(array, int(source), stream)

    def clear(self, target: Any, size: int, stream: Any) -> None:
        """Zeros, in the stream's order."""
        self._cuda.memset_d8_async(int(target), 0, size, stream)


class Scratch:
    """One block that engines compute in, one after another; as large as the largest asks for."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.size = 0
        self.memory: Any = None

    def reserve(self, size: int) -> None:
        """Grow to `size` bytes. Engines are told where it is before each run, since it may have moved."""
        if size > self.size:
            self.memory = None  # freed first: both at once may not fit
            self.memory, self.size = self._gpu.memory(size), size


class Lane:
    """A stream, and the scratch of what runs on it. Two engines at once must not share scratch, so each lane has its
    own: one for all that waits for something else, and one for each encoder that may run beside the others."""

    def __init__(self, gpu: Gpu) -> None:
        with gpu.active():
            self.stream = gpu.stream()
        self.scratch = Scratch(gpu)

    def reserve(self, size: int) -> None:
        """Scratch of `size` bytes; what runs in it now is waited for before it moves."""
        if size > self.scratch.size:
            self.stream.synchronize()
            self.scratch.reserve(size)

    def close(self) -> None:
        """Free the scratch, though sessions may still know the lane."""
        self.stream.synchronize()
        self.scratch.memory, self.scratch.size = None, 0
