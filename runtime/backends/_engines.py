"""Engines as sessions: found under their key, opened, run. The vendor's module is passed in; see `_nvinfer.py`.

Not yet run on a GPU by us: the tests put a vendor and a driver in its place that compute with ONNX Runtime in the
computer's own memory, so the order of calls, the shapes and the errors are tested, and the vendor's behaviour is not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engines import EngineStore, Key
from ..errors import EngineError
from ..values import OnnxGraph, TensorSpec
from ._builder import ensure
from ._device import EngineSession
from ._gpu import Gpu, Lane, why_no_gpu
from ._nvinfer import VENDORS, Order, Vendor, load_vendor
from ._refit import refit
from ._runtime_cache import RuntimeCache
from .base import SessionOptions

__all__ = ["EngineBackend", "of_vendor"]


def of_vendor(name: str, vendor: str) -> tuple[Callable[[], str | None], Callable[[SessionOptions], EngineBackend]]:
    """`why_not` and `open_backend` of the backend of that name: what is missing is said with what would bring it."""

    def why_not() -> str | None:
        """None where its module, PyCUDA and a GPU are there."""
        known = VENDORS[vendor]
        if importlib.util.find_spec(known.module) is None:
            return f"{known.module} is not installed; {known.command}"
        return why_no_gpu()

    def open_backend(options: SessionOptions) -> EngineBackend:
        """Opens the engines that are there; see `SessionOptions.build`."""
        return EngineBackend(name, vendor, options)

    return why_not, open_backend


class EngineBackend:
    """Opens the engines of one vendor on the GPU that is here. `build`: see `SessionOptions`."""

    together = False

    def __init__(self, name: str, vendor: str, options: SessionOptions) -> None:
        self.name = name
        self._vendor: Vendor = VENDORS[vendor]
        self._sdk = load_vendor(vendor)
        self._options = options
        self._gpu = Gpu()
        self._lanes = [Lane(self._gpu)]
        self._logger = self._sdk.Logger(self._sdk.Logger.ERROR)
        self._runtime = self._sdk.Runtime(self._logger)

    def precisions(self) -> tuple[str, ...]:
        """What becomes an engine. INT8 only by name: whether it is faster has to be measured on the device."""
        return ("fp16", "fp32", "int8-trt")

    def open(self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> EngineSession:
        """The engine of that graph for this GPU. Raises `EngineError` saying why there is none that may be loaded."""
        engine, place = self._load(graph, inputs)
        _compare(self._sdk, engine, inputs, outputs)
        lane, scratch = self._lane(graph), int(engine.device_memory_size_v2)
        with self._gpu.active():
            lane.reserve(scratch)
            context, cache = self._context(engine, place)
        if context is None:
            raise EngineError("An engine gives no context", found="the vendor gave no reason", fix=_again(graph))
        records = self._options.graphs and not hasattr(self._sdk, "CudaGraphStrategy")
        return EngineSession(self._gpu, lane, engine, context, scratch, inputs, outputs, records=records, cache=cache)

    def _lane(self, graph: OnnxGraph) -> Lane:
        """A stream of its own for what waits for no other part, the common one for the rest. On a board whose GPU has
        no memory of its own all share one: there scratch for each is scarcer than time."""
        if self._options.overlap and not self._gpu.shared and graph.origin is not None and graph.origin.apart:
            self._lanes.append(Lane(self._gpu))
            return self._lanes[-1]
        return self._lanes[0]

    def _load(self, graph: OnnxGraph, inputs: Sequence[TensorSpec]) -> tuple[Any, Path]:
        """(the engine, whole; the folder that keeps it)."""
        key, store = self._wanted(graph, inputs)
        found = store.serve(key)
        if found is None and self._options.build == "missing":
            order = Order(key.part, graph, key.capabilities)
            ensure(store, key, order)
            found = store.serve(key)
        if found is None:
            raise EngineError(
                f"No engine of part {key.part} for {self._gpu.name}", found=store.why_not(key), fix=_again(graph)
            )
        with self._gpu.active():
            engine = self._runtime.deserialize_cuda_engine(found.data)
        if engine is None:
            raise EngineError(f"{self._vendor.name} does not take the engine of part {key.part}", fix=_again(graph))
        if "strip" in found.facts.key.flags:
            with self._gpu.active():
                refit(self._sdk, engine, self._logger, graph)
        return engine, store.folder / found.facts.key.digest

    def _wanted(self, graph: OnnxGraph, inputs: Sequence[TensorSpec]) -> tuple[Key, EngineStore]:
        origin = graph.origin
        if origin is None:
            raise EngineError("Only a graph of a bundle has engines")
        key = Key(
            part=origin.part, precision=origin.precision, graph=origin.digest, vendor=self._vendor.name,
            version=str(self._sdk.__version__), capabilities=(self._gpu.capability,),
            shapes={spec.name: spec.shape for spec in inputs}, flags={},
        )  # fmt: skip
        return key, EngineStore(origin.engines)

    def _context(self, engine: Any, place: Path) -> tuple[Any, RuntimeCache | None]:
        """A context that computes in our scratch; on RTX the vendor's own CUDA graphs replay what has fixed shapes, and
        what it compiles for this GPU is kept."""
        strategy = self._sdk.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(engine, "create_runtime_config"):
            return engine.create_execution_context(strategy), None
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        if self._options.graphs and hasattr(self._sdk, "CudaGraphStrategy"):
            config.cuda_graph_strategy = self._sdk.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        cache = RuntimeCache(config, place, self._gpu.name) if hasattr(config, "create_runtime_cache") else None
        return engine.create_execution_context(config), cache

    def close(self) -> None:
        """Free the scratch and what read the engines."""
        with self._gpu.active():
            while self._lanes:
                self._lanes.pop().close()
            self._runtime = None


def _again(graph: OnnxGraph) -> str:
    part = "" if graph.origin is None else f" --part {graph.origin.part}"
    return f"Run on this device: chiasm compile BUNDLE{part}"


def _compare(sdk: Any, engine: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """An engine's tensors must be those that the manifest promises."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    real = {
        name: (np.dtype(sdk.nptype(engine.get_tensor_dtype(name))).name, tuple(engine.get_tensor_shape(name)))
        for name in names
    }
    wanted = {spec.name: (spec.dtype, spec.shape) for spec in (*inputs, *outputs)}
    if real != wanted:
        raise EngineError("An engine's tensors are not those of the manifest", found=real, expected=wanted)
