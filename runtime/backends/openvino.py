"""OpenVINO on the CPU: graphs compiled for latency, every input and output a tensor over a NumPy array's memory.

It is never chosen by itself: ask for it by name, or let `chiasm tune` measure whether it is faster here. Computing is
in FP32 also where a CPU has BF16, so that an answer does not depend on the machine. `int8-trt` graphs are not run: on a
CPU without VNNI their products of signed bytes saturate (cosines down to 0.63 on the reference model, where ONNX
Runtime's are as on any other CPU).
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import BackendError, MissingExtraError
from ..external_data import inline_external_data
from ..values import Array, OnnxGraph, TensorSpec
from ._slots import Slots
from .base import Candidates, Feed, SessionOptions
from .ort import threads_for

__all__ = ["RANK", "OpenvinoBackend", "OpenvinoSession", "candidates", "open_backend", "why_not"]

RANK: int | None = None
_INSIDE = 64 * 2**20
"""Bytes; weights outside a graph, in a folder that may not be written to, are put inside up to so many."""
_CONVERTER = "openvino.tools.ovc"
_FRAME = ("Exception from", "Check '", "FrontEnd API failed", "Summary:", "To facilitate")
_DTYPES = {"f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32", "u8": "uint8", "i8": "int8",
           "boolean": "bool"}  # fmt: skip


def why_not() -> str | None:
    """None where openvino is installed."""
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed; run: pip install 'chiasm[openvino]'"
    return None


def candidates(cores: int) -> Candidates:
    """See `Candidates`: only the number of threads is ours to say."""
    return tuple(SessionOptions(threads=threads) for threads in dict.fromkeys((1, max(1, cores // 2), cores))), ()


def open_backend(options: SessionOptions) -> OpenvinoBackend:
    """Import openvino; its core is made once a process."""
    try:
        return OpenvinoBackend(_sdk(), options)
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino", "The backend openvino") from error


def _sdk() -> Any:
    """The module openvino without its converter, which at import sends an event to its makers, and costs 0.3 s."""
    kept = sys.modules.get(_CONVERTER)
    sys.modules[_CONVERTER] = cast(Any, None)  # importing it is now an ImportError, which openvino expects and passes
    try:
        import openvino
    finally:
        del sys.modules[_CONVERTER]
        if kept is not None:
            sys.modules[_CONVERTER] = kept
    return openvino


class OpenvinoSession:
    """One compiled graph with its bound buffers. One thread at a time; outputs are overwritten by the next run."""

    bring: Callable[[Sequence[str]], None] | None = None
    note: str | None = None

    def __init__(
        self, sdk: Any, compiled: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> None:  # fmt: skip
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._sdk = sdk
        self._request = compiled.create_infer_request()
        self._ports = {spec.name: _port(compiled.inputs, spec.name) for spec in inputs}
        self._tensors: dict[str, Any] = {}
        self.results: dict[str, Array] = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in outputs}
        self.values = self.results
        for name, buffer in self.results.items():
            self._bind(_port(compiled.outputs, name), name, buffer)
        self._slots = Slots(inputs, lambda name, array: self._bind(self._ports[name], name, array))

    def run(self, feeds: Mapping[str, Feed]) -> dict[str, Array]:
        """Run on the feeds and give the bound outputs; see `Slots.fill` for when a feed is copied."""
        if self._request is None:
            raise BackendError("The session is closed")
        self._slots.fill(feeds)
        try:
            self._request.infer()
        except Exception as error:
            raise BackendError("OpenVINO failed", found=_reason(error)) from error
        return self.results

    def _bind(self, port: Any, name: str, array: Array) -> None:
        """Let a port use the array's own memory; the tensor must live as long as it is bound."""
        tensor = self._sdk.Tensor(array, shared_memory=True)
        if array.size and tensor.data.ctypes.data != array.ctypes.data:
            raise BackendError("This openvino copies NumPy arrays", expected="one that shares their memory")
        self._request.set_tensor(port, tensor)
        self._tensors[name] = tensor

    def close(self) -> None:
        """Free the session; a second call does nothing."""
        self._request = None
        self._ports.clear()
        self._tensors.clear()


