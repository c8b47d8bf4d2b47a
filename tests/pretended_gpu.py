"""A driver and two vendors that compute with ONNX Runtime in the computer's own memory, for backends of engines.

An address on this GPU is one of a NumPy buffer; copies go by address; an engine is the ONNX graph itself with four
letters before it. What is put on a stream is done only when somebody waits for it, in the order of that stream alone:
whoever forgets to wait for an event reads what was there before. `LOG` has every call in the order of the calls.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from chiasm.runtime.backends import _engines, _gpu, rtx, trt
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.engines import EngineStore, Key, engine_folder

MARK = b"ENG:"
BARE = b"ENS:"
"""A stripped engine: weights are to be put in."""
LOG: list[tuple[str, int]] = []
"""(what was called, bytes or the stream's handle)."""
STREAMS: dict[int, _Stream] = {}
SCRATCH: dict[int, int] = {}
"""Address of scratch → handle of the only stream that may compute in it."""
BOARD: list[bool] = []
"""Something in it: the GPU has no memory of its own."""
HELD: set[int] = set()
"""Blocks of memory that nobody has freed."""


def reset() -> None:
    """Forget what was called."""
    LOG.clear()
    BOARD.clear()
    STREAMS.clear()
    SCRATCH.clear()


def install(monkeypatch: pytest.MonkeyPatch, sdk: Any = None) -> None:
    """Put driver and vendor in place of what is not there."""
    reset()
    made = driver()
    monkeypatch.setattr(_gpu, "open_pycuda", lambda: made)
    for backend in (rtx, trt):
        monkeypatch.setattr(backend, "why_not", lambda: None)
    monkeypatch.setattr(_engines, "load_vendor", lambda name: sdk or vendor())


def make(
    path: Path, change: Callable[[Key], Key] = lambda key: key, *, mark: bytes = MARK, vendor: str = "tensorrt_rtx",
    without: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """An engine of every part in FP32, in the folder of the bundle's engines."""
    opened = open_bundle(path)
    store = EngineStore(engine_folder(path))
    for part, spec in opened.manifest.parts.items():
        graph = opened.graph(part, "fp32")
        assert graph.origin is not None
        key = Key(
            part=part, precision="fp32", graph=graph.origin.digest, vendor=vendor, version="1.7.1",
            capabilities=("8.6", "8.9"), shapes={each.name: each.shape for each in spec.inputs}, flags={"level": "3"},
        )  # fmt: skip
        if part not in without:
            store.put(change(key), mark + graph.proto, 1.0, 1.0)


def calls() -> Counter[str]:
    """How often each call was made."""
    return Counter(name for name, _ in LOG)


class PretendedError(Exception):
    """The driver's error."""


class _Memory:
    def __init__(self, size: int) -> None:
        self.buffer = np.full(size, 0xA5, np.uint8)
        HELD.add(id(self))

    def __del__(self) -> None:
        HELD.discard(id(self))
        SCRATCH.pop(int(self), None)  # another may be given that address

    def __int__(self) -> int:
        return int(self.buffer.ctypes.data)


class _Stream:
    def __init__(self) -> None:
        self.handle = 7 + len(STREAMS)
        self.work: list[Any] = []
        self.recorded: list[Any] | None = None
        STREAMS[self.handle] = self

    def put(self, name: str, size: int, work: Any) -> None:
        LOG.append((name, size))
        (self.work if self.recorded is None else self.recorded).append(work)

    def synchronize(self) -> None:
        LOG.append(("synchronize", self.handle))
        while self.work:
            self.work.pop(0)()

    def until(self, mark: Any) -> None:
        while mark in self.work:
            self.work.pop(0)()

    def wait_for_event(self, event: _Event) -> None:
        stream, mark = event.stream, event.mark
        self.put("wait", self.handle, lambda: stream is None or stream.until(mark))


class _Event:
    def __init__(self, flags: int) -> None:
        assert flags == 2
        self.stream: _Stream | None = None
        self.mark: Any = None

    def record(self, stream: _Stream) -> None:
        def mark() -> None:
            """Reached."""

        self.stream, self.mark = stream, mark
        stream.put("record", stream.handle, mark)

    def synchronize(self) -> None:
        if self.stream is not None:
            self.stream.until(self.mark)


class _Context:
    depth = 0

    def push(self) -> None:
        type(self).depth += 1

    def pop(self) -> None:
        type(self).depth -= 1


class _Device:
    def __init__(self, index: int) -> None:
        self.index = index

    def compute_capability(self) -> tuple[int, int]:
        return 8, 9

    def name(self) -> str:
        return "Pretended RTX"

    def get_attribute(self, name: str) -> int:
        return {"integrated": int(bool(BOARD))}[name]

    def retain_primary_context(self) -> _Context:
        return _Context()


def driver() -> Any:
    """In place of `pycuda.driver`."""

    def allocate(size: int) -> _Memory:
        assert _Context.depth
        return _Memory(size)

    def put(target: int, array: Any, stream: _Stream) -> None:
        source, size = array.ctypes.data, array.nbytes
        stream.put("put", size, lambda: ctypes.memmove(target, source, size))

    def take(array: Any, source: int, stream: _Stream) -> None:
        stream.put("take", array.nbytes, lambda: ctypes.memmove(array.ctypes.data, source, array.nbytes))

    def clear(target: int, value: int, size: int, stream: _Stream) -> None:
        stream.put("clear", size, lambda: ctypes.memset(target, value, size))

    return SimpleNamespace(
        Device=_Device, device_attribute=SimpleNamespace(INTEGRATED="integrated"), Stream=_Stream, Event=_Event,
        Error=PretendedError, mem_alloc=allocate, memcpy_htod_async=put, memcpy_dtoh_async=take,
        memset_d8_async=clear, pagelocked_empty=lambda shape, dtype: np.empty(shape, dtype),
    )  # fmt: skip


class Library:
    """In place of libcuda.so.1: stream capture. `refuses`: nothing can be recorded."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.graphs: dict[int, list[Any]] = {}

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:
        STREAMS[stream.value].recorded = []
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        own = STREAMS[stream.value]
        work, own.recorded = own.recorded, None
        if self.refuses:
            return 900
        self.graphs[len(self.graphs) + 1] = work or []
        graph._obj.value = len(self.graphs)
        return 0

    def cuGraphInstantiateWithFlags(self, runnable: Any, graph: Any, flags: Any) -> int:
        runnable._obj.value = graph.value
        return 0

    def cuGraphLaunch(self, runnable: Any, stream: Any) -> int:
        for work in self.graphs[runnable.value]:
            STREAMS[stream.value].put("replay", stream.value, work)
        return 0

    def cuGraphExecDestroy(self, runnable: Any) -> None:
        self.graphs[runnable.value] = []

    def cuGraphDestroy(self, graph: Any) -> None:
        pass


class _Engine:
    def __init__(self, data: bytes, *, bare: bool) -> None:
        self.session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self.tensors)
        self.device_memory_size_v2 = 65536 if any(each.name == "timestep" for each in self.tensors) else 4096
        self.bare = bare

    def get_tensor_name(self, index: int) -> str:
        return str(self.tensors[index].name)

    def _tensor(self, name: str) -> Any:
        return next(each for each in self.tensors if each.name == name)

    def get_tensor_dtype(self, name: str) -> str:
        return {"tensor(float)": "float32", "tensor(int64)": "int64"}[self._tensor(name).type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensor(name).shape)

    def create_execution_context(self, strategy: Any) -> Any:
        assert strategy == "user"
        return _Running(self, None)


class _Running:
    def __init__(self, engine: _Engine, cache: Any) -> None:
        self.engine, self.cache = engine, cache
        self.addresses: dict[str, int] = {}
        self.scratch = (0, 0)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def set_device_memory(self, address: int, size: int) -> None:
        self.scratch = address, size

    def execute_async_v3(self, handle: int) -> bool:
        address, size = self.scratch
        assert size >= self.engine.device_memory_size_v2
        assert SCRATCH.setdefault(address, handle) == handle, "two streams compute in one scratch"
        assert not self.engine.bare, "an engine without weights runs"
        if self.cache is not None:
            self.cache.compile(self.engine)
        addresses = dict(self.addresses)  # a recording keeps those of its moment
        STREAMS[handle].put("execute", handle, lambda: self._compute(addresses))
        return True

    def _compute(self, addresses: dict[str, int]) -> None:
        session = self.engine.session
        made = session.run(None, {each.name: self._array(each, addresses) for each in session.get_inputs()})
        for each, value in zip(session.get_outputs(), made, strict=True):
            self._array(each, addresses)[...] = value

    def _array(self, tensor: Any, addresses: dict[str, int]) -> Any:
        dtype, shape = np.dtype(self.engine.get_tensor_dtype(tensor.name)), tuple(tensor.shape)
        size = int(np.prod(shape)) * dtype.itemsize
        raw = (ctypes.c_uint8 * size).from_address(addresses[tensor.name])
        return np.frombuffer(raw, dtype).reshape(shape)


class _Runtime:
    made: type[_Engine] = _Engine

    def __init__(self, logger: Any) -> None:
        pass

    def deserialize_cuda_engine(self, data: bytes) -> _Engine | None:
        assert _Context.depth == 1
        return self.made(data[len(MARK) :], bare=data.startswith(BARE)) if data.startswith((MARK, BARE)) else None


class _Logger:
    ERROR = 1

    def __init__(self, level: int) -> None:
        pass


class _Refitter:
    """Weights of an engine. The pretended one misses `lacks`."""

    lacks: tuple[str, ...] = ()

    def __init__(self, engine: _Engine, logger: _Logger) -> None:
        assert _Context.depth == 1
        self.engine, self.graph = engine, b""

    def get_missing_weights(self) -> list[str]:
        return list(self.lacks)

    def refit_cuda_engine(self) -> bool:
        whole = onnxruntime.InferenceSession(self.graph, providers=["CPUExecutionProvider"])
        self.engine.session, self.engine.bare = whole, False
        return True


class _OnnxParserRefitter:
    num_errors = 1

    def __init__(self, refitter: _Refitter, logger: _Logger) -> None:
        self.refitter = refitter

    def refit_from_bytes(self, proto: bytes) -> bool:
        self.refitter.graph = proto
        return not proto.startswith(b"!")

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: "a node was renamed")


def vendor(version: str = "1.7.1", lacks: tuple[str, ...] = ()) -> Any:
    """In place of `tensorrt`, whose CUDA graphs are ours to record. `lacks`: weights that refitting does not find."""
    return SimpleNamespace(
        __name__="pretended", __version__=version, Runtime=_Runtime, Logger=_Logger, nptype=lambda name: np.dtype(name),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user"),
        Refitter=type("Refitter", (_Refitter,), {"lacks": lacks}), OnnxParserRefitter=_OnnxParserRefitter,
    )  # fmt: skip


class _Cache:
    """What was compiled, as names of inputs of engines; its version is that of the vendor."""

    def __init__(self, version: str) -> None:
        self.head = f"RTC {version}:".encode()
        self.known: set[str] = set()

    def deserialize(self, blob: bytes) -> bool:
        assert _Context.depth == 1
        if not blob.startswith(self.head):
            return False
        self.known = set(blob[len(self.head) :].decode().split(","))
        return True

    def serialize(self) -> bytes:
        return self.head + ",".join(sorted(self.known)).encode()

    def compile(self, engine: _Engine) -> None:
        name = engine.get_tensor_name(0)
        if name not in self.known:
            LOG.append(("compile", 0))
            self.known.add(name)


class _Config:
    cuda_graph_strategy = "disabled"
    strategy = cache = None

    def __init__(self, version: str) -> None:
        self.version = version

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> _Cache:
        return _Cache(self.version)

    def set_runtime_cache(self, cache: _Cache) -> None:
        self.cache = cache


def rtx_vendor(version: str = "1.7.1") -> Any:
    """In place of `tensorrt_rtx`: replays CUDA graphs itself, and keeps what it compiles in a cache."""

    class Engine(_Engine):
        def create_runtime_config(self) -> _Config:
            return _Config(version)

        def create_execution_context(self, config: Any) -> _Running:
            assert config.strategy == "user"
            LOG.append(("strategy " + config.cuda_graph_strategy, 0))
            return _Running(self, config.cache)

    class Runtime(_Runtime):
        made = Engine

    sdk = vendor(version)
    sdk.Runtime, sdk.CudaGraphStrategy = Runtime, SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    return sdk
