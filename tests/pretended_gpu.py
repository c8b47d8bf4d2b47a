"""A driver and a vendor that compute with ONNX Runtime in the computer's own memory, for backends of engines.

An address on this GPU is one of a NumPy buffer; copies go by address; an engine is the ONNX graph itself with four
letters before it. What is put on a stream is done only when somebody waits for it, as on a GPU.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

MARK = b"ENG:"


class PretendedError(Exception):
    """The driver's error."""


class _Memory:
    def __init__(self, size: int) -> None:
        self.buffer = np.full(size, 0xA5, np.uint8)

    def __int__(self) -> int:
        return int(self.buffer.ctypes.data)


class _Stream:
    handle = 7

    def __init__(self) -> None:
        self.work: list[Any] = []

    def synchronize(self) -> None:
        while self.work:
            self.work.pop(0)()


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

    def retain_primary_context(self) -> _Context:
        return _Context()


def driver() -> Any:
    """In place of `pycuda.driver`."""

    def allocate(size: int) -> _Memory:
        assert _Context.depth == 1
        return _Memory(size)

    def put(target: int, array: Any, stream: _Stream) -> None:
        stream.work.append(lambda: ctypes.memmove(target, array.ctypes.data, array.nbytes))

    def take(array: Any, source: int, stream: _Stream) -> None:
        stream.work.append(lambda: ctypes.memmove(array.ctypes.data, source, array.nbytes))

    return SimpleNamespace(
        Device=_Device, Stream=_Stream, Error=PretendedError, mem_alloc=allocate, memcpy_htod_async=put,
        memcpy_dtoh_async=take, pagelocked_empty=lambda shape, dtype: np.empty(shape, dtype),
    )  # fmt: skip


class _Engine:
    device_memory_size_v2 = 4096

    def __init__(self, data: bytes) -> None:
        self.session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return str(self.tensors[index].name)

    def _tensor(self, name: str) -> Any:
        return next(each for each in self.tensors if each.name == name)

    def get_tensor_dtype(self, name: str) -> str:
        return {"tensor(float)": "float32", "tensor(int64)": "int64"}[self._tensor(name).type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensor(name).shape)

    def create_execution_context(self, strategy: str) -> Any:
        assert strategy == "user"
        return _Running(self)


class _Running:
    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.scratch = (0, 0)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def set_device_memory(self, address: int, size: int) -> None:
        self.scratch = address, size

    def execute_async_v3(self, handle: int) -> bool:
        assert handle == _Stream.handle
        assert self.scratch[1] >= self.engine.device_memory_size_v2
        STREAMS[-1].work.append(self._compute)
        return True

    def _compute(self) -> None:
        engine = self.engine
        made = engine.session.run(None, {each.name: self._array(each) for each in engine.session.get_inputs()})
        for each, value in zip(engine.session.get_outputs(), made, strict=True):
            self._array(each)[...] = value

    def _array(self, tensor: Any) -> Any:
        dtype, shape = np.dtype(self.engine.get_tensor_dtype(tensor.name)), tuple(tensor.shape)
        size = int(np.prod(shape)) * dtype.itemsize
        raw = (ctypes.c_uint8 * size).from_address(self.addresses[tensor.name])
        return np.frombuffer(raw, dtype).reshape(shape)


STREAMS: list[_Stream] = []


class _Runtime:
    def __init__(self, logger: Any) -> None:
        pass

    def deserialize_cuda_engine(self, data: bytes) -> _Engine | None:
        assert _Context.depth == 1
        return _Engine(data[len(MARK) :]) if data.startswith(MARK) else None


class _Logger:
    ERROR = 1

    def __init__(self, level: int) -> None:
        pass


def vendor(version: str = "1.7.1") -> Any:
    """In place of `tensorrt_rtx`."""
    return SimpleNamespace(
        __version__=version, Runtime=_Runtime, Logger=_Logger, nptype=lambda name: np.dtype(name),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user"),
    )  # fmt: skip
