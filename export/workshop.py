"""Where the variants of one export are made, part after part: traced, halved, quantised, compared with torch.

Of a part that is done only its graphs stay, the large ones on disk, and what later parts are fed with: its module is
freed before the next one is loaded. So an export needs the memory of its largest part.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..runtime.manifest import Manifest
from ..runtime.values import Array, OnnxGraph
from ..targets.memory import peak_mib, reset_peak
from .assembly import Assembly, PartSource
from .calibrate import Calibration, Feeds, PartFeeds, feeds_of
from .graphs import specs
from .measure import Difference, compare, same_choice
from .model import Model, check, parse
from .pace import Pace, pace, seconds_of
from .pack import Specs, make_manifest
from .precision import FAR, compress, to_fp16
from .ranges import Observed, peaks
from .report import Refused
from .rewrite import for_cpu, for_fp32
from .sessions import Runner, run_all, runnable
from .settings import Settings
from .shelf import Shelf
from .to_onnx import to_onnx
from .tune import Choice, Refusal, look, quantise, quantise_for_trt
from .verify import Progress, check_feeds, judge, raise_failures, torch_outputs

__all__ = ["Made", "Work", "Workshop"]

_PEAKS = 8
"""Feeds on which the reach of every tensor is looked at."""


@dataclass
class Made:
    """One variant so far: its graph, its differences from torch, and how an FP16 or INT8 one came about.

    `same_token`: of a captioner's step, the share of checks on which the same token is likeliest as in torch.
    """

    graph: OnnxGraph
    differences: Mapping[str, Difference]
    method: str | None = None
    kept: tuple[str, ...] = ()
    ranking: str | None = None
    milliseconds: float | None = None
    same_token: float | None = None


@dataclass
class Work:
    """One part that is being made, or done. `source`: its FP32 graph with nothing compressed.

    `feeds` set INT8 ranges, `checks` compare; on the checks torch gives `answers` and the FP32 graph `exact`. `beyond`:
    tensors that go too far for FP16; `seen`: by precision, what the tensors are like on
    the feeds.
    """

    source: OnnxGraph
    specs: Specs
    pace: Pace
    feeds: list[Feeds]
    checks: list[Feeds]
    answers: Sequence[Mapping[str, Array]]
    exact: Sequence[Mapping[str, Array]]
    seconds: float = 0.0
    peak_mib: float | None = None
    beyond: tuple[str, ...] = ()
    seen: dict[str, Mapping[str, Observed]] = field(default_factory=dict)


@dataclass
class Workshop:
    """`variants[part][precision]` grows part by part; a refused variant is noted in `refused` and left out.

    `draft` is the manifest without variants; `shelf` holds the graphs.
    """

    assembly: Assembly
    calibration: Calibration
    settings: Settings
    progress: Progress
    shelf: Shelf = field(default_factory=Shelf)
    works: dict[str, Work] = field(default_factory=dict)
    variants: dict[str, dict[str, Made]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    draft: Manifest = field(init=False)

    def __post_init__(self) -> None:
        known: dict[str, Specs] = {part: (each.interface.inputs, ()) for part, each in self.assembly.parts.items()}
        self.draft = make_manifest(self.assembly, known, {}, {}, self.settings.tolerances, {})

    def make(self) -> None:
        """All variants of all parts. Raises `ToleranceError` when FP32 is not torch's equal."""
        self.progress("preparing captures", 0.0)
        feeds, checks = self._sources()
        count = len(self.assembly.parts)
        for index, (part, source) in enumerate(self.assembly.parts.items()):
            start = time.monotonic()
            reset_peak()
            self._make(part, source, feeds, checks, partial(self._tell, index, count))
            gc.collect()
            work = self.works[part]
            work.seconds, work.peak_mib = time.monotonic() - start, peak_mib()
            self._tell(index, count, f"{part}: {_spent(work.seconds, work.peak_mib)}", 1.0)

    def _tell(self, index: int, count: int, words: str, share: float) -> None:
        self.progress(words, 0.05 + 0.65 * (index + share) / count)

    def _sources(self) -> tuple[PartFeeds, PartFeeds]:
        """Feeds for the ranges from the calibration sets; feeds for the checks from the held-out samples."""
        read = self.assembly.files.__getitem__
        feeds = feeds_of(self.draft, read, self.calibration.sets, self.settings.samples)
        return feeds, check_feeds(self.draft, read, self.calibration, self.settings.checks)

    def _make(self, part: str, source: PartSource, feeds: PartFeeds, checks: PartFeeds, tell: Progress) -> None:
        tell(f"loading and tracing {part}", 0.0)
        model = self._trace(part, source, feeds, checks, tell)
        if not {"fp16", "int8-trt"}.isdisjoint(self.settings.precisions):
            reach = peaks(model, self.works[part].checks[:_PEAKS], self.shelf)
            self.works[part].beyond = tuple(name for name, peak in reach.items() if peak > FAR)
        if "fp16" in self.settings.precisions:
            tell(f"FP16 of {part}", 0.5)
            self._halve(part, model)
        if "int8-cpu" in self.settings.precisions:
            tell(f"INT8 of {part}", 0.7)
            aim = self.settings.aims.get(source.interface.role, 0.0)
            self.quantise(part, max(self.settings.tolerances.int8_cosine, aim), model)
        if "int8-trt" in self.settings.precisions and self.calibration.real:
            tell(f"INT8 of {part} for TensorRT", 0.9)
            aim = self.settings.aims.get(source.interface.role, 0.0)
            self.quantise(part, max(self.settings.tolerances.int8_cosine, aim), model, precision="int8-trt")

    def _trace(self, part: str, source: PartSource, feeds: PartFeeds, checks: PartFeeds, tell: Progress) -> Model:
        """The FP32 graph, held to torch; the module is gone when this returns."""
        module = source.load()
        raw, model = self.shelf.settle(to_onnx(module, source.interface, part, self.settings.opset))
        graph = self.shelf.keep(compress(for_fp32(model)[0]))
        runner = Runner(graph)
        allowed = pace(self.settings, seconds_of(runner, source.interface.inputs))
        tell(f"collecting what {part} is fed with", 0.3)
        taken = feeds.take(part, runner, allowed.samples, allowed.trajectories)
        held = checks.take(part, runner, allowed.checks, allowed.trajectories)
        tell(f"comparing with torch: {part}", 0.4)
        answers = torch_outputs(source, held, module)
        exact = [runner(each) for each in held]
        self.works[part] = Work(raw, specs(model), allowed, taken, held, answers, exact)
        made = self._add(part, "fp32", graph, exact)
        tensor, figure, limit = judge(made.differences, "fp32", self.settings.tolerances)
        if not figure <= limit:
            raise_failures([Refused(part=part, precision="fp32", tensor=tensor, figure=figure, limit=limit)])
        return model

    def graphs(self) -> dict[str, dict[str, OnnxGraph]]:
        """Part → precision → graph."""
        return {part: {name: made.graph for name, made in own.items()} for part, own in self.variants.items()}

    def _add(
        self, part: str, precision: str, graph: OnnxGraph, outputs: Sequence[Mapping[str, Array]] | None = None
    ) -> Made:
        work = self.works[part]
        outputs = outputs or run_all(runnable(graph, precision), work.checks)
        made = Made(graph, compare(work.answers, outputs), same_token=same_choice(work.answers, outputs))
        self.variants.setdefault(part, {})[precision] = made
        return made

    def _halve(self, part: str, model: Model) -> None:
        """FP16; where that is not exact enough, FP16 for nothing but convolutions and matrix products."""
        work = self.works[part]
        beyond = work.beyond
        for products in (False, True):
            half = to_fp16(model, beyond, products=products)
            check(half, part)
            made = self._add(part, "fp16", self.shelf.keep(half))
            made.method = "products only" if products else None
            made.kept = tuple(node.name for node in model.graph.node if set(node.output) & set(beyond))
            tensor, figure, limit = judge(made.differences, "fp16", self.settings.tolerances)
            if figure >= limit:
                Runner(made.graph)(work.checks[0])
                return
            self.shelf.drop(made.graph)
        self.refuse(part, "fp16", tensor, figure, limit)

    def _judge(self, part: str, precision: str) -> None:
        """Drop a variant that is outside its tolerance, and note its worst tensor."""
        differences = self.variants[part][precision].differences
        tensor, figure, limit = judge(differences, precision, self.settings.tolerances)
        if not figure >= limit:
            self.refuse(part, precision, tensor, figure, limit)

    def refuse(self, part: str, precision: str, tensor: str, figure: float, limit: float) -> None:
        """Leave a variant out of the bundle, and say why in the report."""
        self.variants[part].pop(precision, None)
        self.refused.append(Refused(part=part, precision=precision, tensor=tensor, figure=figure, limit=limit))

    def quantise(self, part: str, tolerance: float, model: Model | None = None, precision: str = "int8-cpu") -> bool:
        """Make an INT8 variant of one part (again); False where there is none."""
        work = self.works[part]
        model = parse(work.source) if model is None else model
        if precision == "int8-cpu":
            model, _ = for_cpu(model, seen=self.calibration.real)
        if precision not in work.seen:
            work.seen[precision] = look(model, work.feeds, self.shelf, precision, static=self.calibration.real)
        found = self._quantised(work, model, tolerance, precision)
        before = self.variants[part].pop(precision, None)
        if before is not None:
            self.shelf.drop(before.graph)
        if isinstance(found, Refusal):
            self.refuse(part, precision, found.tensor, found.cosine, tolerance)
        if not isinstance(found, Choice):
            return False
        made = self._add(part, precision, found.graph)
        made.method, made.kept, made.ranking = found.method, found.kept, found.ranking
        self._judge(part, precision)
        return precision in self.variants[part]

    def _quantised(self, work: Work, model: Model, tolerance: float, precision: str) -> Choice | Refusal | None:
        """The graph, why there is none, or None where there is nothing to quantise."""
        settings = self.settings
        if precision == "int8-trt":
            return quantise_for_trt(
                model, work.checks, tolerance, reference=work.exact, seen=work.seen[precision], beyond=work.beyond,
                shelf=self.shelf, budget=settings.ranking_s,
            )  # fmt: skip
        return quantise(
            model, work.feeds, work.checks, tolerance, work.pace.rounds, reference=work.exact, shelf=self.shelf,
            budget=settings.ranking_s, static=self.calibration.real, seen=work.seen[precision],
        )  # fmt: skip


def _spent(seconds: float, mib: float | None) -> str:
    return f"{seconds:.0f} s" + ("" if mib is None else f", peak memory {mib:,.0f} MiB")
