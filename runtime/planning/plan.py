"""A plan: does a bundle fit on a device, which variant of each part, and how fast could it be at best?

Counted on the graphs of the bundle, which are read and hash-checked; weights that lie in files of their own are not
read. So it needs neither the device nor the package onnx, and a bundle that an older chiasm exported will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...targets import Target, TargetError, find_target, targets
from ...targets.roofline import Bound, bound, together
from ..bundle import Bundle
from ..errors import InputError
from .choose import candidates, why
from .count import Count, count_graph
from .memory import Line, Verdict, needed, ours, spare_mib, total, verdict
from .uses import TASKS, Use, idle, uses

__all__ = ["Alternative", "Plan", "PlannedPart", "TaskBound", "plan", "target_named"]


@dataclass(frozen=True)
class PlannedPart:
    """`runs` by task; `bound` of one run."""

    part: str
    precision: str
    why: str
    count: Count
    bound: Bound
    runs: Mapping[str, int]
    how: str


@dataclass(frozen=True)
class TaskBound:
    """A task: at least so many seconds, parts overlapping as well as they could."""

    task: str
    about: str
    bound: Bound


@dataclass(frozen=True)
class Alternative:
    """All parts in one precision, where they have it; `smallest`: the first target of this kind that holds it."""

    precision: str
    lacking: tuple[str, ...]
    need_mib: float
    verdict: Verdict
    smallest: str | None


@dataclass(frozen=True)
class Plan:
    """`have` and `need` are the sums; `have` None: the memory is not known. `spare_mib`: what trimming frees."""

    bundle: str
    target: Target
    verdict: Verdict
    have: tuple[Line, ...] | None
    need: tuple[Line, ...]
    spare_mib: float
    parts: tuple[PlannedPart, ...]
    tasks: tuple[TaskBound, ...]
    alternatives: tuple[Alternative, ...]
    idle: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def need_mib(self) -> float:
        """All that is needed."""
        return total(self.need)

    @property
    def have_mib(self) -> float | None:
        """All that is ours."""
        return None if self.have is None else total(self.have)


def target_named(name: str) -> Target:
    """The target of that name; InputError has the nearest names."""
    try:
        return find_target(name)
    except TargetError as error:
        raise InputError(str(error)) from error


class _Counts:
    """Counts of variants, each made once; `encoders`: parts that may run beside each other."""

    def __init__(self, bundle: Bundle) -> None:
        self.encoders = frozenset(modality.part for modality in bundle.manifest.modalities)
        self._bundle = bundle
        self._made: dict[tuple[str, str], Count] = {}

    def __call__(self, part: str, precision: str) -> Count:
        key = part, precision
        if key not in self._made:
            self._made[key] = count_graph(self._bundle.read(self._bundle.variant(part, precision).file))
        return self._made[key]


def plan(
    bundle: Bundle,
    target: Target,
    *,
    steps: int | None = None,
    fusion: str | None = None,
    precision: str = "auto",
    available_mib: float | None = None,
) -> Plan:
    """Plan a bundle for a target. `available_mib`: memory that is known to be free, in the place of the target's sum.

    `precision`: "auto", or one that every part takes which has it. Raises InputError, BundleError.
    """
    used = uses(bundle.manifest, steps, fusion)
    parts = tuple(dict.fromkeys(use.part for use in used))
    if not parts:
        raise InputError("Nothing in this bundle runs", expected="modalities, a decoder or a captioner")
    counts = _Counts(bundle)
    chosen = _chosen(bundle, target, parts, counts, precision, available_mib)
    need = needed(target, [(part, chosen[part], counts(part, chosen[part])) for part in parts], counts.encoders)
    have = ours(target, available_mib)
    planned = tuple(_planned(bundle, target, part, chosen[part], counts, used, precision) for part in parts)
    return Plan(
        bundle=f"{bundle.manifest.model.name} {bundle.manifest.model.version}",
        target=target,
        verdict=verdict(target, total(need), available_mib),
        have=None if have is None else tuple(have),
        need=tuple(need),
        spare_mib=0.0 if available_mib is not None else spare_mib(target),
        parts=planned,
        tasks=_tasks(planned),
        alternatives=_alternatives(bundle, target, parts, counts, available_mib),
        idle=idle(bundle.manifest, used),
        notes=_notes(target, planned, available_mib),
    )


def _chosen(
    bundle: Bundle, target: Target, parts: Sequence[str], counts: _Counts, asked: str, available_mib: float | None
) -> dict[str, str]:
    """The best variant of each part; while they do not fit, the exchange that saves most memory."""
    choices = {part: list(candidates(bundle.manifest.parts[part], target)) for part in parts}
    if asked != "auto":
        return _asked(bundle, target, choices, asked)
    chosen = {part: names[0] for part, names in choices.items()}
    while verdict(target, _need(target, chosen, counts), available_mib) in ("tight", "does not fit"):
        saving = {
            (part, other): counts(part, chosen[part]).weights - counts(part, other).weights
            for part, names in choices.items()
            for other in names
        }
        best = max(saving, key=lambda key: saving[key])
        if saving[best] <= 0:
            break
        chosen[best[0]] = best[1]
    return chosen


def _asked(bundle: Bundle, target: Target, choices: Mapping[str, Sequence[str]], asked: str) -> dict[str, str]:
    """Every part in the precision that was asked for, where it has it; "int8" is the target's own kind."""
    word = {"int8": "int8-cpu" if target.kind == "cpu" else "int8-trt"}.get(asked, asked)
    there = {part: [variant.precision for variant in bundle.manifest.parts[part].variants] for part in choices}
    if not any(word in names for names in there.values()):
        known = sorted({name for names in there.values() for name in names})
        raise InputError("No part has a variant of this precision", found=asked, expected=f"auto, {', '.join(known)}")
    return {part: word if word in there[part] else names[0] for part, names in choices.items()}


