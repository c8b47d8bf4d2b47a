"""Scenario overhead: what the pipeline costs beside preprocessing and the inference itself.

Every round takes one step of the pipeline and then runs the same graphs, in the same precisions and on the same inputs,
in bare ONNX Runtime sessions whose inputs and outputs are bound beforehand: the least that any program pays. The
overhead of a round is the step, minus its preprocessing, minus those bare runs. `InferenceSession.run`, which most
programs call, is timed beside it for comparison.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.errors import BackendError, MissingExtraError
from ..runtime.values import Array, TensorSpec
from .inputs import Captures
from .settings import Progress, Settings
from .single import RING, milliseconds, steps_all_new, warm_up

if TYPE_CHECKING:
    from ..runtime.manifest import Manifest
    from ..runtime.pipeline import Pipeline

__all__ = ["BareGraph", "overhead"]

SHARE, FLOOR_MS = 0.05, 0.150


class BareGraph:
    """One graph in an ONNX Runtime session of its own, with nothing of chiasm around it."""

    def __init__(
        self, graph: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], settings: Any
    ) -> None:
        import onnxruntime as ort

        self._session = ort.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
        self.feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in inputs}
        self.results = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in outputs}
        self._binding = self._session.io_binding()
        self._values = [
            ort.OrtValue.ortvalue_from_numpy(buffer) for buffer in (*self.feeds.values(), *self.results.values())
        ]
        for name, value in zip((*self.feeds, *self.results), self._values, strict=True):
            bind = self._binding.bind_ortvalue_input if name in self.feeds else self._binding.bind_ortvalue_output
            bind(name, value)

    def fill(self, feeds: dict[str, Array]) -> None:
        """Copy the inputs in; not timed."""
        for name, value in feeds.items():
            self.feeds[name][...] = value

    def bound_s(self) -> float:
        """Seconds of one run on the bound buffers."""
        start = time.perf_counter()
        self._session.run_with_iobinding(self._binding)
        return time.perf_counter() - start

    def plain_s(self) -> float:
        """Seconds of one `InferenceSession.run`."""
        start = time.perf_counter()
        self._session.run(None, self.feeds)
        return time.perf_counter() - start


class _BareChain:
    """Encoders, fusion and heads of one pipeline, run bare."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        from ..runtime.bundle import open_bundle
        from ..runtime.preprocess import Preparer

        bundle = open_bundle(settings.bundle)
        manifest = bundle.manifest
        self._prepare = Preparer(manifest, bundle.read)
        self._fusion = settings.fusion or manifest.fusion.default
        self.manifest = manifest
        self.graphs: dict[str, BareGraph] = {}
        for part in _parts_of_a_step(manifest, self._fusion):
            graph, spec = bundle.graph(part, pipeline.precisions[part]), manifest.parts[part]
            options = _session_settings(graph, settings.threads)
            self.graphs[part] = BareGraph(graph, spec.inputs, spec.outputs, options)

    def run(self, captures: Captures, index: int) -> tuple[float, float]:
        """Seconds of the whole chain on sample `index`: bound, and through `InferenceSession.run`."""
        bound = plain = 0.0
        fuse = self.graphs[self.manifest.fusion.kinds[self._fusion]]
        fuse.fill({"presence": np.ones((1, len(self.manifest.fusion.order)), np.float32)})
        for modality in self.manifest.modalities:
            graph = self.graphs[modality.part]
            graph.fill(self._prepare(captures.packet(modality.name, index)))
            bound, plain = bound + graph.bound_s(), plain + graph.plain_s()
            fuse.fill({modality.name: graph.results["tokens"]})
        bound, plain = bound + fuse.bound_s(), plain + fuse.plain_s()
        for part in dict.fromkeys(head.part for head in self.manifest.heads.values()):
            self.graphs[part].fill({"state": fuse.results["state"]})
            bound, plain = bound + self.graphs[part].bound_s(), plain + self.graphs[part].plain_s()
        return bound, plain


def _parts_of_a_step(manifest: Manifest, fusion: str) -> list[str]:
    parts = [modality.part for modality in manifest.modalities]
    parts.append(manifest.fusion.kinds[fusion])
    return list(dict.fromkeys([*parts, *(head.part for head in manifest.heads.values())]))


def _session_settings(graph: bytes, threads: int | None) -> Any:
    """The same threads and spinning as the pipeline's backend."""
    from ..runtime.backends.base import SessionOptions
    from ..runtime.backends.ort import threads_for

    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "cpu", "the overhead scenario") from error
    shared = SessionOptions(threads=threads)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads_for(graph, threads)
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if shared.spinning else "0")
    return settings


def overhead(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Step minus preprocessing minus bare sessions, paired round by round."""
    if settings.backend not in ("auto", "ort"):
        raise BackendError(
            "overhead compares with bare ONNX Runtime", found=f"--backend {settings.backend}", expected="ort"
        )
    steps, prepared, bound, plain = list[float](), list[float](), list[float](), list[float]()
    with settings.open() as pipeline:
        captures = Captures(pipeline.manifest.modalities, RING, settings.seed)
        chain = _BareChain(pipeline, settings)
        warm_up(pipeline, captures, settings.warm_up)
        for index in range(settings.warm_up):
            chain.run(captures, index)
        begun = time.perf_counter()
        while (elapsed := time.perf_counter() - begun) < settings.seconds or not steps:
            index = settings.warm_up + len(steps)
            seconds, result = steps_all_new(pipeline, captures, index)
            if len(result.encoded) != len(captures.names):
                raise AssertionError("a step on new captures runs every encoder")
            steps.append(seconds)
            prepared.append(sum(value for stage, value in result.timings.items() if stage.startswith("preprocess")))
            for collected, value in zip((bound, plain), chain.run(captures, index), strict=True):
                collected.append(value)
            if len(steps) % 32 == 0:
                progress("overhead", elapsed / settings.seconds)
    return _figures(steps, prepared, bound, plain)


def _figures(steps: list[float], prepared: list[float], bound: list[float], plain: list[float]) -> dict[str, Any]:
    paired = [step - before - bare for step, before, bare in zip(steps, prepared, bound, strict=True)]
    against_run = [step - before - bare for step, before, bare in zip(steps, prepared, plain, strict=True)]
    figure = milliseconds(paired)
    median = figure["p50"]
    step_ms = 1000 * float(np.median(steps))
    limit = max(SHARE * step_ms, FLOOR_MS)
    return {
        "steps": len(steps),
        "headline": {"name": "overhead, median", "value": median, "unit": "ms"},
        "latency_ms": milliseconds(steps),
        "preprocess_ms": milliseconds(prepared),
        "bare_bound_ms": milliseconds(bound),
        "bare_run_ms": milliseconds(plain),
        "overhead_ms": figure,
        "overhead_against_run_ms": milliseconds(against_run),
        "share_of_step": (median or 0.0) / step_ms,
        "criteria": [
            {"name": "median overhead <= 5 % of a step or 150 us, whichever is larger", "value": median, "limit": limit,
             "unit": "ms", "met": median is not None and median <= limit},
        ],
    }  # fmt: skip
