"""ONNX Runtime on the CPU: I/O binding over buffers that live as long as the session, one arena for all sessions.

On a GPU, as the backend `ort:cuda`, it is in _ort_cuda.py. Every input and output is a bound NumPy array (an OrtValue
on CPU shares its memory), which was measured at a third to a half of the time of `InferenceSession.run` for small
graphs. Callers that fill the same array for every run, as all stages of a pipeline do, have it read in place: nothing
is copied. The arena is registered with ONNX Runtime's environment, once a process, and every session is told to use it.

A graph that leaves its weights in files has them mapped by ONNX Runtime (since 1.20), one after the other as it packs
them: opening 1.2 GB of weights was measured at a peak of 1.3 GB, where handing them over as arrays took twice that.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from ..errors import BackendError, ChiasmError, MissingExtraError
from ..values import Array, OnnxGraph, TensorSpec
from . import _products
from ._slots import Slots
from .base import Candidates, Feed, SessionOptions, usable_threads

if TYPE_CHECKING:
    from ._ort_cuda import CudaBackend

__all__ = [
    "DEVICES", "RANK", "OrtBackend", "OrtSession", "candidates", "open_backend", "open_session", "reason",
    "threads_for", "usable_threads", "why_not",
]  # fmt: skip

RANK: int | None = 10
SMALL_GRAPH = 8 * 2**20
"""Bytes; a graph below gets one thread unless the caller says otherwise."""
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
}
_LEVELS = {"all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC"}
_SILENT = 4
_FOLDER = "session.model_external_initializers_file_folder_path"
_SLOWER = ["SkipLayerNormFusion"]
"""Fusions left out: of addition and layer normalisation, which takes 2.5 times as long as both (1.32, AVX2)."""
_arena_lock = threading.Lock()
_arena_ready = False


def why_not() -> str | None:
    """None where onnxruntime is installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed; run: pip install 'chiasm[cpu]'"
    return None


def _why_no_cuda() -> str | None:
    from ._ort_cuda import why_no_cuda  # whoever stays on the CPU does not import it

    return why_no_cuda()


DEVICES = {"cuda": _why_no_cuda}


