"""Choices put together: what fails in combination goes back where it costs most; a faster single setting is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from chiasm.bench.tune import whole
from chiasm.bench.tune.field import rank
from chiasm.bench.tune.front import front
from chiasm.bench.tune.judge import Cost, Kind
from chiasm.bench.tune.race import Lane, Rules
from chiasm.bench.tune.state import PartResult, Row
from chiasm.bench.tune.whole import against_singles, combine
from chiasm.runtime.tuned import Choice

FP32, INT8 = Choice("fp32", "ort", threads=1), Choice("int8-cpu", "ort", threads=1)
WHERE = "hazard with image+text"


def _part(alone: float, shift: float = 0.0) -> PartResult:
    rows = [Row(INT8, 0.5, 0.45, 0.55, 1.0), Row(Choice("int8-cpu", "ort", threads=2), 0.6, 0.5, 0.7, 1.2),
            Row(FP32, 1.0, 1.0, 1.0, 2.0)]  # fmt: skip
    return PartResult(rows, {"ort int8-cpu": {WHERE: alone}}, {"ort int8-cpu": shift})


def _sum(costs: Mapping[str, float]) -> Any:
    def together(plan: Mapping[str, Kind]) -> Cost:
        drop = sum(costs[part] for part, kind in plan.items() if kind[1] == "int8-cpu")
        return Cost(drop, WHERE, {WHERE: drop}, drop)

    return together


def test_the_part_that_costs_most_where_the_whole_fails_goes_back() -> None:
    costs = {"image": 0.006, "text": 0.003, "heads": 0.005}
    results = {part: _part(cost) for part, cost in costs.items()}
    plan, cost, told = combine(results, _sum(costs), 0.01)
    assert {part: choice.precision for part, choice in plan.items()} == {
        "image": "fp32", "text": "int8-cpu", "heads": "int8-cpu"
    }  # fmt: skip
    assert cost.drop == pytest.approx(0.008)
    assert len(told) == 1
    assert told[0].startswith("image: int8-cpu on ort, 1 thread goes back")
    refused = [row for row in results["image"].rows if row.verdict == "refused"]
    assert len(refused) == 2
    assert all("together" in row.why for row in refused)


def test_where_accuracies_tie_the_one_that_moves_scores_most_goes_back() -> None:
    results = {"image": _part(0.0, 0.01), "text": _part(0.0, 0.05)}
    plan, _, _ = combine(results, lambda plan: Cost(0.02 if plan["text"][1] != "fp32" else 0.0, WHERE, {}, 0.0), 0.01)
    assert plan["text"] == FP32
    assert plan["image"] == INT8


def test_at_worst_everything_is_fp32_and_it_ends() -> None:
    results = {"image": _part(0.1), "text": _part(0.2)}
    plan, _, told = combine(results, lambda plan: Cost(1.0, WHERE, {}, 0.0), 0.01)
    assert plan == {"image": FP32, "text": FP32}
    assert len(told) == 2


class _Judge:
    parts = ("image", "text")

    def __init__(self, drop: float = 0.0) -> None:
        self.drop = drop

    def cost(self, plan: Mapping[str, Kind]) -> Cost:
        return Cost(self.drop, WHERE, {}, 0.0)


class _Opener:
    def kinds(self, part: str) -> list[Kind]:
        return [("ort", "fp32"), ("ort", "int8-cpu")]

    def release(self) -> None:
        pass


class _Decision:
    def __init__(self, opener: Any, judge: Any, plan: Any) -> None:
        pass

    def run(self, index: int) -> None:
        pass

    def close(self) -> None:
        pass


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
    _raced(monkeypatch, [(1.0, 1.0, 1.0), *[(ratio, low, high)] * 4])
    results = {"image": _part(0.0), "text": _part(0.0)}
    results["text"].rows[0].verdict = results["text"].rows[1].verdict = "slower"
    plan = {"image": INT8, "text": FP32, "denoiser": FP32}
    made, found, told = against_singles(_Opener(), _Judge(), plan, results, 0.01, "latency", Rules())
    assert found is not None
    assert found.taken is taken
    assert found.ratio == pytest.approx(1 / ratio)
    assert made == ({**plan, "text": INT8} if taken else plan)
    assert bool(told) is taken
    assert taken or found.ratio <= 1.03


def _raced(monkeypatch: pytest.MonkeyPatch, ratios: list[tuple[float, float, float]]) -> None:
    """Let a race of whole decisions end with these ratios to the first, and intervals."""
    lanes = [Lane([ratio], *each, ratio) for each in ratios for ratio in each[:1]]
    monkeypatch.setattr(whole, "Decision", _Decision)
    monkeypatch.setattr(whole, "race", lambda runs, rules, clock, wall: lanes[: len(runs)])

    def relative(lane: Lane, other: Lane, rules: Rules) -> tuple[float, float, float]:
        return lane.ratio / other.ratio, lane.low / other.ratio, lane.high / other.ratio

    monkeypatch.setattr(whole, "beside", relative)


@pytest.mark.parametrize(("ratio", "calm"), [(0.8, True), (1.1, False)])
def test_threads_that_stand_in_each_others_way_are_given_up(
    monkeypatch: pytest.MonkeyPatch, ratio: float, calm: bool
) -> None:
    """The parts' own choices take two threads; each part's fastest on one runs beside them."""
    _raced(monkeypatch, [(1.0, 1.0, 1.0), (ratio, ratio - 0.01, ratio + 0.01), *[(1.5, 1.4, 1.6)] * 4])
    results = {"image": _part(0.0), "text": _part(0.0)}
    plan = {"image": results["image"].rows[1].choice, "text": FP32}
    made, found, told = against_singles(_Opener(), _Judge(), plan, results, 0.01, "latency", Rules())
    assert made == ({"image": INT8, "text": INT8} if calm else plan)
    assert found is not None
    assert found.ratio == pytest.approx(min(ratio, 1.0) / 1.5)
    assert any("on one thread" in each for each in told) is calm


def test_a_single_setting_outside_the_drop_is_no_rival() -> None:
    plan = {"image": INT8, "text": FP32}
    results = {"image": _part(0.0), "text": _part(0.0)}
    made, found, told = against_singles(_Opener(), _Judge(0.02), plan, results, 0.01, "latency", Rules())
    assert (made, found) == (plan, None)
    assert all("outside the drop together" in each for each in told)


def test_a_row_that_is_not_surely_faster_is_not_fit() -> None:
    rows = [Row(FP32, 1.0, 1.0, 1.0), Row(INT8, 0.9, 0.8, 1.01), Row(Choice("fp16", "ort", threads=1), 1.3, 1.2, 1.4)]
    first, *others = rank(rows, FP32)
    assert first.choice == FP32
    assert [row.verdict for row in others] == ["slower", "slower"]
    assert "not surely faster" in others[0].why
    assert "slower than FP32: 1.30 times" in others[1].why


def test_of_equals_the_plainest_leads() -> None:
    quick = [Row(Choice("int8-cpu", "ort", threads=1, arena=False), 0.500, 0.49, 0.51), Row(INT8, 0.503, 0.49, 0.51),
             Row(Choice("fp16", "ort", threads=1), 0.6, 0.59, 0.61), Row(FP32, 1.0, 1.0, 1.0)]  # fmt: skip
    assert [row.choice for row in rank(quick, FP32)][:2] == [INT8, quick[0].choice]


def test_the_front_has_only_what_nobody_beats() -> None:
    assert front([(1.0, 0.0), (0.5, 0.01), (0.7, 0.02), (0.6, 0.005)]) == [(0.5, 0.01), (0.6, 0.005), (1.0, 0.0)]