def _need(target: Target, chosen: Mapping[str, str], counts: _Counts) -> float:
    parts = [(part, precision, counts(part, precision)) for part, precision in chosen.items()]
    return total(needed(target, parts, counts.encoders))


def _planned(
    bundle: Bundle, target: Target, part: str, precision: str, counts: _Counts, used: Sequence[Use], asked: str
) -> PlannedPart:
    count = counts(part, precision)
    here = [use for use in used if use.part == part]
    reason = why(bundle.manifest.parts[part], target, precision) if asked == "auto" else "asked for"
    return PlannedPart(
        part=part,
        precision=precision,
        why=reason,
        count=count,
        bound=bound(target, count.operations, count.weights + count.io),
        runs={use.task: use.runs for use in here},
        how="; ".join(use.how for use in here if use.how),
    )


def _tasks(parts: Sequence[PlannedPart]) -> tuple[TaskBound, ...]:
    found = []
    for task, about in TASKS.items():
        runs = {part.part: (part.bound, part.runs[task]) for part in parts if task in part.runs}
        if runs:
            found.append(TaskBound(task, about, together(runs)))
    return tuple(found)


def _alternatives(
    bundle: Bundle, target: Target, parts: Sequence[str], counts: _Counts, available_mib: float | None
) -> tuple[Alternative, ...]:
    """One for each precision that some part has and that this kind of device runs."""
    choices = {part: candidates(bundle.manifest.parts[part], target) for part in parts}
    found = []
    for precision in dict.fromkeys(("fp32", *(name for names in choices.values() for name in names))):
        if not any(precision in names for names in choices.values()):
            continue
        chosen = {part: precision if precision in names else names[0] for part, names in choices.items()}
        need = _need(target, chosen, counts)
        found.append(
            Alternative(
                precision=precision,
                lacking=tuple(part for part, names in choices.items() if precision not in names),
                need_mib=need,
                verdict=verdict(target, need, available_mib),
                smallest=_smallest(target, chosen, counts),
            )
        )
    return tuple(sorted(found, key=lambda each: -each.need_mib))


def _smallest(target: Target, chosen: Mapping[str, str], counts: _Counts) -> str | None:
    """The first target of the same kind that holds it as it is installed."""
    for other in targets().values():
        if other.kind == target.kind and verdict(other, _need(other, chosen, counts)) == "fits":
            return other.name
    return None


def _notes(target: Target, parts: Sequence[PlannedPart], available_mib: float | None) -> tuple[str, ...]:
    notes = [f"The rates are of one of its kind. {target.about}"] if target.kind == "cpu" else []
    unknown: dict[str, Any] = {name: None for part in parts for name in part.count.unknown}
    if unknown:
        notes.append(f"Not counted, so that everything is at least as much: {', '.join(unknown)}")
    stands = {precision: target.rate(precision) for part in parts for precision in part.count.operations}
    for precision, rate in stands.items():
        if rate is not None and rate[1] != precision:
            notes.append(
                f"{precision.upper()} is counted at the rate of {rate[1].upper()}: no unit is known to be faster"
            )
    if available_mib is None:
        notes.extend(words for words in target.missing if "memory" in words)
    return tuple(notes)
