"""Plans of all parts: their own choices put together inside the drop, and the single settings that they are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...runtime.backends import candidates
from ...runtime.backends.ort import usable_threads
from ...runtime.tuned import Choice
from .judge import Cost
from .opener import FP32, Kind, Opener, kind_name, kind_of
from .ranking import words
from .state import REFERENCE, PartResult, Row

__all__ = ["Plan", "calm", "combine", "kinds_of", "milliseconds", "singles"]

Plan = dict[str, Choice]


def combine(
    results: Mapping[str, PartResult], together: Callable[[Mapping[str, Kind]], Cost], max_drop: float
) -> tuple[Plan, Cost, list[str]]:
    """(part → the first of its rows that keeps the whole inside the drop, what that costs, what went back and why).

    While the whole is outside, the part whose variant alone loses most where the whole loses most goes back to its next
    fit row of another variant; on a device there is nothing but the variants that the bundle has. FP32 on ONNX Runtime
    is fit for every part, so this ends.
    """
    left = {part: [row for row in result.rows if row.verdict == "fit"] for part, result in results.items()}
    told: list[str] = []
    while True:
        plan = {part: rows[0].choice for part, rows in left.items()}
        cost = together({part: kind_of(choice) for part, choice in plan.items()})
        movable = [part for part, rows in left.items() if any(kind_of(row.choice) == FP32 for row in rows)
                   and kind_of(rows[0].choice) != FP32]  # fmt: skip
        if cost.drop <= max_drop + 1e-9 or not movable:
            return plan, cost, told
        culprit = max(movable, key=lambda part: _loss(results[part], plan[part], cost.where))
        kind = kind_of(plan[culprit])
        why = f"outside the drop together: loses {cost.drop:.3g} ({cost.where}), and this variant most of it"
        told.append(f"{culprit}: {words(plan[culprit])} goes back, {why}")
        for row in left[culprit]:
            if kind_of(row.choice) == kind:
                row.verdict, row.why = "refused", why
        left[culprit] = [row for row in left[culprit] if row.verdict == "fit"]


def _loss(result: PartResult, choice: Choice, where: str) -> tuple[float, float]:
    """What a part's variant alone costs at a place, and how far it moves the scores."""
    name = kind_name(kind_of(choice))
    return result.lost.get(name, {}).get(where, 0.0), result.shift.get(name, 0.0)


def singles(results: Mapping[str, PartResult], parts: Sequence[str], opener: Opener) -> list[tuple[Choice, Plan]]:
    """Every single setting for all of `parts`, the fastest by the sum of measured parts first. A part that has not the
    precision runs in FP32."""
    found: list[tuple[float, Choice, Plan]] = []
    kinds = dict.fromkeys(kind for part in parts for kind in opener.kinds(part))
    for backend, precision in kinds:
        for options in candidates(usable_threads())[backend][0]:
            one = Choice(precision, backend, options.threads, options.spinning)
            rows = [_same(results[part].rows, one) for part in parts]
            plan = {part: row.choice for part, row in zip(parts, rows, strict=True) if row is not None}
            if len(plan) == len(parts):
                found.append((milliseconds(plan, results, parts), one, plan))
    return [(one, plan) for _, one, plan in sorted(found, key=lambda each: each[0])]


def _same(rows: Sequence[Row], wanted: Choice) -> Row | None:
    """The measured row with these settings, or else the same in FP32 where the part has no such variant at all."""
    for row in rows:
        if row.choice == wanted and row.cost is not None:
            return row
    if any(kind_of(row.choice) == kind_of(wanted) for row in rows):
        return None
    plain = Choice("fp32", wanted.backend, wanted.threads, wanted.spinning)
    return next((row for row in rows if row.choice == plain and row.cost is not None), None)


def calm(plan: Plan, results: Mapping[str, PartResult], parts: Sequence[str]) -> Plan:
    """For each part its fastest fit row on one thread: threads of several sessions can stand in each other's way."""
    found = dict(plan)
    for part in parts:
        rows = [row.choice for row in results[part].rows if row.verdict == "fit" and row.choice.threads == 1]
        found[part] = rows[0] if rows else plan[part]
    return found


def kinds_of(plan: Plan, parts: Sequence[str]) -> dict[str, Kind]:
    """What the answers of those parts depend on."""
    return {part: kind_of(plan[part]) for part in parts}


def milliseconds(plan: Plan, results: Mapping[str, PartResult], parts: Sequence[str]) -> float:
    """What a decision takes by this plan, by each part's ratio to its reference; a part not measured counts nothing."""
    whole = 0.0
    for part in parts:
        row = next((row for row in results[part].rows if row.choice == plan[part]), None)
        reference = next((row for row in results[part].rows if row.why == REFERENCE), None)
        if row is not None and row.ratio is not None:
            whole += row.ratio * (1.0 if reference is None or reference.cost is None else reference.cost)
    return whole