def candidates(cores: int) -> Candidates:
    """See `Candidates`. Spinning changes nothing where the caller's thread is the only one."""
    first = [SessionOptions(threads=1)]
    for threads in dict.fromkeys((cores // 2, cores)):
        if threads > 1:
            first += [SessionOptions(threads=threads), SessionOptions(threads=threads, spinning=True)]
    ours: tuple[dict[str, object], ...] = ({"own_products": False},) if _products.library() else ()
    return tuple(first), ({"arena": False}, *ours, {"level": "extended"}, {"level": "basic"})


def open_backend(options: SessionOptions) -> OrtBackend | CudaBackend:
    """Import onnxruntime and prepare its shared arena; on the CPU, or on the device that is asked for."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "cpu", "The backend ort") from error
    made = OrtBackend(onnxruntime, options)
    if options.device != "cuda":
        return made
    from ._ort_cuda import CudaBackend

    return CudaBackend(onnxruntime, options, made.settings)


class OrtSession:
    """One graph with its bound buffers. One thread at a time; outputs are overwritten by the next run."""

    bring: Callable[[Sequence[str]], None] | None = None

    def __init__(
        self,
        ort: Any,
        session: Any,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        note: str | None = None,
    ) -> None:
        self.note = note
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._ort = ort
        self._session = session
        self._binding = session.io_binding()
        self.results: dict[str, Array] = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in outputs}
        self.values = self.results
        self._values = {
            name: self._bind(self._binding.bind_ortvalue_output, name, buffer) for name, buffer in self.results.items()
        }
        self._slots = Slots(inputs, self._read_from)
        self._run = _runner(session, self._binding)

    def run(self, feeds: Mapping[str, Feed]) -> dict[str, Array]:
        """Run on the feeds and give the bound outputs.

        An array that comes a second time in a row is read in place from then on; others are copied in.
        """
        if feeds is not self._slots.kept:
            self._slots.fill(feeds)
        try:
            self._run()
        except Exception as error:
            raise BackendError("ONNX Runtime failed", found=reason(error)) from error
        return self.results

    def _read_from(self, name: str, array: Array) -> None:
        self._values[name] = self._bind(self._binding.bind_ortvalue_input, name, array)

    def _bind(self, bind: Callable[[str, Any], None], name: str, array: Array) -> Any:
        """The OrtValue that shares the array's memory; it must live as long as it is bound."""
        value = self._ort.OrtValue.ortvalue_from_numpy(array)
        if value.data_ptr() != array.ctypes.data:
            raise BackendError("This onnxruntime copies NumPy arrays", expected="one that shares their memory")
        bind(name, value)
        return value

    def close(self) -> None:
        """Free the session; a second call does nothing."""
        self._run = partial(_closed, None)
        self._binding = self._session = None
        self._values.clear()


class OrtBackend:
    """Opens ONNX graphs on the CPU execution provider."""

    name = "ort"
    together = True

    def __init__(self, ort: Any, options: SessionOptions) -> None:
        self._ort = ort
        self._options = options
        self._shared = _share_arena(ort)

    def settings(self, graph: OnnxGraph) -> Any:
        """Session options for a graph."""
        settings = self._ort.SessionOptions()
        settings.intra_op_num_threads = threads_for(graph.nbytes, self._options.threads)
        settings.inter_op_num_threads = 1
        settings.log_severity_level = _SILENT
        settings.add_session_config_entry("session.load_model_format", "ONNX")
        settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if self._options.spinning else "0")
        level = getattr(self._ort.GraphOptimizationLevel, _LEVELS[self._options.level])
        settings.graph_optimization_level = level
        if not self._options.arena:
            settings.enable_cpu_mem_arena = False
        elif self._shared:
            settings.add_session_config_entry("session.use_env_allocators", "1")
        return settings

    def precisions(self) -> tuple[str, ...]:
        """FP16 runs through casts on most CPUs: right, but slow. `int8-trt` graphs are left to TensorRT."""
        return ("int8-cpu", "fp32", "fp16")

    def open(self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> OrtSession:
        """Open a graph whose inputs and outputs must be exactly the promised ones."""
        opened, note = None, None
        try:
            opened = self._with_own_products(graph)
        except ChiasmError as error:
            note = f"runs without chiasm's own products: {error}"
        if opened is None:
            opened = open_session(self._ort, graph, self.settings(graph))
        _compare("inputs", opened.get_inputs(), inputs)
        _compare("outputs", opened.get_outputs(), outputs)
        return OrtSession(self._ort, opened, inputs, outputs, note)

    def _with_own_products(self, graph: OnnxGraph) -> Any:
        """A session of the graph with products of ours; None where it has none, or gains nothing by them."""
        library = _products.library() if self._options.own_products else None
        if library is None or graph.nbytes < _products.SMALL_GRAPH:
            return None
        proto = _products.with_own_products(graph.proto, graph.folder)
        if proto is graph.proto:
            return None
        return open_session(self._ort, replace(graph, proto=proto), self.settings(graph), library)

    def close(self) -> None:
        """The arena belongs to the process; sessions free what they took from it."""


def open_session(ort: Any, graph: OnnxGraph, settings: Any, operations: str | None = None) -> Any:
    """An InferenceSession on the CPU. Weights outside the graph are mapped from its folder. `operations`: a
    library of what the graph says in a domain of its own. Raises BackendError."""
    if graph.folder is not None:
        settings.add_session_config_entry(_FOLDER, os.fspath(graph.folder.absolute()))
    try:
        if operations is not None:
            settings.register_custom_ops_library(operations)
        return ort.InferenceSession(
            graph.proto, settings, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER
        )
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        raise BackendError("ONNX Runtime cannot open a graph", found=reason(error)) from error


def threads_for(size: int, asked: int | None) -> int:
    """Threads of a session: those asked for, else one for a small graph and every usable CPU for a large one.

    Small graphs were measured no faster with two threads than with one, and slower when the CPU had other work.
    """
    return asked or (1 if size < SMALL_GRAPH else usable_threads())


def _runner(session: Any, binding: Any) -> Callable[[], None]:
    """The run of bound buffers, past the checks for graph capture on WebGPU that the Python class makes each time."""
    inside, bound = getattr(session, "_sess", None), getattr(binding, "_iobinding", None)
    if inside is None or bound is None:
        return partial(session.run_with_iobinding, binding)
    return partial(inside.run_with_iobinding, bound, None)


def _compare(side: str, found: Sequence[Any], promised: Sequence[TensorSpec]) -> None:
    real = {node.name: (_DTYPES.get(node.type, node.type), tuple(node.shape)) for node in found}
    wanted = {spec.name: (spec.dtype, spec.shape) for spec in promised}
    if real != wanted:
        raise BackendError(f"A graph's {side} are not those of the manifest", found=real, expected=wanted,
                           fix="Export the bundle again")  # fmt: skip


def _share_arena(ort: Any) -> bool:
    """Register one growing CPU arena with the environment, once a process; False where this build cannot."""
    global _arena_ready
    with _arena_lock:
        if not _arena_ready:
            try:
                memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
                ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, 1, -1, -1))
            except Exception:
                return False
            _arena_ready = True
    return True


def reason(error: Exception) -> str:
    """What ONNX Runtime says of an error, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _closed(binding: object) -> None:
    raise BackendError("The session is closed")
