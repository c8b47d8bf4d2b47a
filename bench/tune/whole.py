"""Choices put together: inside the drop as a whole, and set beside the best single setting in one interleaved run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...runtime.backends import Session, candidates
from ...runtime.backends.ort import usable_threads
from ...runtime.errors import BackendError
from ...runtime.tuned import Choice
from .field import Opener, clock_of, words
from .judge import FP32, Cost, Judge, Kind, kind_name
from .race import Lane, Rules, beside, race
from .state import PartResult, Row, Whole

__all__ = ["Decision", "against_singles", "calm", "combine", "singles"]

Plan = dict[str, Choice]
_FEW = 4
"""How many single settings are raced, the fastest by the sum of their parts."""
_ALLOWED, _CLEAR = 1.03, 1.01


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
        cost = together({part: _kind(choice) for part, choice in plan.items()})
        movable = [part for part, rows in left.items() if any(_kind(row.choice) == FP32 for row in rows)
                   and _kind(rows[0].choice) != FP32]  # fmt: skip
        if cost.drop <= max_drop + 1e-9 or not movable:
            return plan, cost, told
        culprit = max(movable, key=lambda part: _loss(results[part], plan[part], cost.where))
        kind = _kind(plan[culprit])
        why = f"outside the drop together: loses {cost.drop:.3g} ({cost.where}), and this variant most of it"
        told.append(f"{culprit}: {words(plan[culprit])} goes back, {why}")
        for row in left[culprit]:
            if _kind(row.choice) == kind:
                row.verdict, row.why = "refused", why
        left[culprit] = [row for row in left[culprit] if row.verdict == "fit"]


def _loss(result: PartResult, choice: Choice, where: str) -> tuple[float, float]:
    """What a part's variant alone costs at a place, and how far it moves the scores."""
    name = kind_name(_kind(choice))
    return result.lost.get(name, {}).get(where, 0.0), result.shift.get(name, 0.0)


def _kind(choice: Choice) -> Kind:
    return choice.backend, choice.precision


def singles(results: Mapping[str, PartResult], parts: Sequence[str], opener: Opener) -> list[tuple[Choice, Plan]]:
    """Every single setting for all of `parts`, the fastest by the sum of measured parts first. A part that has not the
    precision runs in FP32."""
    found: list[tuple[float, Choice, Plan]] = []
    kinds = dict.fromkeys(kind for part in parts for kind in opener.kinds(part))
    for backend, precision in kinds:
        for options in candidates(usable_threads())[backend][0]:
            one = Choice(precision, backend, options.threads, options.spinning)
            rows = [_same(results[part].rows, one) for part in parts]
            costs = [row.cost for row in rows if row is not None and row.cost is not None]
            if len(costs) == len(parts):
                plan = {part: row.choice for part, row in zip(parts, rows, strict=True) if row is not None}
                found.append((sum(costs), one, plan))
    return [(one, plan) for _, one, plan in sorted(found, key=lambda each: each[0])]


def _same(rows: Sequence[Row], wanted: Choice) -> Row | None:
    """The measured row with these settings, or else the same in FP32 where the part has no such variant at all."""
    for row in rows:
        if row.choice == wanted and row.cost is not None:
            return row
    if any(_kind(row.choice) == _kind(wanted) for row in rows):
        return None
    plain = Choice("fp32", wanted.backend, wanted.threads, wanted.spinning)
    return next((row for row in rows if row.choice == plain and row.cost is not None), None)


class Decision:
    """Sessions of one plan, run one after the other as a decision with everything new does; preprocessing left out."""

    def __init__(self, opener: Opener, judge: Judge, plan: Mapping[str, Choice]) -> None:
        self._judge, manifest = judge, judge.manifest
        self._sessions = {part: opener.open(part, plan[part]) for part in judge.parts}
        self._encoders = [(each.name, self._sessions[each.part]) for each in manifest.modalities]
        self._fuse: Session | None = None
        if manifest.fusion is not None:
            self._fuse = self._sessions[manifest.fusion.kinds[manifest.fusion.default]]
            order = manifest.fusion.order
            tokens = dict(self._encoders)
            self._fused = {name: tokens[name].values["tokens"] for name in order}
            self._fused |= {
                "presence": np.ones((1, len(order)), np.float32),
                "age": np.zeros((1, len(order)), np.float32),
            }
        self._heads = [self._sessions[part] for part in dict.fromkeys(each.part for each in manifest.heads.values())]

    def run(self, index: int) -> None:
        """One decision on capture number `index`."""
        for name, session in self._encoders:
            session.run(self._judge.capture(name, index))
        if self._fuse is not None:
            state = self._fuse.run(self._fused)["state"]
            for head in self._heads:
                head.run({"state": state})

    def close(self) -> None:
        """Close every session."""
        for session in self._sessions.values():
            session.close()


