"""ONNX Runtime's CUDA provider, as the backend `ort:cuda`: tensors stay on the GPU between sessions.

Not yet run on a GPU by us: the tests put CPU tensors in the place of those on the GPU, so what is bound, copied, waited
for and refused is tested, and the provider is not. With onnxruntime-gpu 1.31.1 on a machine without a GPU the provider
did not start, and the CPU served.

Inputs and outputs are bound OrtValues on the GPU whose addresses never change, as `enable_cuda_graph` asks for. An
encoder that may run beside others is not waited for when it runs (`disable_synchronize_execution_providers`), but where
one of its outputs is read: by the host, or by a session that is fed with it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import numpy as np

from ..errors import BackendError, EngineError
from ..values import Array, OnnxGraph, TensorSpec
from ._results import Results
from .base import Feed, SessionOptions, as_array, check_feeds
from .ort import reason

__all__ = ["CudaBackend", "CudaSession", "provider_options", "why_no_cuda"]

PROVIDER = "CUDAExecutionProvider"


@cache
def why_no_cuda() -> str | None:
    """None where the onnxruntime that is installed was built with the CUDA provider; whether it finds a GPU shows only
    when a graph is opened."""
    try:
        import onnxruntime
    except ImportError:
        return "onnxruntime is not installed; run: pip install onnxruntime-gpu"
    there = onnxruntime.get_available_providers()
    if PROVIDER in there:
        return None
    return (
        f"onnxruntime {onnxruntime.__version__} has no CUDA provider, only {', '.join(there)}; run: pip uninstall "
        "onnxruntime && pip install onnxruntime-gpu"
    )


def provider_options(options: SessionOptions) -> dict[str, str]:
    """The CUDA provider's settings: memory grows by what is asked for, not to the next power of two."""
    return {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": "1" if options.graphs else "0",
    }


def shares_arena(options: SessionOptions) -> bool:
    """Whether all sessions may take memory from one arena. Not with CUDA graphs, which keep the addresses they were
    recorded with, and not where sessions run beside each other: an arena knows nothing of their streams."""
    return options.arena and not options.graphs and not options.overlap


class CudaValue:
    """One output on the GPU, as `Value` says."""

    def __init__(self, session: CudaSession, name: str, there: Any, spec: TensorSpec) -> None:
        self.dtype: np.dtype[Any] = np.dtype(spec.dtype)
        self.shape = spec.shape
        self.session, self.there, self._name = session, there, name

    def numpy(self) -> Array:
        """The values now; waits for them."""
        return self.session.fetch(self._name)

    def fill(self, value: float) -> None:
        """Overwrite all values."""
        self.session.overwrite(self._name, value)


class CudaSession:
    """One graph with its bound OrtValues. `beside`: a run is not waited for."""

    note: str | None = None

    def __init__(
        self, ort: Any, session: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *,
        beside: bool, recorded: bool,
    ) -> None:  # fmt: skip
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.results = Results(self, [each.name for each in outputs])
        self._session, self._recorded = session, recorded
        self._binding = session.io_binding()
        self._expected = {each.name: np.empty(each.shape, each.dtype) for each in inputs}
        self._own = {each.name: _on_gpu(ort, each) for each in inputs}
        self._bound: dict[str, Any] = {}
        self.values = {each.name: CudaValue(self, each.name, _on_gpu(ort, each), each) for each in outputs}
        self._host = {each.name: np.zeros(each.shape, each.dtype) for each in outputs}
        self._stale: set[str] = set()
        self._pending, self._ran = False, False
        self._settings = ort.RunOptions() if beside else None
        if self._settings is not None:
            self._settings.add_run_config_entry("disable_synchronize_execution_providers", "1")
        for name, value in self.values.items():
            value.there.update_inplace(self._host[name])
            self._binding.bind_ortvalue_output(name, value.there)

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, Array]:
        """Run on the feeds. Outputs of sessions of this backend are read where they are; the rest is copied in."""
        if self._session is None:
            raise BackendError("The session is closed")
        check_feeds(feeds, self._expected)
        self.wait()
        try:
            for name, feed in feeds.items():
                self._feed(name, feed)
            self._session.run_with_iobinding(self._binding, self._settings)
        except BackendError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no common public base
            raise BackendError("ONNX Runtime failed on the GPU", found=reason(error)) from error
        self._pending, self._ran = self._settings is not None, True
        self._stale = set(self.values)
        return self.results

    def _feed(self, name: str, feed: Feed) -> None:
        if isinstance(feed, CudaValue) and self._bind(name, feed.there):
            feed.session.wait()
            return
        if not self._bind(name, self._own[name]):
            raise BackendError(
                f"Input {name} was recorded as an output of another session", found="an array", expected="that output",
                fix="Load the bundle again, or without CUDA graphs",
            )  # fmt: skip
        self._own[name].update_inplace(np.ascontiguousarray(as_array(feed)))

    def _bind(self, name: str, there: Any) -> bool:
        """Read an input from that OrtValue; False where a CUDA graph reads it from another one for good."""
        if self._bound.get(name) is there:
            return True
        if self._recorded and self._ran:
            return False
        self._binding.bind_ortvalue_input(name, there)
        self._bound[name] = there
        return True

    def wait(self) -> None:
        """Until what was put on the GPU is done."""
        if self._pending:
            self._binding.synchronize_outputs()
            self._pending = False

    def bring(self, names: Sequence[str]) -> None:
        """Copy outputs to the host, waiting for them, unless they are there already."""
        if self._session is None:
            raise BackendError("The session is closed")
        for name in names:
            if name in self._stale:
                self.wait()
                self._host[name][...] = self.values[name].there.numpy()
                self._stale.remove(name)

    def fetch(self, name: str) -> Array:
        """An output on the host."""
        self.bring((name,))
        return self._host[name]

    def overwrite(self, name: str, value: float) -> None:
        """Every value of an output."""
        self.wait()
        self._host[name].fill(value)
        self.values[name].there.update_inplace(self._host[name])
        self._stale.discard(name)

    def close(self) -> None:
        """Free the session; a second call does nothing."""
        if self._session is not None:
            self.wait()
        self._session = self._binding = None
        self._own.clear()
        self._bound.clear()


