"""The plan beside single settings: who is raced, in how many goes, and which is taken. Races are pretended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from chiasm.bench.tune import whole
from chiasm.bench.tune.budget import Budget
from chiasm.bench.tune.judge import Cost
from chiasm.bench.tune.opener import Kind
from chiasm.bench.tune.plans import Plan
from chiasm.bench.tune.race import Lane, Rules
from chiasm.bench.tune.state import REFERENCE, PartResult, Row, Whole
from chiasm.bench.tune.whole import against_singles
from chiasm.runtime.errors import BackendError
from chiasm.runtime.tuned import Choice

FP32, INT8 = Choice("fp32", "ort", threads=1), Choice("int8-cpu", "ort", threads=1)
TWO = Choice("int8-cpu", "ort", threads=2)
Times = Mapping[tuple[Choice, Choice], tuple[float, float, float]]


def _part() -> PartResult:
    rows = [Row(INT8, 0.5, 0.45, 0.55, 1.0), Row(TWO, 0.6, 0.5, 0.7, 1.2),
            Row(FP32, 1.0, 1.0, 1.0, 2.0, why=REFERENCE)]  # fmt: skip
    return PartResult(rows)


class _Judge:
    parts = ("image", "text")
    longest = 0.0

    def __init__(self, drop: float = 0.0) -> None:
        self.drop = drop

    def cost(self, plan: Mapping[str, Kind]) -> Cost:
        return Cost(self.drop, "hazard with image+text", {}, 0.0)


class _Opener:
    room = 10

    def kinds(self, part: str) -> list[Kind]:
        return [("ort", "fp32"), ("ort", "int8-cpu")]

    def release(self) -> None:
        pass


class _Ring:
    """Plans of image and text take `times`: a ratio to anything with the interval around it; 60 seconds a race."""

    def __init__(self, times: Times, size: int = 1) -> None:
        self.times, self.each, self.room = times, size, _Opener.room
        self.races: list[list[Plan]] = []
        self.now = 0.0

    def __call__(self, *given: Any) -> _Ring:
        return self

    def opening(self, plans: Sequence[Plan]) -> float:
        return 0.0

    def size(self, plans: Sequence[Plan]) -> int:
        return self.each * len(plans)

    def race(self, plans: Sequence[Plan], rules: Rules, end: float) -> list[Lane]:
        self.races.append(list(plans))
        self.now += 60
        return [Lane([t] * 50, t, low, high, t) for t, low, high in (self.times[_pair(plan)] for plan in plans)]

    def close(self) -> None:
        self.races.append([])


def _pair(plan: Plan) -> tuple[Choice, Choice]:
    return plan["image"], plan["text"]


def _against(
    monkeypatch: pytest.MonkeyPatch, ring: _Ring, plan: Plan, results: Any, drop: float = 0.0, seconds: float = 600.0
) -> tuple[Plan, Whole | None, list[str], Budget]:
    def relative(lane: Lane, other: Lane, rules: Rules) -> tuple[float, float, float]:
        return lane.ratio / other.ratio, lane.low / other.ratio, lane.high / other.ratio

    monkeypatch.setattr(whole, "Ring", ring)
    monkeypatch.setattr(whole, "beside", relative)
    budget = Budget(seconds, lambda: ring.now)
    opener: Any = _Opener()
    judge: Any = _Judge(drop)
    return *against_singles(opener, judge, plan, results, 0.01, "latency", Rules(), budget), budget


def _all_but(text: Choice, ratio: float, low: float, high: float) -> Times:
    """The plan (INT8, `text`) takes 1; INT8 everywhere what is given; the other single settings are slower."""
    return {(INT8, text): (1.0, 1.0, 1.0), (INT8, INT8): (ratio, low, high), (TWO, TWO): (3.0, 2.9, 3.1),
            (FP32, FP32): (4.0, 3.9, 4.1)}  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "low", "high", "taken"),
    [(1.2, 1.1, 1.3, False), (1.0, 0.98, 1.02, False), (0.98, 0.97, 0.985, True), (0.98, 0.9, 1.1, False),
     (0.95, 0.8, 1.2, True)],
    ids=["slower", "equal", "surely faster", "perhaps faster", "more than 3 % faster"],
)  # fmt: skip
def test_a_single_setting_that_is_faster_is_taken(
    monkeypatch: pytest.MonkeyPatch, ratio: float, low: float, high: float, taken: bool
) -> None:
    """`ratio`: of the single setting to the parts' own choices."""
    results = {"image": _part(), "text": _part()}
    results["text"].rows[0].verdict = results["text"].rows[1].verdict = "slower"
    plan = {"image": INT8, "text": FP32, "denoiser": FP32}
    ring = _Ring(_all_but(FP32, ratio, low, high))
    made, found, told, budget = _against(monkeypatch, ring, plan, results)
    assert found is not None
    assert found.taken is taken
    assert found.ratio == pytest.approx(1 / ratio)
    assert (found.low, found.high) == (pytest.approx(1 / high), pytest.approx(1 / low))
    assert made == ({**plan, "text": INT8} if taken else plan)
    assert bool(told) is taken
    assert taken or found.ratio <= 1.03
    assert found.rivals == 3
    assert budget.verdict() is None


