"""The search for an INT8 graph: it keeps what is fragile in FP32, and refuses rather than ship what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export import measure, tune
from chiasm.export.graphs import serialise
from chiasm.export.measure import Difference, compare, interleaved, worst
from chiasm.export.model import parse
from chiasm.export.sessions import Runner
from chiasm.export.shelf import Shelf
from chiasm.export.tune import Choice, Refusal, quantise
from chiasm.runtime.errors import ExportError
from chiasm.runtime.values import OnnxGraph
from graphs import model, normal, perceptron, residual


def _feeds(shape: tuple[int, ...], count: int = 16, seed: int = 0) -> list[dict[str, Any]]:
    return [{"x": normal(seed + index, *shape)} for index in range(count)]


def _fragile() -> Any:
    """A product whose input mixes scales: one channel is 10 000 times the others, and its weights are tiny."""
    scales = np.ones(32, np.float32)
    scales[0] = 1e4
    weight = normal(1, 32, 32)
    weight[0] /= 1e5
    constants = {"s": scales, "w": weight, "w2": normal(2, 32, 32)}
    lines = [("Mul", "x s", "wide"), ("MatMul", "wide w", "m"), ("Tanh", "m", "t"), ("MatMul", "t w2", "y")]
    return model(lines, constants, {"x": (1, 32)}, {"y": (1, 32)})


def test_everything_is_quantised_where_that_is_close_enough() -> None:
    found = quantise(perceptron(), _feeds((1, 4, 32)), _feeds((1, 4, 32), seed=50), 0.99, rounds=4)
    assert isinstance(found, Choice)
    assert found.kept == ()
    assert found.differences["y"].cosine > 0.99


def test_the_operator_that_costs_most_stays_fp32() -> None:
    found = quantise(_fragile(), _feeds((1, 32)), _feeds((1, 32), seed=50), 0.995, rounds=4)
    assert isinstance(found, Choice)
    assert found.kept == ("node_1",)
    assert found.differences["y"].cosine >= 0.995


def test_without_captures_nothing_that_needs_ranges_is_quantised() -> None:
    """Convolutions stay FP32 beside products that take the range of each input as it comes."""
    for given, shape in ((perceptron(), (1, 4, 32)), (residual(), (1, 3, 8, 8))):
        found = quantise(given, _feeds(shape, 3), _feeds(shape, 3, seed=50), 0.9, rounds=4, static=False)
        assert isinstance(found, Choice)
        assert found.method == "dynamic"
        kinds = {node.op_type for node in parse(found.graph).graph.node}
        assert "MatMulInteger" in kinds
        assert "QuantizeLinear" not in kinds


def test_an_unreachable_tolerance_is_refused_with_the_worst_tensor() -> None:
    found = quantise(residual(), _feeds((1, 3, 8, 8), 6), _feeds((1, 3, 8, 8), 6, seed=50), 1.01, rounds=4)
    assert isinstance(found, Refusal)
    assert found.tensor == "y"
    assert 0.9 < found.cosine < 1.0


def test_a_part_without_weights_has_no_int8() -> None:
    plain = model([("Relu", "x", "y")], {}, {"x": (1, 4)}, {"y": (1, 4)})
    assert quantise(plain, _feeds((1, 4)), _feeds((1, 4)), 0.99) is None


def test_a_large_graph_takes_the_first_way_that_is_close_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attempts lie in files; those that lead nowhere are removed."""
    monkeypatch.setattr(tune, "LARGE", 0)
    shelf = Shelf(tmp_path, inline=0, least=1024)
    whole = shelf.settle(perceptron())[1]
    found = quantise(whole, _feeds((1, 4, 32)), _feeds((1, 4, 32), seed=50), 0.99, rounds=4, shelf=shelf)
    assert isinstance(found, Choice)
    assert (found.method, found.kept, found.ranking) == ("dynamic", (), None)
    assert found.graph.folder == tmp_path
    before = sorted(each.name for each in tmp_path.iterdir())
    assert len(before) == 2
    refused = quantise(whole, _feeds((1, 4, 32)), _feeds((1, 4, 32), seed=50), 1.01, rounds=4, shelf=shelf)
    assert isinstance(refused, Refusal)
    assert sorted(each.name for each in tmp_path.iterdir()) == before


@pytest.mark.parametrize("budget", [0.0, 1000.0], ids=["estimated", "measured"])
def test_a_large_graph_gives_back_what_its_budget_can_find(budget: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fragile product's input mixes scales: that shows in the rounding errors as well as in a measurement."""
    monkeypatch.setattr(tune, "LARGE", 0)
    found = quantise(_fragile(), _feeds((1, 32)), _feeds((1, 32), seed=50), 0.995, rounds=4, budget=budget)
    assert isinstance(found, Choice)
    assert found.kept == ("node_1",)
    assert found.ranking == ("each measured alone" if budget else "estimated from rounding errors")


def test_what_fp32_gives_may_be_known_already() -> None:
    checks = _feeds((1, 4, 32), seed=50)
    wrong = [{"y": normal(1, 1, 4, 32)} for _ in checks]
    found = quantise(perceptron(), _feeds((1, 4, 32)), checks, 0.99, rounds=4, reference=wrong)
    assert isinstance(found, Refusal)
    assert found.cosine < 0.5


def test_graphs_too_large_to_be_open_together_are_timed_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    real = measure.interleaved

    def noted(runners: Any, *rest: Any) -> list[float]:
        opened.append(len(runners))
        return real(runners, *rest)

    monkeypatch.setattr(measure, "interleaved", noted)
    graphs = [OnnxGraph(serialise(perceptron()))] * 3
    assert len(measure.timed(graphs, _feeds((1, 4, 32), 2), 3)) == 3
    monkeypatch.setattr(measure, "_TOGETHER", 100)
    times = measure.timed(graphs, _feeds((1, 4, 32), 2), 3)
    assert opened == [3, 1, 1, 1]
    assert all(0 < each < 1 for each in times)


def test_compare_takes_the_worst_feed_of_each_output() -> None:
    one, two = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])
    found = compare([{"y": one}, {"y": two}], [{"y": one}, {"y": np.array([[2.0, 2.0]])}])
    assert found["y"] == Difference(1.0, pytest.approx(0.5**0.5), pytest.approx((1 + 0.5**0.5) / 2))
    assert worst({"a": Difference(0.1, 0.9, 1.0), "b": Difference(0.2, 0.95, 1.0)}, by="cosine") == ("a", 0.9)
    assert worst({"a": Difference(0.1, 0.9, 1.0), "b": Difference(0.2, 0.95, 1.0)}, by="error") == ("b", 0.2)


def test_compare_never_passes_what_is_not_finite() -> None:
    found = compare([{"y": np.ones(2)}], [{"y": np.array([1.0, np.nan])}])
    assert found["y"].cosine == -1.0
    assert found["y"].max_relative_error == float("inf")
    zero = compare([{"y": np.zeros(2)}], [{"y": np.zeros(2)}])["y"]
    assert (zero.cosine, zero.max_relative_error) == (1.0, 0.0)
    with pytest.raises(ExportError, match="Nothing to compare"):
        compare([], [])


def test_interleaved_times_are_medians_of_turns() -> None:
    runner = Runner(serialise(perceptron()))
    ticks = iter(range(1000))

    def clock() -> float:
        """One second a call; a turn takes two calls, so every turn takes one second."""
        return float(next(ticks))

    assert interleaved([runner, runner], _feeds((1, 4, 32), 2), rounds=7, clock=clock) == [1.0, 1.0]