class OpenvinoBackend:
    """Compiles ONNX graphs for the CPU."""

    name = "openvino"
    together = False

    def __init__(self, sdk: Any, options: SessionOptions) -> None:
        self._sdk = sdk
        self._options = options

    def precisions(self) -> tuple[str, ...]:
        """FP16 weights are widened when the graph is compiled. For `int8-trt` see above."""
        return ("int8-cpu", "fp32", "fp16")

    def open(self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> OpenvinoSession:
        """Compile a graph whose inputs and outputs must be exactly the promised ones."""
        settings = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(threads_for(graph.nbytes, self._options.threads)),
        }  # fmt: skip
        try:
            model = _read(_core(self._sdk), graph)
            _compare("inputs", model.inputs, inputs)
            _compare("outputs", model.outputs, outputs)
            compiled = _core(self._sdk).compile_model(model, "CPU", settings)
        except BackendError:
            raise
        except Exception as error:  # OpenVINO's exceptions are RuntimeError and what its binding raises
            origin = graph.origin
            named = "a graph" if origin is None else f"part {origin.part} in {origin.precision}"
            raise BackendError(f"OpenVINO cannot open {named}", found=_reason(error)) from error
        return OpenvinoSession(self._sdk, compiled, inputs, outputs)

    def close(self) -> None:
        """The core belongs to the process."""


@cache
def _core(sdk: Any) -> Any:
    return sdk.Core()


def _read(core: Any, graph: OnnxGraph) -> Any:
    """The graph as OpenVINO's model; weights outside it are mapped by OpenVINO from their files."""
    if graph.folder is None:
        return core.read_model(io.BytesIO(graph.proto))
    if graph.outside <= _INSIDE and not os.access(graph.folder, os.W_OK):
        return core.read_model(io.BytesIO(_whole(graph.proto, graph.folder)))
    with _beside(graph.proto, graph.folder) as path:
        return core.read_model(path)


def _whole(proto: bytes, folder: Path) -> bytes:
    """The graph with its weights inside, each file read once."""
    read = cache(lambda file: memoryview((folder / file).read_bytes()))

    def fetch(file: str, offset: int, length: int | None) -> memoryview:
        data: memoryview = read(file)
        return data[offset:] if length is None else data[offset : offset + length]

    return inline_external_data(proto, fetch)


@contextmanager
def _beside(proto: bytes, folder: Path) -> Iterator[Path]:
    """A file beside the weights for as long as OpenVINO reads it: it takes none from outside the graph's own folder,
    links included, and `proto` is not quite the file that lies there."""
    try:
        handle, name = tempfile.mkstemp(prefix=".chiasm-openvino-", suffix=".onnx", dir=folder)
    except OSError as error:
        raise BackendError(
            "OpenVINO needs a graph with large weights as a file beside them", found=f"{folder}: {error.strerror}",
            expected="a folder that may be written to", fix="Copy the bundle to one, or use the backend ort",
        ) from None  # fmt: skip
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(proto)
        yield path
    finally:
        path.unlink()


def _port(ports: Sequence[Any], name: str) -> Any:
    """A tensor may have several names, and the manifest's need not be the first of them."""
    return next(port for port in ports if name in port.get_names())


def _compare(side: str, found: Sequence[Any], promised: Sequence[TensorSpec]) -> None:
    wanted = {spec.name: (spec.dtype, spec.shape) for spec in promised}
    real = {}
    for port in found:
        names = set(port.get_names())
        shape = tuple(port.get_shape()) if port.get_partial_shape().is_static else str(port.get_partial_shape())
        kind = port.get_element_type().get_type_name()
        real[next(iter(sorted(names & wanted.keys()) or sorted(names)), "")] = (_DTYPES.get(kind, kind), shape)
    if real != wanted:
        raise BackendError(f"A graph's {side} are not those of the manifest", found=real, expected=wanted,
                           fix="Export the bundle again")  # fmt: skip


def _reason(error: Exception) -> str:
    """OpenVINO's messages are a trace of its source lines around the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith(_FRAME)]
    return " ".join(causes or lines or [type(error).__name__])[:300]
