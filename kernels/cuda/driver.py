"""The GPU, through PyCUDA: the only file that imports it.

Everything is put on the stream that the caller names. In PyCUDA a stream is an object of its own making; one of
PyTorch or CuPy is only a number there, so such a stream is joined by events: what runs here waits for what was put on
it before, and what is put on it later waits for what runs here.
"""

from __future__ import annotations

import ctypes
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Memory
from .protocol import CudaError, Driver, fatbin, handle_of

__all__ = ["PyCuda", "architecture", "current", "open_pycuda", "replaced", "why_not"]

LEGACY = (0, 1)
"""The handles that mean the default stream."""
WITHOUT_TIMING = 2
MOST_KEPT = 128
"""Plans and tables on the GPU; a few kilobytes each."""


def open_pycuda() -> Any:
    """PyCUDA's driver, initialised. CudaError says what is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyCUDA warns of the error that it raises then
            driver: Any = import_module("pycuda.driver")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pycuda":
            raise CudaError(f"PyCUDA does not load: {error}") from error
        raise CudaError("PyCUDA is not installed") from None
    except ImportError as error:
        raise CudaError(f"PyCUDA does not load: {error}") from error
    try:
        driver.init()
        count = int(driver.Device.count())
    except driver.Error as error:
        raise CudaError(f"no GPU: {error}") from error
    if not count:
        raise CudaError("no GPU: the driver counts none")
    return driver


class _Loaded:
    """One context with the kernels in it, and a stream of our own there."""

    def __init__(self, context: Any, module: Any, stream: Any) -> None:
        self.context, self.module, self.stream = context, module, stream
        self.functions: dict[str, Any] = {}
        self.events: list[ctypes.c_void_p] = []
        self.scratch: dict[int, tuple[int, Memory]] = {}
        self.kept: OrderedDict[Any, tuple[Memory, ...]] = OrderedDict()

    def function(self, kernel: str) -> Any:
        if kernel not in self.functions:
            self.functions[kernel] = self.module.get_function(kernel)
        return self.functions[kernel]


class PyCuda:
    """The driver. In a context that the caller made current with PyCUDA it works there, else in the primary context of
    the current device, which is the one of PyTorch, CuPy and ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        self._cuda = open_pycuda()
        self._code = path.read_bytes()
        self._primary: dict[int, Any] = {}
        self._loaded: dict[int, _Loaded] = {}
        self._library: Any = None
        self.checked = False
        """Whether every launch is waited for, so that what a kernel does wrong is told where it was launched."""
        with self.active():
            self._multiprocessors = int(self._cuda.Context.get_device().multiprocessor_count)

    @property
    def multiprocessors(self) -> int:
        return self._multiprocessors

    @contextmanager
    def active(self) -> Iterator[None]:
        if self._cuda.Context.get_current() is not None:
            with self._told():
                self._here()
                yield
            return
        with self._told():
            context = self._primary_context()
            context.push()
            try:
                self._here()
                yield
            finally:
                self._cuda.Context.pop()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._cuda.Error as error:
            raise CudaError(str(error)) from error

    def _primary_context(self) -> Any:
        try:
            device = self._cuda.Context.get_device()  # PyTorch or CuPy chose it
        except self._cuda.Error:
            device = self._cuda.Device(0)
        key = hash(device)
        if key not in self._primary:
            self._primary[key] = device.retain_primary_context()
        return self._primary[key]

    def _here(self) -> _Loaded:
        """The kernels in the current context; loaded when it is seen for the first time."""
        context = self._cuda.Context.get_current()
        key = int(context.handle)
        if key not in self._loaded:
            module = self._cuda.module_from_buffer(self._code)
            self._loaded[key] = _Loaded(
                context, module, self._cuda.Stream(1)
            )  # 1: does not wait for the default stream
        return self._loaded[key]

    def launch(
        self, kernel: str, grid: Sequence[int], block: int, shared: int, arguments: ctypes.Structure, stream: Any
    ) -> None:
        here = self._here()
        function = here.function(kernel)
        # PyCUDA puts the bytes of an array among the parameters as they are: the struct, by value.
        parameters = np.frombuffer(bytes(arguments), np.uint8)
        size = tuple(int(length) for length in grid)
        with self._joined(here, stream) as own:
            function(parameters, grid=size, block=(block, 1, 1), shared=shared, stream=own)
        if self.checked:
            self._cuda.Context.synchronize()

    def allocate(self, size: int) -> Memory:
        memory: Memory = self._cuda.mem_alloc(max(size, 16))
        return memory

    def upload(self, array: NDArray[Any]) -> Memory:
        memory = self.allocate(array.nbytes)
        if array.nbytes:
            self._cuda.memcpy_htod(int(memory), np.ascontiguousarray(array))
            self._cuda.Context.synchronize()  # for streams that do not wait for the default one
        return memory

    def read(self, pointer: int, out: NDArray[Any], stream: Any) -> None:
        if not out.nbytes:
            return
        here = self._here()
        with self._joined(here, stream) as own:
            self._cuda.memcpy_dtoh_async(out, pointer, own)
        if own is None:
            self._cuda.Context.synchronize()
        else:
            own.synchronize()

    def clear(self, pointer: int, size: int, stream: Any) -> None:
        with self._joined(self._here(), stream) as own:
            self._cuda.memset_d8_async(pointer, 0, size, own)

    def scratch(self, size: int, stream: Any) -> int:
        kept, handle = self._here().scratch, handle_of(stream) or 0
        if handle not in kept or kept[handle][0] < size:
            kept.pop(handle, None)  # the driver frees it when the work that uses it is done
            kept[handle] = (size, self.allocate(size))
        return int(kept[handle][1])

    def kept(self, key: Any, make: Callable[[], Sequence[NDArray[Any]]]) -> tuple[int, ...]:
        kept = self._here().kept
        if key not in kept:
            kept[key] = tuple(self.upload(array) for array in make())
            if len(kept) > MOST_KEPT:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return tuple(int(memory) for memory in kept[key])

    def after(self, stream: Any, producer: int) -> None:
        consumer = handle_of(stream) or 0
        if producer != consumer and not (producer in LEGACY and consumer in LEGACY):
            self._order(self._here(), producer, consumer)

    def seconds(self, work: Callable[[], None]) -> float:
        """How long the GPU took for what `work` put on the default stream, by two events."""
        first, last = self._cuda.Event(), self._cuda.Event()
        first.record()
        work()
        last.record()
        last.synchronize()
        return float(first.time_till(last)) / 1e3

    def copy(self, target: int, source: int, size: int) -> None:
        """On the GPU, on the default stream."""
        self._cuda.memcpy_dtod_async(target, source, size)

    def facts(self) -> dict[str, Any]:
        """The device, as the driver describes it now."""
        device = self._cuda.Context.get_device()
        major, minor = device.compute_capability()
        return {
            "name": device.name(),
            "compute_capability": f"{major}.{minor}",
            "multiprocessors": self._multiprocessors,
            "memory_bytes": int(device.total_memory()),
            "clock_khz": int(device.clock_rate),
            "memory_clock_khz": int(device.memory_clock_rate),
            "memory_bus_bits": int(device.global_memory_bus_width),
            "second_level_cache_bytes": int(device.l2_cache_size),
            "driver": int(self._cuda.get_driver_version()),
        }

    @contextmanager
    def _joined(self, here: _Loaded, stream: Any) -> Iterator[Any]:
        """A stream of PyCUDA in whose order things run as if they were put on `stream`."""
        if isinstance(stream, self._cuda.Stream):
            yield stream
            return
        foreign = handle_of(stream) or 0
        if foreign in LEGACY:
            yield None
            return
        own = int(here.stream.handle)
        self._order(here, foreign, own)
        yield here.stream
        self._order(here, own, foreign)

    def _order(self, here: _Loaded, first: int, then: int) -> None:
        """What is put on the stream `then` from now on waits for what is on the stream `first`."""
        if not here.events:
            event = ctypes.c_void_p()
            self._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(WITHOUT_TIMING))
            here.events.append(event)
        self._call("cuEventRecord", here.events[0], ctypes.c_void_p(first))
        self._call("cuStreamWaitEvent", ctypes.c_void_p(then), here.events[0], ctypes.c_uint(0))

    def _call(self, name: str, *arguments: Any) -> None:
        if self._library is None:
            self._library = ctypes.CDLL("libcuda.so.1")  # loaded already, by PyCUDA
        status = getattr(self._library, name)(*arguments)
        if status:
            words = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(words))
            raise CudaError(f"{name} failed: {(words.value or b'?').decode()}")


_opened: list[Driver] = []


def current() -> Driver:
    """The driver, opened at the first call.

    Raises:
        CudaError: no PyCUDA, no GPU, no compiled kernels, or none for this GPU.
    """
    if not _opened:
        driver = open_pycuda()  # first, because without a GPU it does not matter what was compiled
        path = fatbin()
        if path is None:
            raise CudaError("the kernels were not compiled: no nvcc at install (make fatbin)")
        try:
            _opened.append(PyCuda(path))
        except driver.Error as error:
            raise CudaError(str(error)) from error
    return _opened[0]


def replaced(driver: Driver | None) -> Driver | None:
    """Put another driver into the place of the open one, which it gives back; None: open it anew when it is needed."""
    before = _opened[0] if _opened else None
    _opened[:] = [] if driver is None else [driver]
    return before


def architecture() -> str:
    """The compute capability of the first GPU, without its dot. CudaError when there is none."""
    major, minor = open_pycuda().Device(0).compute_capability()
    return f"{major}{minor}"


def why_not() -> str | None:
    """Why no kernel can run on a GPU here; None when they can."""
    try:
        current()
    except CudaError as error:
        return str(error)
    return None