class CudaBackend:
    """Opens ONNX graphs on the first GPU. `settings`: the session options that the CPU's sessions have, too."""

    name = "ort:cuda"
    together = False

    def __init__(self, ort: Any, options: SessionOptions, settings: Callable[[OnnxGraph], Any]) -> None:
        self._ort, self._options, self._settings = ort, options, settings
        self._refused: EngineError | None = None
        _preload(ort)
        self._shared = shares_arena(options) and _share_arena(ort, provider_options(options))

    def precisions(self) -> tuple[str, ...]:
        """The INT8 of CPUs gains nothing on a GPU, and that of TensorRT is left to it."""
        return ("fp16", "fp32")

    def open(self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> CudaSession:
        """Raises `EngineError`, after which another backend may serve, where the provider does not take the graph. One
        that did not start is not tried again."""
        if self._refused is not None:
            raise self._refused
        settings = self._settings(graph)
        if self._shared:
            settings.add_session_config_entry("session.use_env_allocators", "1")
        providers = [(PROVIDER, provider_options(self._options)), "CPUExecutionProvider"]
        part = "a graph" if graph.origin is None else f"part {graph.origin.part}"
        try:
            opened = self._ort.InferenceSession(graph.proto, settings, providers=providers)
        except Exception as error:  # as above
            raise EngineError(f"ONNX Runtime does not open {part} on the GPU", found=reason(error)) from error
        if PROVIDER not in opened.get_providers():  # it takes the CPU instead, and only logs why
            self._refused = EngineError(
                "ONNX Runtime's CUDA provider did not start", found="why stands on standard error, in its own words",
                expected="an NVIDIA driver, CUDA and cuDNN of the versions that onnxruntime-gpu was built for",
                fix="Run: pip install 'onnxruntime-gpu[cuda,cudnn]', and see chiasm doctor",
            )  # fmt: skip
            raise self._refused
        apart = self._options.overlap and graph.origin is not None and graph.origin.apart
        return CudaSession(self._ort, opened, inputs, outputs, beside=apart, recorded=self._options.graphs)

    def close(self) -> None:
        """The arena belongs to the process; sessions free what they took from it."""


_arenas: set[str] = set()


def _share_arena(ort: Any, options: Mapping[str, str]) -> bool:
    """Register one arena on the GPU with the environment, once a process; False where this build cannot."""
    if PROVIDER not in _arenas:
        try:
            kinds, memory = ort.OrtAllocatorType, ort.OrtMemType.DEFAULT
            place = ort.OrtMemoryInfo("Cuda", kinds.ORT_ARENA_ALLOCATOR, 0, memory)
            ort.create_and_register_allocator_v2(PROVIDER, place, dict(options), ort.OrtArenaCfg(0, 1, -1, -1))
        except Exception:  # an older build: sessions then have arenas of their own
            return False
        _arenas.add(PROVIDER)
    return True


def _preload(ort: Any) -> None:
    """Load CUDA and cuDNN from where pip puts them, if it did (since onnxruntime 1.21); it prints what it misses."""
    if hasattr(ort, "preload_dlls"):
        with redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _on_gpu(ort: Any, spec: TensorSpec) -> Any:
    return ort.OrtValue.ortvalue_from_shape_and_type(spec.shape, np.dtype(spec.dtype), "cuda", 0)