def test_the_last_two_are_raced_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = _Ring(_all_but(FP32, 1.2, 1.1, 1.3))
    results = {"image": _part(), "text": _part()}
    _against(monkeypatch, ring, {"image": INT8, "text": FP32}, results)
    first, last, closed = ring.races
    assert [_pair(each) for each in first] == [(INT8, FP32), (INT8, INT8), (TWO, TWO), (FP32, FP32)]
    assert [_pair(each) for each in last] == [(INT8, FP32), (INT8, INT8)]
    assert closed == []


def test_plans_that_are_too_large_to_be_open_together_run_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two of them, the plan and one other."""
    ring = _Ring(_all_but(FP32, 0.9, 0.8, 0.95), size=4)
    results = {"image": _part(), "text": _part()}
    for row in results["text"].rows[:2]:
        row.verdict = "slower"
    made, found, _, _ = _against(monkeypatch, ring, {"image": INT8, "text": FP32}, results, seconds=6000.0)
    assert [len(each) for each in ring.races] == [2, 2, 2, 2, 0]
    assert all(_pair(each[0]) == (INT8, FP32) for each in ring.races[:-1])
    assert made == {"image": INT8, "text": INT8}
    assert found is not None
    assert found.taken


def test_a_plan_that_is_itself_the_best_single_setting_has_nothing_to_be_raced_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ring = _Ring(_all_but(INT8, 1.0, 1.0, 1.0))
    results = {"image": _part(), "text": _part()}
    plan = {"image": INT8, "text": INT8}
    made, found, told, _ = _against(monkeypatch, ring, plan, results)
    assert made == plan
    assert found is not None
    assert (found.same, found.ratio, found.single, found.rivals) == (True, 1.0, INT8, 3)
    assert [len(each) for each in ring.races] == [3, 0]
    assert told == []


def test_without_time_it_is_said_that_nothing_was_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = _Ring(_all_but(FP32, 0.9, 0.8, 0.95))
    results = {"image": _part(), "text": _part()}
    plan = {"image": INT8, "text": FP32}
    made, found, told, budget = _against(monkeypatch, ring, plan, results, seconds=0.001)
    assert (made, found) == (plan, None)
    assert told == ["not set beside single settings: no time was left"]
    assert "not run beside the parts' own choices: 3 of 3 plans" in (budget.verdict() or "")


@pytest.mark.parametrize(("ratio", "taken"), [(0.8, True), (1.1, False)])
def test_threads_that_stand_in_each_others_way_are_given_up(
    monkeypatch: pytest.MonkeyPatch, ratio: float, taken: bool
) -> None:
    """The parts' own choices take two threads; each part's fastest on one runs beside them."""
    results = {"image": _part(), "text": _part()}
    for row in results["text"].rows[:2]:
        row.verdict = "slower"
    plan = {"image": TWO, "text": FP32}
    times = {(TWO, FP32): (1.0, 1.0, 1.0), (INT8, FP32): (ratio, ratio - 0.01, ratio + 0.01),
             **dict.fromkeys([(INT8, INT8), (TWO, TWO), (FP32, FP32)], (1.5, 1.4, 1.6))}  # fmt: skip
    made, found, told, _ = _against(monkeypatch, _Ring(times), plan, results)
    assert made == ({"image": INT8, "text": FP32} if taken else plan)
    assert found is not None
    assert found.ratio == pytest.approx(min(ratio, 1.0) / 1.5)
    assert any("on one thread" in each for each in told) is taken


def test_a_single_setting_outside_the_drop_is_no_rival(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {"image": INT8, "text": FP32}
    results = {"image": _part(), "text": _part()}
    made, found, told, _ = _against(monkeypatch, _Ring({}), plan, results, drop=0.02)
    assert (made, found) == (plan, None)
    assert all("outside the drop together" in each for each in told)


def test_what_cannot_be_opened_again_leaves_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = _Ring({})

    def fail(*given: object) -> list[Lane]:
        raise BackendError("No memory is left")

    monkeypatch.setattr(ring, "race", fail)
    plan = {"image": INT8, "text": FP32}
    made, found, told, _ = _against(monkeypatch, ring, plan, {"image": _part(), "text": _part()})
    assert (made, found) == (plan, None)
    assert "No memory is left" in told[-1]
    assert ring.races == [[]]
