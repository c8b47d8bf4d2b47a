"""Scenario overhead: what the pipeline costs beside preprocessing and the inference itself.

The pipeline takes a few steps, then the same graphs, in the same precisions and on the same inputs, run in bare ONNX
Runtime sessions whose inputs and outputs are bound beforehand, one graph's outputs being the next one's inputs where
they lie: the least that any program pays. So they take turns.
The first of a turn is not counted: it finds the caches as the other left them, with the same weights in another place,
where a pipeline in use finds what it left itself.
The overhead is the step, minus its preprocessing, minus the bare runs on that sample; it is below zero where encoders
run side by side, and with `--threads 1` they do not. A second, shorter series compares with `InferenceSession.run`,
which most programs call; it is apart because a graph that runs twice in a row finds its code and weights in the caches,
which no pipeline does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.backends.ort import open_session, threads_for
from ..runtime.errors import BackendError, MissingExtraError
from ..runtime.values import Array, OnnxGraph, TensorSpec
from .inputs import Captures
from .settings import Progress, Settings
from .single import RING, milliseconds, steps_all_new, warm_up

if TYPE_CHECKING:
    from ..runtime.manifest import Manifest
    from ..runtime.pipeline import Pipeline

__all__ = ["BareGraph", "overhead"]

SHARE, FLOOR_MS = 0.05, 0.150
TURN = 4
"""Samples in a turn, after one that is not counted."""


class BareGraph:
    """One graph in an ONNX Runtime session of its own, with nothing of chiasm around it.

    `given`: inputs that lie somewhere already, as what another graph gave; they are read in place.
    """

    def __init__(
        self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], settings: Any,
        given: Mapping[str, Array] | None = None,
    ) -> None:  # fmt: skip
        import onnxruntime as ort

        self._session = open_session(ort, graph, settings)
        self.feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in inputs} | dict(given or {})
        self.results = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in outputs}
        self._names = [output.name for output in self._session.get_outputs()]
        self._binding = self._session.io_binding()
        self._values = [
            ort.OrtValue.ortvalue_from_numpy(buffer) for buffer in (*self.feeds.values(), *self.results.values())
        ]
        for name, value in zip((*self.feeds, *self.results), self._values, strict=True):
            bind = self._binding.bind_ortvalue_input if name in self.feeds else self._binding.bind_ortvalue_output
            bind(name, value)

    def fill(self, feeds: Mapping[str, Array]) -> None:
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
        outputs = self._session.run(None, self.feeds)
        seconds = time.perf_counter() - start
        for name, value in zip(self._names, outputs, strict=True):
            self.results[name][...] = value
        return seconds


class _BareChain:
    """Encoders, fusion and heads of one pipeline, run bare."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        from ..runtime.bundle import open_bundle
        from ..runtime.preprocess import Preparer

        bundle = open_bundle(settings.bundle)
        manifest = bundle.manifest
        self._prepare = Preparer(manifest, bundle.read)
        self._fusion = settings.fusion or manifest.fused.default
        self.manifest = manifest
        self.graphs: dict[str, BareGraph] = {}
        for part in _parts_of_a_step(manifest, self._fusion):
            graph, spec = bundle.graph(part, pipeline.precisions[part]), manifest.parts[part]
            options = _session_settings(graph, settings.threads)
            self.graphs[part] = BareGraph(graph, spec.inputs, spec.outputs, options, self._given(part))

    def run(self, captures: Captures, index: int, once: Callable[[BareGraph], float]) -> dict[str, float]:
        """Seconds of every stage on sample `index`, each graph run `once`."""
        seconds: dict[str, float] = {}
        fuse = self.graphs[self.manifest.fused.kinds[self._fusion]]
        fuse.fill({"presence": np.ones((1, len(self.manifest.fused.order)), np.float32)})
        for modality in self.manifest.modalities:
            self.graphs[modality.part].fill(self._prepare(captures.packet(modality.name, index)))
        for modality in self.manifest.modalities:
            seconds[f"encode.{modality.name}"] = once(self.graphs[modality.part])
        seconds["fuse"] = once(fuse)
        heads = dict.fromkeys(head.part for head in self.manifest.heads.values())
        seconds["heads"] = sum(once(self.graphs[part]) for part in heads)
        return seconds

    def _given(self, part: str) -> dict[str, Array]:
        """What earlier graphs hand to this one, read where they left it, as in the pipeline."""
        fused = self.manifest.fused.kinds[self._fusion]
        if part == fused:
            return {each.name: self.graphs[each.part].results["tokens"] for each in self.manifest.modalities}
        if part in {head.part for head in self.manifest.heads.values()}:
            return {"state": self.graphs[fused].results["state"]}
        return {}