def calm(plan: Plan, results: Mapping[str, PartResult], parts: Sequence[str]) -> Plan:
    """For each part its fastest fit row on one thread: threads of several sessions can stand in each other's way."""
    found = dict(plan)
    for part in parts:
        rows = [row.choice for row in results[part].rows if row.verdict == "fit" and row.choice.threads == 1]
        found[part] = rows[0] if rows else plan[part]
    return found


def against_singles(
    opener: Opener, judge: Judge, plan: Plan, results: Mapping[str, PartResult], max_drop: float, objective: str,
    rules: Rules, wall: Callable[[], float] = time.perf_counter,
) -> tuple[Plan, Whole | None, list[str]]:  # fmt: skip
    """(the plan, its calm twin or the best single setting in its place if that is faster; measured; what was said).

    Another one is taken when it is surely faster, or looks faster by more than 3 %.
    """
    rivals, told = _rivals(opener, judge, results, max_drop)
    own = [plan]
    twin = calm(plan, results, judge.parts)
    if twin != plan and judge.cost(_kinds(twin, judge.parts)).drop <= max_drop + 1e-9:
        own.append(twin)
    opener.release()
    if not rivals:
        return plan, None, told
    try:
        lanes = _raced(opener, judge, [*own, *(single for _, single in rivals)], objective, rules, wall)
    except BackendError as error:
        return plan, None, [*told, f"not set beside single settings: {error}"]
    kept = 0
    if len(own) == 2 and _faster(*beside(lanes[1], lanes[0], rules)):
        kept = 1
        told.append(f"each part's fastest on one thread was together {lanes[1].ratio:.3f} times the fastest: taken")
    best = min(range(len(own), len(lanes)), key=lambda index: beside(lanes[index], lanes[kept], rules)[0])
    one, single = rivals[best - len(own)]
    ratio, low, high = beside(lanes[best], lanes[kept], rules)
    whole = Whole(one, 1 / ratio, 1 / high, 1 / low, 1e3 * lanes[kept].seconds, 1e3 * lanes[best].seconds,
                  min(lanes[best].rounds, lanes[kept].rounds))  # fmt: skip
    if _faster(ratio, low, high):
        told.append(f"everywhere {words(one)} was faster than the parts' own choices by {whole.ratio:.3f} times: taken")
        whole.taken = True
        return {**plan, **single}, whole, told
    return own[kept], whole, told


def _faster(ratio: float, low: float, high: float) -> bool:
    """Whether what has this ratio is to be taken in another's place."""
    return ratio < 1 / _ALLOWED or (high < 1.0 and ratio < 1 / _CLEAR)


def _kinds(plan: Plan, parts: Sequence[str]) -> dict[str, Kind]:
    return {part: _kind(plan[part]) for part in parts}


def _rivals(
    opener: Opener, judge: Judge, results: Mapping[str, PartResult], max_drop: float
) -> tuple[list[tuple[Choice, Plan]], list[str]]:
    """The fastest single settings that are inside the drop, and what is to be said of others."""
    rivals: list[tuple[Choice, Plan]] = []
    told: list[str] = []
    for one, single in singles(results, judge.parts, opener):
        cost = judge.cost(_kinds(single, judge.parts))
        if cost.drop <= max_drop + 1e-9:
            rivals.append((one, single))
        else:
            told.append(f"everywhere {words(one)}: outside the drop together, {cost.drop:.3g} ({cost.where})")
        if len(rivals) == _FEW:
            break
    return rivals, told


def _raced(
    opener: Opener, judge: Judge, plans: Sequence[Plan], objective: str, rules: Rules, wall: Callable[[], float]
) -> list[Lane]:
    decisions: list[Decision] = []
    try:
        decisions.extend(Decision(opener, judge, each) for each in plans)  # those that opened are closed below
        return race([each.run for each in decisions], rules, clock_of(objective), wall)
    finally:
        for each in decisions:
            each.close()
