"""Where the variants of one export are made: traced, halved, quantised, and compared with torch as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..runtime.manifest import Manifest
from .assembly import Assembly
from .calibrate import Calibration, Feeds, part_feeds, prepare
from .graphs import check, serialise, specs
from .measure import Difference, compare
from .pack import make_manifest
from .precision import compress, to_fp16
from .report import Refused
from .sessions import Runner, run_all
from .settings import Settings
from .to_onnx import to_onnx
from .tune import Choice, Refusal, quantise
from .verify import Progress, check_feeds, judge, raise_failures, runnable, torch_outputs

__all__ = ["Made", "Workshop"]


@dataclass
class Made:
    """One variant so far: its graph, its differences from torch, and how an INT8 one came about."""

    graph: bytes
    differences: Mapping[str, Difference]
    method: str | None = None
    kept: tuple[str, ...] = ()
    milliseconds: float | None = None


@dataclass
class Workshop:
    """`variants[part][precision]` grows step by step; a refused variant is noted in `refused` and left out.

    `draft` is the manifest without variants; `feeds` set INT8 ranges, `checks` compare, `answers` are torch's on them.
    """

    assembly: Assembly
    calibration: Calibration
    settings: Settings
    progress: Progress
    models: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, dict[str, Made]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    draft: Manifest = field(init=False)
    feeds: dict[str, list[Feeds]] = field(default_factory=dict)
    checks: dict[str, list[Feeds]] = field(default_factory=dict)
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def make(self) -> None:
        """All variants of all parts. Raises `ToleranceError` when FP32 is not torch's equal."""
        self._trace()
        self._gather()
        self._check_fp32()
        if "fp16" in self.settings.precisions:
            self._halve()
        if "int8-cpu" in self.settings.precisions:
            for part in self._each("INT8 of", 0.52, 0.7):
                aim = self.settings.aims.get(self.assembly.parts[part].interface.role, 0.0)
                self.quantise(part, max(self.settings.tolerances.int8_cosine, aim))

    def graphs(self) -> dict[str, dict[str, bytes]]:
        """Part → precision → graph."""
        return {part: {name: made.graph for name, made in own.items()} for part, own in self.variants.items()}

    def _each(self, words: str, start: float, end: float) -> list[str]:
        """Part names, with the progress told before each."""
        parts = list(self.assembly.parts)

        def told() -> Any:
            for index, part in enumerate(parts):
                self.progress(f"{words} {part}", start + (end - start) * index / len(parts))
                yield part

        return told()  # type: ignore[no-any-return]

    def _trace(self) -> None:
        for part in self._each("tracing", 0.0, 0.35):
            source = self.assembly.parts[part]
            self.models[part] = to_onnx(source.load(), source.interface, part, self.settings.opset)
        found = {part: specs(model) for part, model in self.models.items()}
        self.draft = make_manifest(self.assembly, found, {}, {}, self.settings.tolerances, {})

    def _gather(self) -> None:
        """Feeds for the ranges from the calibration sets; feeds for the checks from the held-out samples."""
        self.progress("preparing captures", 0.35)
        read = self.assembly.files.__getitem__
        graphs = {part: serialise(model) for part, model in self.models.items()}
        sets = {name: list(packets)[: self.settings.samples] for name, packets in self.calibration.sets.items()}
        encoders = {name: prepare(self.draft, read, packets) for name, packets in sets.items()}
        self.progress("collecting what each part is fed with", 0.37)
        self.feeds = part_feeds(self.draft, graphs, encoders, self.settings.samples)
        self.checks = check_feeds(self.draft, read, graphs, self.calibration, self.settings.checks)

    def _check_fp32(self) -> None:
        for part in self._each("comparing with torch:", 0.4, 0.45):
            self.answers[part] = torch_outputs(self.assembly.parts[part], self.checks[part])
            made = self._add(part, "fp32", serialise(compress(self.models[part])))
            tensor, figure, limit = judge(made.differences, "fp32", self.settings.tolerances)
            if not figure <= limit:
                raise_failures([Refused(part=part, precision="fp32", tensor=tensor, figure=figure, limit=limit)])

    def _add(self, part: str, precision: str, graph: bytes) -> Made:
        outputs = run_all(runnable(graph, precision), self.checks[part])
        made = Made(graph, compare(self.answers[part], outputs))
        self.variants.setdefault(part, {})[precision] = made
        return made

    def _halve(self) -> None:
        for part in self._each("FP16 of", 0.45, 0.52):
            half = to_fp16(self.models[part])
            check(half, part)
            made = self._add(part, "fp16", serialise(half))
            Runner(made.graph)(self.checks[part][0])
            self._judge(part, "fp16")

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

    def quantise(self, part: str, tolerance: float) -> bool:
        """Make the INT8 variant of one part (again); False where there is none."""
        found = quantise(self.models[part], self.feeds[part], self.checks[part], tolerance, self.settings.rounds)
        self.variants[part].pop("int8-cpu", None)
        if isinstance(found, Refusal):
            self.refuse(part, "int8-cpu", found.tensor, found.cosine, tolerance)
        if not isinstance(found, Choice):
            return False
        made = self._add(part, "int8-cpu", found.graph)
        made.method, made.kept = found.method, found.kept
        self._judge(part, "int8-cpu")
        return "int8-cpu" in self.variants[part]