def _parts_of_a_step(manifest: Manifest, fusion: str) -> list[str]:
    parts = [modality.part for modality in manifest.modalities]
    parts.append(manifest.fused.kinds[fusion])
    return list(dict.fromkeys([*parts, *(head.part for head in manifest.heads.values())]))


def _session_settings(graph: OnnxGraph, threads: int | None) -> Any:
    """The same threads and spinning as the pipeline's backend."""
    from ..runtime.backends.base import SessionOptions

    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "cpu", "the overhead scenario") from error
    shared = SessionOptions(threads=threads)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads_for(graph.nbytes, threads)
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if shared.spinning else "0")
    return settings


@dataclass
class _Rounds:
    """What was measured, round by round, in seconds."""

    steps: list[float] = field(default_factory=list)
    prepared: list[float] = field(default_factory=list)
    stages: list[Mapping[str, float]] = field(default_factory=list)
    bare: list[Mapping[str, float]] = field(default_factory=list)

    def overheads(self) -> list[float]:
        """Step, minus preprocessing, minus bare runs."""
        rounds = zip(self.steps, self.prepared, self.bare, strict=True)
        return [step - before - sum(bare.values()) for step, before, bare in rounds]

    def by_stage(self) -> dict[str, dict[str, float]]:
        """Medians in milliseconds, in the pipeline and bare. The pipeline's include what it makes of the outputs."""
        return {
            stage: {
                "pipeline": 1000 * float(np.median([stages[stage] for stages in self.stages])),
                "bare": 1000 * float(np.median([bare[stage] for bare in self.bare])),
            }
            for stage in self.bare[0]
        }


def overhead(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Step minus preprocessing minus bare sessions, paired round by round."""
    if settings.backend not in ("auto", "ort"):
        raise BackendError(
            "overhead compares with bare ONNX Runtime", found=f"--backend {settings.backend}", expected="ort"
        )
    with settings.open() as pipeline:
        captures = Captures(pipeline.manifest.modalities, RING, settings.seed)
        chain = _BareChain(pipeline, settings)
        warm_up(pipeline, captures, settings.warm_up)
        bound = _rounds(pipeline, chain, captures, BareGraph.bound_s, settings, 0.8, lambda f: progress("overhead", f))
        plain = _rounds(pipeline, chain, captures, BareGraph.plain_s, settings, 0.2, lambda f: None)
    return _figures(bound, plain)


def _rounds(
    pipeline: Pipeline, chain: _BareChain, captures: Captures, once: Callable[[BareGraph], float], settings: Settings,
    share: float, advance: Callable[[float], None],
) -> _Rounds:  # fmt: skip
    """Turns of the pipeline and of the bare chain on the same samples, for `share` of the measuring time."""
    for index in range(settings.warm_up):
        chain.run(captures, index, once)
    rounds = _Rounds()
    begun, index = time.perf_counter(), settings.warm_up
    while (elapsed := time.perf_counter() - begun) < share * settings.seconds or not rounds.steps:
        turn = range(index, index + 1 + TURN)
        taken = [steps_all_new(pipeline, captures, each) for each in turn]
        bare = [chain.run(captures, each, once) for each in turn]
        for (seconds, result), least in zip(taken[1:], bare[1:], strict=True):
            if len(result.encoded) != len(captures.names):
                raise AssertionError("a step on new captures runs every encoder")
            rounds.steps.append(seconds)
            rounds.stages.append(result.timings)
            rounds.prepared.append(sum(value for key, value in result.timings.items() if key.startswith("preprocess")))
            rounds.bare.append(least)
        index = turn.stop
        advance(elapsed / settings.seconds)
    return rounds


def _figures(bound: _Rounds, plain: _Rounds) -> dict[str, Any]:
    figure = milliseconds(bound.overheads())
    median = figure["p50"]
    step_ms = 1000 * float(np.median(bound.steps))
    limit = max(SHARE * step_ms, FLOOR_MS)
    return {
        "steps": len(bound.steps),
        "headline": {"name": "overhead, median", "value": median, "unit": "ms"},
        "latency_ms": milliseconds(bound.steps),
        "preprocess_ms": milliseconds(bound.prepared),
        "bare_bound_ms": milliseconds([sum(bare.values()) for bare in bound.bare]),
        "bare_run_ms": milliseconds([sum(bare.values()) for bare in plain.bare]),
        "overhead_ms": figure,
        "overhead_against_run_ms": milliseconds(plain.overheads()),
        "by_stage_ms": bound.by_stage(),
        "share_of_step": (median or 0.0) / step_ms,
        "criteria": [
            {"name": "median overhead <= 5 % of a step or 150 us, whichever is larger", "value": median, "limit": limit,
             "unit": "ms", "met": median is not None and median <= limit},
        ],
    }  # fmt: skip
