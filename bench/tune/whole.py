"""The plan of the parts' own choices beside the best single setting, in one interleaved run of whole decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...runtime.errors import BackendError
from ...runtime.tuned import Choice
from .budget import Budget
from .decision import Ring
from .field import clock_of
from .judge import Judge
from .opener import Opener
from .plans import Plan, calm, kinds_of, milliseconds, singles
from .race import Lane, Rules, beside
from .ranking import words
from .state import PartResult, Whole

__all__ = ["against_singles", "need"]

_FEW = 4
"""How many single settings are raced, the fastest by the sum of their parts."""
_ALLOWED, _CLEAR = 1.03, 1.01
_HEAT = 0.5
"""Share of the time in which the best of them is found; the rest is for the last two."""
_ROUNDS = 6
"""Rounds, warm-up included, without which a plan is not raced."""
_FINAL = 30
"""Rounds of the last two, for planning."""


@dataclass
class _Heat:
    """Plans that were raced beside plan number 0, each once: ratios to it, with intervals; and milliseconds."""

    plans: list[Plan]
    ratios: dict[int, tuple[float, float, float]] = field(default_factory=lambda: {0: (1.0, 1.0, 1.0)})
    ms: dict[int, tuple[float, int]] = field(default_factory=dict)

    def number(self, plan: Plan) -> int | None:
        """Which plan that is, if it was raced."""
        return next((index for index in self.ratios if self.plans[index] == plan), None)


def need(results: Mapping[str, PartResult], judge: Judge, rules: Rules) -> float:
    """Seconds that the runs of whole decisions take when nothing is cut short."""
    opening = decision = 0.0
    for part in judge.parts:
        known = results[part].seconds.values()
        opening += (_FEW + 1) * max((seconds for seconds, _ in known), default=0.0)
        decision += min((run for _, run in known), default=0.0)
    enough = (_FEW + 2) * (rules.fewest + 2) + 2 * _FINAL
    return _FEW * judge.longest + opening + max(enough * decision, min((_FEW + 4) * rules.rounds * decision, 1.0))


def against_singles(
    opener: Opener, judge: Judge, plan: Plan, results: Mapping[str, PartResult], max_drop: float, objective: str,
    rules: Rules, budget: Budget,
) -> tuple[Plan, Whole | None, list[str]]:  # fmt: skip
    """(the plan, its calm twin or the best single setting in its place if that is faster; measured; what was said).

    First the twin and the single settings run beside the plan; then, with the time that is left, the better of plan and
    twin alone beside the best single setting. That is taken when it is surely faster, or looks faster by more than 3 %.
    """
    rivals, told = _rivals(opener, judge, results, max_drop, budget)
    own = {part: plan[part] for part in judge.parts}
    twin = calm(own, results, judge.parts)
    opener.release()
    if not rivals:
        return plan, None, told
    twins = [twin] if judge.cost(kinds_of(twin, judge.parts)).drop <= max_drop + 1e-9 else []
    opener.release()
    plans = [own]
    for each in [*(single for _, single in rivals), *twins]:
        if each not in plans:
            plans.append(each)
    ring = Ring(opener, judge, budget, clock_of(objective))
    try:
        found = _heat(ring, _Heat(plans), results, judge.parts, rules, budget)
        kept, whole, more = _final(ring, found, rivals, twins, rules, budget)
    except BackendError as error:
        return plan, None, [*told, f"not set beside single settings: {error}"]
    finally:
        ring.close()
    return {**plan, **kept}, whole, [*told, *more]


def _heat(
    ring: Ring, found: _Heat, results: Mapping[str, PartResult], parts: Sequence[str], rules: Rules, budget: Budget
) -> _Heat:
    """Race all beside plan 0, so many at a time as memory has room for, and as many as there is time for."""
    plans, waiting = found.plans, list(range(1, len(found.plans)))
    end = budget.wall() + _HEAT * budget.left
    while waiting:
        group: list[int] = []
        for each in waiting:
            trial = [plans[index] for index in (0, *group, each)]
            seconds = ring.opening(trial) + _ROUNDS * 1e-3 * sum(milliseconds(p, results, parts) for p in trial)
            if (group and ring.size(trial) > ring.room) or budget.wall() + seconds > end:
                break
            group.append(each)
        if not group:
            budget.cut("not run beside the parts' own choices", f"{len(waiting)} of {len(plans) - 1} plans")
            break
        until = budget.wall() + (end - budget.wall()) * len(group) / len(waiting)
        lanes = ring.race([plans[index] for index in (0, *group)], rules, until)
        for index, lane in zip(group, lanes[1:], strict=True):
            found.ratios[index] = beside(lane, lanes[0], rules)
            found.ms[index] = 1e3 * lane.seconds, lane.rounds
        found.ms[0] = 1e3 * lanes[0].seconds, lanes[0].rounds
        waiting = waiting[len(group) :]
    if not found.ms:  # nobody else is there, or there is no time: what it takes all the same
        (lane,) = ring.race([plans[0]], replace(rules, rounds=1), end)
        found.ms[0] = 1e3 * lane.seconds, lane.rounds
    return found


def _final(
    ring: Ring, found: _Heat, rivals: Sequence[tuple[Choice, Plan]], twins: Sequence[Plan], rules: Rules, budget: Budget
) -> tuple[Plan, Whole | None, list[str]]:
    """The better of plan and twin beside the best single setting, alone."""
    told: list[str] = []
    kept = 0
    twin = next((number for each in twins if (number := found.number(each)) is not None), 0)
    if twin and _faster(*found.ratios[twin]):
        kept = twin
        ratio = found.ratios[twin][0]
        told.append(f"each part's fastest on one thread was together {ratio:.3f} times the fastest: taken")
    raced = [(number, one) for one, single in rivals if (number := found.number(single)) is not None]
    if not raced:
        return found.plans[kept], None, [*told, "not set beside single settings: no time was left"]
    best, one = min(raced, key=lambda each: found.ratios[each[0]][0])
    if best == kept:
        ms, rounds = found.ms[best]
        return found.plans[kept], Whole(one, 1.0, 1.0, 1.0, ms, ms, rounds, same=True, rivals=len(raced)), told
    lanes = ring.race([found.plans[kept], found.plans[best]], rules, budget.wall() + budget.left)
    if min(lane.rounds for lane in lanes) < rules.fewest:
        budget.cut(f"fewer than {rules.fewest} rounds", "the plan beside the best single setting")
    whole, taken = _compared(one, lanes, rules, len(raced))
    if taken:
        told.append(f"everywhere {words(one)} was faster than the parts' own choices by {whole.ratio:.3f} times: taken")
    return found.plans[best if taken else kept], whole, told


def _compared(one: Choice, lanes: Sequence[Lane], rules: Rules, rivals: int) -> tuple[Whole, bool]:
    """What the last two lanes, the plan's and the single setting's, come to."""
    ratio, low, high = beside(lanes[1], lanes[0], rules)
    taken = _faster(ratio, low, high)
    own, single = (1e3 * lane.seconds for lane in lanes)
    rounds = min(lane.rounds for lane in lanes)
    return Whole(one, 1 / ratio, 1 / high, 1 / low, own, single, rounds, taken, rivals=rivals), taken


def _faster(ratio: float, low: float, high: float) -> bool:
    """Whether what has this ratio is to be taken in another's place."""
    return ratio < 1 / _ALLOWED or (high < 1.0 and ratio < 1 / _CLEAR)


def _rivals(
    opener: Opener, judge: Judge, results: Mapping[str, PartResult], max_drop: float, budget: Budget
) -> tuple[list[tuple[Choice, Plan]], list[str]]:
    """The fastest single settings that are inside the drop, and what is to be said of others."""
    rivals: list[tuple[Choice, Plan]] = []
    told: list[str] = []
    for one, single in singles(results, judge.parts, opener):
        if budget.left < 2 * judge.longest:
            budget.cut("single settings not judged", f"from {words(one)} on")
            break
        cost = judge.cost(kinds_of(single, judge.parts))
        if cost.drop <= max_drop + 1e-9:
            rivals.append((one, single))
        else:
            told.append(f"everywhere {words(one)}: outside the drop together, {cost.drop:.3g} ({cost.where})")
        if len(rivals) == _FEW:
            break
    return rivals, told
