"""The whole of `chiasm tune`: part by part, then together, then beside the best single setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from ...export.calibrate import Calibration, Feeds, parts_in_order
from ...export.sessions import Runner
from ...export.verify import check_feeds
from ...runtime.bundle import Bundle
from ...runtime.errors import ExportError, InputError
from ...runtime.manifest import Manifest
from ...runtime.sinks import write_file
from ...runtime.tuned import Choice, Tuned, basis_of, encode, tuned_folder
from .field import Field, Opener
from .judge import Judge
from .race import Rules
from .state import PartResult, Progress, Whole, Wish, partial_file, resume, save
from .whole import against_singles, combine

__all__ = ["OBJECTIVES", "Finding", "default_out", "tune"]

OBJECTIVES = ("latency", "p99", "throughput", "memory")
_FEEDS = 8
_WHOLE = 0.2
"""Share of the budget for the run beside single settings."""
_HEATS = 2


@dataclass(frozen=True)
class Finding:
    """What was chosen and all that was measured. `cost`: drop of the whole and where; `notes`: what to know of it."""

    tuned: Tuned
    parts: Mapping[str, PartResult]
    whole: Whole | None
    drop: float
    where: str
    judged: str
    notes: Sequence[str]


def default_out(bundle: Bundle) -> Path:
    """tuned/<key>.json beside the bundle, or under CHIASM_TUNED."""
    return tuned_folder(bundle.path) / f"{basis_of(bundle).key}.json"


def tune(
    bundle: Bundle,
    calibration: Calibration,
    wish: Wish,
    out: Path,
    progress: Callable[[str, float], object] = lambda title, share: None,
) -> Finding:
    """Measure, choose, and write `out`. An interrupted run goes on after the last part that it finished."""
    _check(wish, bundle.manifest)
    basis = basis_of(bundle)
    state = resume(out, basis, wish)
    opener = Opener(bundle)
    try:
        judge = Judge(bundle, calibration, opener.judged)
        notes = [*calibration.notes, *(f"backend {name} is not here: {why}" for name, why in opener.absent.items())]
        rules = _rules(wish, len(_wanted(bundle.manifest)))
        field = Field(opener, judge, wish, rules)
        notes += _measure_parts(field, bundle, calibration, state, out, progress)
        progress("all parts together", 0.85)
        plan, cost, told = combine(state.parts, judge.cost, wish.max_drop)
        notes += told
        whole = None
        if wish.objective != "memory":
            progress("beside single settings", 0.9)
            last = replace(rules, seconds=_WHOLE * wish.budget_s)
            plan, whole, told = against_singles(opener, judge, plan, state.parts, wish.max_drop, wish.objective, last)
            notes += told
            cost = judge.cost({part: (choice.backend, choice.precision) for part, choice in plan.items()})
    finally:
        opener.close()
    evidence = {"judged": judge.basis, "drop": cost.drop, "where": cost.where, "whole": whole, "parts": state.parts,
                "notes": notes, "wish": wish}  # fmt: skip
    tuned = _written(basis, wish, plan, evidence)
    write_file(out, encode(tuned))
    partial_file(out).unlink(missing_ok=True)
    return Finding(tuned, state.parts, whole, cost.drop, cost.where, judge.basis, notes)


def _written(basis: Any, wish: Wish, plan: dict[str, Choice], evidence: Mapping[str, object]) -> Tuned:
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Tuned(basis, wish.objective, wish.max_drop, when, plan, msgspec.Raw(msgspec.json.encode(evidence)))


def _check(wish: Wish, manifest: Manifest) -> None:
    if wish.objective not in OBJECTIVES:
        raise InputError("No such objective", found=wish.objective, expected=", ".join(OBJECTIVES))
    if not 0.0 <= wish.max_drop <= 1.0:
        raise InputError("Not a drop", found=wish.max_drop, expected="0 to 1, as 0.01 for one point of accuracy")
    for name, part in manifest.parts.items():
        if all(each.precision != "fp32" for each in part.variants):
            raise InputError(f"Part {name} has no FP32 variant to compare with", fix="Export the bundle with fp32")


def _rules(wish: Wish, parts: int) -> Rules:
    """A race's share of the budget; tails need more rounds before they say anything."""
    seconds = (1 - _WHOLE) * wish.budget_s / (max(1, parts) * _HEATS)
    if wish.objective == "p99":
        return Rules(rounds=1000, fewest=100, look=50, seconds=seconds, error=0.05, quantile=0.99)
    return Rules(seconds=seconds)


def _wanted(manifest: Manifest) -> list[str]:
    """The parts that are tuned: those of decisions and of the decoder, of fusion only the default kind."""
    kinds = {} if manifest.fusion is None else manifest.fusion.kinds
    other = {part for kind, part in kinds.items() if manifest.fusion is not None and kind != manifest.fusion.default}
    return [part for part in parts_in_order(manifest) if part not in other]


def _measure_parts(
    field: Field, bundle: Bundle, calibration: Calibration, state: Progress, out: Path,
    progress: Callable[[str, float], object],
) -> list[str]:  # fmt: skip
    """Fill `state`, saving it after each part; what could not be tuned, and why."""
    wanted, notes = _wanted(bundle.manifest), []
    source = check_feeds(bundle.manifest, bundle.read, calibration, _FEEDS)
    for index, part in enumerate(wanted):
        try:
            feeds: list[Feeds] = source.take(part, _runner(bundle, part), _FEEDS)
        except ExportError as error:
            notes.append(f"{part} is not tuned: {error}")
            continue
        if part in state.parts:
            continue

        def advance(share: float, part: str = part, index: int = index) -> None:
            progress(f"measuring {part}", 0.85 * (index + share) / len(wanted))

        advance(0.0)
        state.parts[part] = field.measure(part, feeds, advance)
        save(state, out)
    notes += [
        f"{part}: {name} is not run by any backend here" for part in state.parts for name in field.opener.unrun(part)
    ]
    rest = [part for part in bundle.manifest.parts if part not in state.parts]
    return [*notes, f"run as without tuning: {', '.join(rest)}"] if rest else notes


def _runner(bundle: Bundle, part: str) -> Runner:
    return Runner(bundle.graph(part, "fp32"))
