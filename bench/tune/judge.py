"""What a variant on a backend costs on the fused answers, for every set of present modalities.

The plan under judgement runs as the runtime would run it, one session a part; its answers are set beside those of FP32
on ONNX Runtime. With labelled samples the cost is accuracy lost: the most that any head loses on any set. Without, it
is one minus the lowest cosine of any answer. What takes no part in decisions (denoiser, picture decoder) is judged by
the cosine of its own outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...export.calibrate import Calibration, Feeds, fuse_feeds, prepare, subsets
from ...export.measure import compare, worst
from ...runtime.backends import Session
from ...runtime.bundle import Bundle
from ...runtime.values import Array

__all__ = ["FP32", "Cost", "Judge", "Kind", "kind_name"]

Kind = tuple[str, str]
"""(backend, precision): what an answer depends on; threads and the like change no more than rounding."""
FP32: Kind = ("ort", "fp32")
_CAPTURES = 24
"""How many unlabelled captures are judged on."""
Answers = dict[str, dict[str, Array]]
"""Set of present modalities → output → (samples, …)."""


def kind_name(kind: Kind) -> str:
    """As a key of a report."""
    return " ".join(kind)


@dataclass(frozen=True)
class Cost:
    """`drop` at worst, `where`; `lost`: at every set and head (empty without labels); `shift`: the mean of the largest
    change of a score."""

    drop: float
    where: str
    lost: Mapping[str, float]
    shift: float


class Judge:
    """Judges plans (part → kind; a part that is not named is FP32). `open_part` gives a session of a part in a kind."""

    def __init__(
        self, bundle: Bundle, calibration: Calibration, open_part: Callable[[str, Kind], Session]
    ) -> None:  # fmt: skip
        self.manifest = bundle.manifest
        self._open = open_part
        self._labels = [each.labels for each in calibration.samples if each.labels]
        names = [each.name for each in self.manifest.modalities]
        held: dict[str, list[Feeds]] = {}
        for name in names:
            packets = [each.packets[name] for each in calibration.samples] or list(calibration.sets[name])[:_CAPTURES]
            held[name] = prepare(self.manifest, bundle.read, packets)
        self._count = min(len(each) for each in held.values())
        self._feeds = held
        self._encoded: dict[tuple[str, Kind], list[dict[str, Array]]] = {}
        self._reference: Answers | None = None

    @property
    def labelled(self) -> bool:
        """Whether drops are accuracy."""
        heads = self.manifest.heads.items()
        return bool(self._labels) and any(h.kind == "classes" and name in self._labels[0] for name, h in heads)

    @property
    def basis(self) -> str:
        """What it judges on, in words."""
        if self.labelled:
            return f"accuracy lost on {self._count} labelled samples, on the worst set of modalities and head"
        return f"1 - the lowest cosine with FP32 on {self._count} unlabelled captures: no labelled samples are there"

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that decisions go through."""
        names = [each.part for each in self.manifest.modalities]
        if self.manifest.fusion is not None:
            names.append(self.manifest.fusion.kinds[self.manifest.fusion.default])
        return tuple(dict.fromkeys([*names, *(head.part for head in self.manifest.heads.values())]))

    def capture(self, modality: str, index: int) -> Feeds:
        """Prepared capture number `index` of a modality, modulo how many there are."""
        return self._feeds[modality][index % self._count]

    def cost(self, plan: Mapping[str, Kind]) -> Cost:
        """What a plan costs. Raises BackendError when a part of it cannot be opened or run."""
        if self._reference is None:
            self._reference = self._answers({})
        return self._compare(self._reference, self._answers(plan))

    def alone(self, part: str, kind: Kind, feeds: Sequence[Feeds]) -> Cost:
        """What one part costs when all others are FP32; `feeds` are its own, for one outside decisions."""
        if part in self.parts:
            return self.cost({part: kind})
        made = [_runs(self._open(part, each), feeds) for each in (FP32, kind)]
        name, cosine = worst(compare(*made), by="cosine")
        return Cost(1 - cosine, f"output {name}", {}, 1 - cosine)

    def _answers(self, plan: Mapping[str, Kind]) -> Answers:
        tokens = [
            {each.name: self._encode(each.name, each.part, plan.get(each.part, FP32))[index]
             for each in self.manifest.modalities}
            for index in range(self._count)
        ]  # fmt: skip
        if self.manifest.fusion is None:
            return {name: {"embedding": np.array([each[name]["embedding"] for each in tokens])} for name in tokens[0]}
        fusion = self.manifest.fusion.kinds[self.manifest.fusion.default]
        fuse = self._open(fusion, plan.get(fusion, FP32))
        heads = {part: self._open(part, plan.get(part, FP32)) for part in self._head_parts}
        found: Answers = {}
        for present in subsets(self.manifest.fused.order):
            rows = []
            for sample in tokens:
                given = {name: each["tokens"] for name, each in sample.items()}
                state = fuse.run(fuse_feeds(self.manifest, given, present, {}))["state"]
                rows.append({name: value[0].copy() for head in heads.values()
                             for name, value in head.run({"state": state}).items()})  # fmt: skip
            found["+".join(present)] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return found

    @property
    def _head_parts(self) -> list[str]:
        return list(dict.fromkeys(head.part for head in self.manifest.heads.values()))

    def _encode(self, modality: str, part: str, kind: Kind) -> list[dict[str, Array]]:
        if (modality, kind) not in self._encoded:
            self._encoded[modality, kind] = _runs(self._open(part, kind), self._feeds[modality][: self._count])
        return self._encoded[modality, kind]

    def _compare(self, reference: Answers, other: Answers) -> Cost:
        shifts = [np.abs(value - other[at][name]).reshape(self._count, -1).max(axis=1).mean()
                  for at, answers in reference.items() for name, value in answers.items()]  # fmt: skip
        shift = float(np.mean(shifts)) if np.isfinite(shifts).all() else float("inf")
        if not self.labelled:
            pairs = {f"{name} with {at}": (list(value), list(other[at][name]))
                     for at, answers in reference.items() for name, value in answers.items()}  # fmt: skip
            cosines = {at: compare([{"": v} for v in a], [{"": v} for v in b])[""].cosine
                       for at, (a, b) in pairs.items()}  # fmt: skip
            where = min(cosines, key=lambda at: cosines[at])
            return Cost(1 - cosines[where], where, {at: 1 - each for at, each in cosines.items()}, shift)
        right, now = self._right(reference), self._right(other)
        lost = {at: right[at] - now[at] for at in right}
        where = max(lost, key=lambda at: lost[at])
        return Cost(lost[where], where, lost, shift)

    def _right(self, answers: Answers) -> dict[str, float]:
        """Share of right labels by head and set; an answer with NaN is never right."""
        found = {}
        for name, head in self.manifest.heads.items():
            if head.kind != "classes" or name not in self._labels[0]:
                continue
            truth = np.array([head.labels.index(each[name]) for each in self._labels])
            for at, outputs in answers.items():
                shares = outputs[head.output]
                good = np.isfinite(shares).all(axis=1) & (np.nan_to_num(shares).argmax(axis=1) == truth)
                found[f"{name} with {at}"] = float(good.mean())
        return found


def _runs(session: Session, feeds: Sequence[Feeds]) -> list[dict[str, Array]]:
    return [{name: value.copy() for name, value in session.run(feed).items()} for feed in feeds]
