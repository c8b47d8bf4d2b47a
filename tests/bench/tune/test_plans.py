"""Choices put together: what fails in combination goes back where it costs most; single settings in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from chiasm.bench.tune.judge import Cost
from chiasm.bench.tune.opener import Kind
from chiasm.bench.tune.plans import calm, combine, milliseconds, singles
from chiasm.bench.tune.state import REFERENCE, PartResult, Row
from chiasm.runtime.tuned import Choice

FP32, INT8 = Choice("fp32", "ort", threads=1), Choice("int8-cpu", "ort", threads=1)
WHERE = "hazard with image+text"


def _part(alone: float, shift: float = 0.0) -> PartResult:
    rows = [Row(INT8, 0.5, 0.45, 0.55, 1.0), Row(Choice("int8-cpu", "ort", threads=2), 0.6, 0.5, 0.7, 1.2),
            Row(FP32, 1.0, 1.0, 1.0, 2.0, why=REFERENCE)]  # fmt: skip
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


class _Opener:
    def kinds(self, part: str) -> list[Kind]:
        return [("ort", "fp32"), ("ort", "int8-cpu")]


def test_single_settings_come_in_the_order_of_their_parts_ratios() -> None:
    """The text's own milliseconds are of another minute, three times slower; its ratios are not."""
    results = {"image": _part(0.0), "text": _part(0.0)}
    results["text"].rows[0].cost = 99.0
    found = singles(results, ["image", "text"], _Opener())  # type: ignore[arg-type]
    assert [one for one, _ in found] == [INT8, Choice("int8-cpu", "ort", threads=2), FP32]
    assert milliseconds(found[0][1], results, ["image", "text"]) == pytest.approx(2.0)


def test_a_single_setting_needs_every_part_measured() -> None:
    results = {"image": _part(0.0), "text": _part(0.0)}
    results["text"].rows[0] = Row(Choice("int8-cpu", "ort", threads=1), verdict="untried")
    found = singles(results, ["image", "text"], _Opener())  # type: ignore[arg-type]
    assert [one for one, _ in found] == [Choice("int8-cpu", "ort", threads=2), FP32]


def test_the_calm_twin_has_one_thread_everywhere() -> None:
    results = {"image": _part(0.0), "text": _part(0.0)}
    plan = {"image": Choice("int8-cpu", "ort", threads=2), "text": FP32}
    assert calm(plan, results, ["image", "text"]) == {"image": INT8, "text": INT8}
