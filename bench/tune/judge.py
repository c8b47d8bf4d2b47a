"""What a variant on a backend costs on the fused answers, for every set of present modalities.

The plan under judgement runs as the runtime would run it, one session a part; its answers are set beside those of FP32
on ONNX Runtime. With labelled samples the cost is accuracy lost: the most that any head loses on any set. Without, it
is one minus the lowest cosine of any answer. What takes no part in decisions (denoiser, picture decoder) is judged by
the cosine of its own outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...export.calibrate import Calibration, Feeds, fuse_feeds, prepare, subsets
from ...export.measure import compare, worst
from ...runtime.backends import Session
from ...runtime.bundle import Bundle
from ...runtime.values import Array
from .opener import FP32, Kind, Opener

__all__ = ["Cost", "Judge"]

_CAPTURES = 24
"""How many unlabelled captures are judged on."""
_FEWEST = 20
"""How many captures are judged on however little time there is."""
Answers = dict[str, dict[str, Array]]
"""Set of present modalities → output → (samples, …)."""


@dataclass(frozen=True)
class Cost:
    """`drop` at worst, `where`; `lost`: at every set and head (empty without labels); `shift`: the mean of the largest
    change of a score."""

    drop: float
    where: str
    lost: Mapping[str, float]
    shift: float


class Judge:
    """Judges plans (part → kind; a part that is not named is FP32) with sessions that `opener` keeps.

    Nothing is computed twice: an encoder runs once on each capture in each kind, and its session is closed after; a set
    of modalities is decided once for each choice of kinds of what is present in it. `longest`: seconds of the plan that
    took most.
    """

    def __init__(self, bundle: Bundle, calibration: Calibration, opener: Opener) -> None:
        self.manifest = bundle.manifest
        self._opener = opener
        labels = [each.labels for each in calibration.samples if each.labels]
        names = [each.name for each in self.manifest.modalities]
        held: dict[str, list[Feeds]] = {}
        for name in names:
            packets = [each.packets[name] for each in calibration.samples] or list(calibration.sets[name])[:_CAPTURES]
            held[name] = prepare(self.manifest, bundle.read, packets)
        self.count = self.given = min(len(each) for each in held.values())
        self.longest = 0.0
        self._labels, self._feeds = labels, held
        self._encoded: dict[tuple[str, Kind], list[dict[str, Array]]] = {}
        self._decided: dict[tuple[object, ...], dict[str, Array]] = {}
        self._states: dict[tuple[str, ...], list[Array]] = {}

    def limit(self, count: int) -> bool:
        """Judge on no more than so many captures, and no fewer than 20; whether that leaves any out. Only at first."""
        self.count = min(self.given, max(count, _FEWEST))
        return self.count < self.given

    @property
    def labelled(self) -> bool:
        """Whether drops are accuracy."""
        heads = self.manifest.heads.items()
        return bool(self._labels) and any(h.kind == "classes" and name in self._labels[0] for name, h in heads)

    @property
    def basis(self) -> str:
        """What it judges on, in words."""
        if self.labelled:
            return f"accuracy lost on {self._number} labelled samples, on the worst set of modalities and head"
        return f"1 - the lowest cosine with FP32 on {self._number} unlabelled captures: no labelled samples are there"

    @property
    def _number(self) -> str:
        return f"{self.count}" if self.count == self.given else f"{self.count} of {self.given}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that decisions go through."""
        names = [each.part for each in self.manifest.modalities]
        if self.manifest.fusion is not None:
            names.append(self.manifest.fusion.kinds[self.manifest.fusion.default])
        return tuple(dict.fromkeys([*names, *(head.part for head in self.manifest.heads.values())]))

    def capture(self, modality: str, index: int) -> Feeds:
        """Prepared capture number `index` of a modality, modulo how many there are."""
        return self._feeds[modality][index % self.count]

    def cost(self, plan: Mapping[str, Kind]) -> Cost:
        """What a plan costs. Raises BackendError when a part of it cannot be opened or run."""
        start = self._opener.wall()
        found = self._compare(self._answers({}), self._answers(plan))
        self.longest = max(self.longest, self._opener.wall() - start)
        return found

    def alone(self, part: str, kind: Kind, feeds: Sequence[Feeds]) -> Cost:
        """What one part costs when all others are FP32; `feeds` are its own, for one outside decisions."""
        if part in self.parts:
            return self.cost({part: kind})
        made = []
        for each in (FP32, kind):
            (session,) = self._opener.judged((part, each))
            made.append(self._runs(session, feeds, (part, each)))
        self._opener.drop(part, kind)
        name, cosine = worst(compare(*made), by="cosine")
        return Cost(1 - cosine, f"output {name}", {}, 1 - cosine)

    def _answers(self, plan: Mapping[str, Kind]) -> Answers:
        kinds = {part: plan.get(part, FP32) for part in self.parts}
        encoders = {each.name: each.part for each in self.manifest.modalities}
        if self.manifest.fusion is None:
            made = {name: self._encode(name, part, kinds[part]) for name, part in encoders.items()}
            return {name: {"embedding": np.array([each["embedding"] for each in rows])} for name, rows in made.items()}
        later = tuple(kind for part, kind in kinds.items() if part not in encoders.values())
        found: Answers = {}
        for present in subsets(self.manifest.fused.order):
            key = (present, tuple(kinds[encoders[name]] for name in present), later)
            if key not in self._decided:
                self._decided[key] = self._decide(present, kinds)
            found["+".join(present)] = self._decided[key]
        return found

    def _decide(self, present: tuple[str, ...], kinds: Mapping[str, Kind]) -> dict[str, Array]:
        """All heads' answers to every capture of these modalities; what is absent is not asked for."""
        parts = self._head_parts
        rows: list[dict[str, Array]] = [{} for _ in range(self.count)]
        states = self._fuse(present, kinds)
        for part, head in zip(parts, self._opener.judged(*((part, kinds[part]) for part in parts)), strict=True):
            answers = self._runs(head, [{"state": state} for state in states], (part, kinds[part]))
            for row, answer in zip(rows, answers, strict=True):
                row.update({name: value[0] for name, value in answer.items()})
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _fuse(self, present: tuple[str, ...], kinds: Mapping[str, Kind]) -> list[Array]:
        """States; those of FP32 throughout are kept, for heads in other kinds."""
        manifest = self.manifest
        fusion = manifest.fused.kinds[manifest.fused.default]
        read = {each.name: each.part for each in manifest.modalities if each.name in present}
        plain = all(kinds[part] == FP32 for part in (fusion, *read.values()))
        if plain and present in self._states:
            return self._states[present]
        tokens = {name: self._encode(name, part, kinds[part]) for name, part in read.items()}
        feeds = [fuse_feeds(manifest, {name: made[at]["tokens"] for name, made in tokens.items()}, present, {})
                 for at in range(self.count)]  # fmt: skip
        (session,) = self._opener.judged((fusion, kinds[fusion]))
        states = [each["state"] for each in self._runs(session, feeds, (fusion, kinds[fusion]))]
        if plain:
            self._states[present] = states
        return states

    @property
    def _head_parts(self) -> list[str]:
        return list(dict.fromkeys(head.part for head in self.manifest.heads.values()))

    def _encode(self, modality: str, part: str, kind: Kind) -> list[dict[str, Array]]:
        if (modality, kind) not in self._encoded:
            (session,) = self._opener.judged((part, kind))
            feeds = self._feeds[modality][: self.count]
            self._encoded[modality, kind] = self._runs(session, feeds, (part, kind))
            if sum(each.part == part for each in self.manifest.modalities) == 1:
                self._opener.drop(part, kind)
        return self._encoded[modality, kind]

    def _runs(self, session: Session, feeds: Sequence[Feeds], which: tuple[str, Kind]) -> list[dict[str, Array]]:
        """Outputs on every feed; the median of the times stands for all where time is planned."""
        made, times, wall = [], [], self._opener.wall
        for feed in feeds:
            before = wall()
            made.append({name: value.copy() for name, value in session.run(feed).items()})
            times.append(wall() - before)
        self._opener.running[which] = float(np.median(times)) if times else 0.0
        return made

    def _compare(self, reference: Answers, other: Answers) -> Cost:
        shifts = [np.abs(value - other[at][name]).reshape(self.count, -1).max(axis=1).mean()
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
            truth = np.array([head.labels.index(each[name]) for each in self._labels[: self.count]])
            for at, outputs in answers.items():
                shares = outputs[head.output]
                good = np.isfinite(shares).all(axis=1) & (np.nan_to_num(shares).argmax(axis=1) == truth)
                found[f"{name} with {at}"] = float(good.mean())
        return found
