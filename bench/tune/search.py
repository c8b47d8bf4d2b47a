"""The whole of `chiasm tune`: part by part, then together, then beside the best single setting."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from ...export.calibrate import Calibration
from ...runtime.bundle import Bundle
from ...runtime.errors import InputError
from ...runtime.manifest import Manifest
from ...runtime.sinks import write_file
from ...runtime.tuned import Choice, Tuned, basis_of, encode, tuned_folder
from .budget import Budget
from .field import Field
from .judge import Judge
from .opener import Opener
from .plans import combine, kinds_of
from .race import Rules
from .stages import Advance, collect, judge_parts, race_parts
from .state import PartResult, Progress, Whole, Wish, partial_file, resume, save
from .whole import against_singles

__all__ = ["OBJECTIVES", "Finding", "default_out", "tune"]

OBJECTIVES = ("latency", "p99", "throughput", "memory")


@dataclass(frozen=True)
class Finding:
    """What was chosen and all that was measured. `cost`: drop of the whole and where; `notes`: what to know of it;
    `short`: what the budget was too small for, and what would do; `seconds`: that it took."""

    tuned: Tuned
    parts: Mapping[str, PartResult]
    whole: Whole | None
    drop: float
    where: str
    judged: str
    notes: Sequence[str]
    short: str | None
    seconds: float


def default_out(bundle: Bundle) -> Path:
    """tuned/<key>.json beside the bundle, or under CHIASM_TUNED."""
    return tuned_folder(bundle.path) / f"{basis_of(bundle).key}.json"


def tune(
    bundle: Bundle,
    calibration: Calibration,
    wish: Wish,
    out: Path,
    progress: Advance = lambda title, share: None,
    budget: Budget | None = None,
) -> Finding:
    """Measure, choose, and write `out`, within the wish's time; `budget` is that time when some of it is spent already.

    An interrupted run goes on where it was, with a budget of its own.
    """
    _check(wish, bundle.manifest)
    basis, budget = basis_of(bundle), budget or Budget(wish.budget_s)
    state = resume(out, basis, wish)
    opener = Opener(bundle, budget.wall)
    try:
        judge = Judge(bundle, calibration, opener)
        notes = [
            *calibration.notes,
            *_busy(basis.cores),
            *(f"backend {name} is not here: {why}" for name, why in opener.absent.items()),
        ]
        rules = _rules(wish)
        field = Field(opener, judge, wish, rules, budget)
        notes += _measure(field, bundle, calibration, state, out, progress)
        progress("all parts together", 0.82)
        plan, cost, told = combine(state.parts, judge.cost, wish.max_drop)
        notes += told
        whole = None
        if wish.objective != "memory":
            progress("beside single settings", 0.85)
            plan, whole, told = against_singles(
                opener, judge, plan, state.parts, wish.max_drop, wish.objective, rules, budget
            )
            notes += told
            cost = judge.cost(kinds_of(plan, judge.parts))
    finally:
        opener.close()
    found = Finding(
        _empty(basis, wish, plan), state.parts, whole, cost.drop, cost.where, judge.basis, notes, budget.verdict(),
        round(budget.spent, 1),
    )  # fmt: skip
    return _written(found, wish, out)


def _busy(cores: int) -> list[str]:
    """What is to be said where others computed when this began; in turns or not, intervals are wider then."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return [f"this machine was busy when this began: a load of {load:.1f} on {cores} cores"] if load > cores / 2 else []


def _measure(
    field: Field, bundle: Bundle, calibration: Calibration, state: Progress, out: Path, progress: Advance
) -> list[str]:
    """Fill `state`, saving it after each step; what could not be tuned, and why."""
    feeds, notes = collect(field, bundle, calibration, state, progress)
    judge_parts(field, feeds, state, out, progress)
    race_parts(field, feeds, state, out, progress)
    save(state, out)
    notes += [f"{part}: {name} is not run by any backend here" for part in feeds for name in field.opener.unrun(part)]
    rest = [part for part in bundle.manifest.parts if part not in state.parts]
    return [*notes, f"run as without tuning: {', '.join(rest)}"] if rest else notes


def _empty(basis: Any, wish: Wish, plan: dict[str, Choice]) -> Tuned:
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Tuned(basis, wish.objective, wish.max_drop, when, plan)


def _written(found: Finding, wish: Wish, out: Path) -> Finding:
    """The same with its evidence, in `out`; what an interrupted run would have gone on from is gone."""
    evidence = {"judged": found.judged, "drop": found.drop, "where": found.where, "whole": found.whole,
                "parts": found.parts, "notes": found.notes, "short": found.short, "seconds": found.seconds,
                "wish": wish}  # fmt: skip
    tuned = msgspec.structs.replace(found.tuned, evidence=msgspec.Raw(msgspec.json.encode(evidence)))
    write_file(out, encode(tuned))
    partial_file(out).unlink(missing_ok=True)
    return replace(found, tuned=tuned)


def _check(wish: Wish, manifest: Manifest) -> None:
    if wish.objective not in OBJECTIVES:
        raise InputError("No such objective", found=wish.objective, expected=", ".join(OBJECTIVES))
    if not 0.0 <= wish.max_drop <= 1.0:
        raise InputError("Not a drop", found=wish.max_drop, expected="0 to 1, as 0.01 for one point of accuracy")
    for name, part in manifest.parts.items():
        if all(each.precision != "fp32" for each in part.variants):
            raise InputError(f"Part {name} has no FP32 variant to compare with", fix="Export the bundle with fp32")


def _rules(wish: Wish) -> Rules:
    """Tails need more rounds before they say anything."""
    if wish.objective == "p99":
        return Rules(rounds=1000, fewest=100, error=0.05, quantile=0.99)
    return Rules()
