"""FP16 graphs, weights stored in half, and the twin that rounds as FP16 does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export.graphs import FLOAT, HALF, Graph, check, serialise
from chiasm.export.precision import FAR, FP32_OPERATORS, compress, to_fp16
from chiasm.export.ranges import peaks
from chiasm.export.rounding import rounded
from chiasm.export.sessions import Runner
from graphs import half, log_mel, model, normal, perceptron, residual
from onnx.reference import ReferenceEvaluator


def _run(made: Any, **feeds: Any) -> Any:
    return Runner(serialise(made))(feeds)["y"]


def test_compress_halves_exact_weights_and_changes_no_bit() -> None:
    whole = perceptron(64)
    small = compress(whole)
    check(small, "test")
    assert len(serialise(small)) < 0.6 * len(serialise(whole))
    x = normal(9, 1, 4, 64)
    assert _run(small, x=x).tobytes() == _run(whole, x=x).tobytes()


def test_compress_leaves_weights_that_half_cannot_hold() -> None:
    whole = residual()
    assert {each.dtype.name for each in compress(whole).weights.values()} == {"float32", "int64"}


def test_fp16_is_written_into_the_graph_between_fp32_borders() -> None:
    made = to_fp16(perceptron())
    check(made, "test")
    graph, types = Graph(made), Graph(made).types()
    assert [types[name] for name in (*graph.inputs, *graph.outputs)] == [FLOAT, FLOAT]
    for node in graph.nodes:
        if node.op_type == "MatMul":
            assert {types[name] for name in (*node.input, *node.output)} == {HALF}
        if node.op_type in FP32_OPERATORS:
            assert {types[name] for name in (*node.input, *node.output)} == {FLOAT}


def test_everything_before_a_logarithm_stays_fp32() -> None:
    made = to_fp16(log_mel())
    check(made, "test")
    graph, types = Graph(made), Graph(made).types()
    precisions = {node.output[0]: types[node.output[0]] for node in graph.nodes if node.op_type in ("Conv", "MatMul")}
    assert precisions["waves"] == precisions["mel"] == FLOAT
    assert sorted(precisions.values()) == sorted([FLOAT, FLOAT, HALF])
    quiet = np.full((1, 1, 64), 1e-4, np.float32)
    assert np.abs(_run(made, x=quiet) - _run(log_mel(), x=quiet)).max() < 0.05


@pytest.mark.parametrize("build", [perceptron, residual, log_mel])
def test_the_rounding_twin_agrees_with_real_half_arithmetic(build: Any) -> None:
    whole = build()
    made = to_fp16(whole)
    twin = rounded(made)
    check(twin, "test")
    shape = tuple(each.dim_value for each in whole.graph.input[0].type.tensor_type.shape.dim)
    x = normal(5, *shape)
    exact, real, ours = _run(whole, x=x), ReferenceEvaluator(serialise(made)).run(None, {"x": x})[0], _run(twin, x=x)
    scale = np.abs(exact).max()
    assert 1e-6 < np.abs(ours - exact).max() / scale < 5e-3
    assert np.abs(ours - real).max() / scale < 2e-3


def test_the_rounding_is_that_of_half_and_overflow_shows() -> None:
    identity = model([("Mul", "x one", "y")], {"one": np.ones(1, np.float32)}, {"x": (1, 2048)}, {"y": (1, 2048)})
    twin = rounded(to_fp16(identity))
    x = normal(3, 1, 2048, scale=100.0)
    x = np.where(np.abs(x) < 1e-3, np.float32(1), x)
    np.testing.assert_array_equal(_run(twin, x=x), half(x))
    x[0, 7] = 70000.0
    assert np.flatnonzero(~np.isfinite(_run(twin, x=x))).tolist() == [7]


def _far() -> Any:
    """T5's trouble in small: a residual stream beyond 65504 that a normalisation brings back."""
    constants = {"up": normal(1, 16, 16, scale=4000.0), "g": np.ones(16, np.float32), "w": normal(2, 16, 16)}
    lines = [("MatMul", "x up", "big"), ("Add", "big x", "stream"), ("Reshape", "stream shape", "flat"),
             ("LayerNormalization", "flat g", "n", {"axis": -1}), ("MatMul", "n w", "y")]  # fmt: skip
    return model(lines, {**constants, "shape": np.array([4, 16])}, {"x": (1, 4, 16)}, {"y": (4, 16)})


def test_what_was_seen_to_go_too_far_stays_fp32() -> None:
    feeds = [{"x": normal(7, 1, 4, 16, scale=3.0)}]
    reach = peaks(_far(), feeds)
    assert reach["stream"] > 65504
    beyond = [name for name, peak in reach.items() if peak > FAR]
    assert beyond == ["big", "stream", "flat"]
    exact = Runner(serialise(_far()))(feeds[0])["y"]
    blind = Runner(serialise(rounded(to_fp16(_far()))))(feeds[0])["y"]
    assert not np.isfinite(blind).all()
    made = to_fp16(_far(), beyond)
    check(made, "test")
    types = Graph(made).types()
    assert types["y.half"] == HALF
    assert np.abs(Runner(serialise(rounded(made)))(feeds[0])["y"] - exact).max() < 0.01 * np.abs(exact).max()


def test_a_constant_that_half_cannot_hold_stays_fp32() -> None:
    """The −3.4e38 of an attention mask: as FP16 it would be −∞, and a row of them NaN."""
    lines = [("Add", "x mask", "s"), ("Softmax", "s", "p"), ("MatMul", "p w", "y")]
    constants = {"mask": np.full((1, 8), np.finfo(np.float32).min), "w": normal(1, 8, 8)}
    whole = model(lines, constants, {"x": (1, 8)}, {"y": (1, 8)})
    made = to_fp16(whole)
    x = normal(2, 1, 8)
    np.testing.assert_allclose(_run(rounded(made), x=x), _run(whole, x=x), atol=0.01)
    assert made.weights["mask"].dtype == np.float32


def test_fp16_for_products_only() -> None:
    made = to_fp16(perceptron(), products=True)
    check(made, "test")
    types = Graph(made).types()
    halves = {node.op_type for node in made.graph.node for name in node.output if types[name] == HALF}
    assert halves == {"MatMul", "Cast"}


def test_infinite_constants_are_held_by_half() -> None:
    whole = model([("Add", "x c", "y")], {"c": np.array([-np.inf, 1.0], np.float32)}, {"x": (1, 2)}, {"y": (1, 2)})
    assert {value.dtype.name for value in to_fp16(whole).weights.values()} == {"float16"}


def test_the_scales_of_a_resize_stay_fp32() -> None:
    resize = ("Resize", "c empty scales", "r", {"mode": "nearest"})
    lines = [("Conv", "x w", "c"), resize, ("Conv", "r w", "y")]
    constants = {"w": normal(1, 3, 3, 1, 1), "empty": np.zeros(0, np.float32), "scales": half(np.float32([1, 1, 2, 2]))}
    whole = model(lines, constants, {"x": (1, 3, 4, 4)}, {"y": (1, 3, 8, 8)})
    made = to_fp16(whole)
    check(made, "test")
    node = next(node for node in made.graph.node if node.op_type == "Resize")
    assert [made.weights[name].dtype.name for name in node.input[1:]] == ["float32", "float32"]
    x = normal(2, 1, 3, 4, 4)
    np.testing.assert_allclose(_run(rounded(made), x=x), _run(whole, x=x), atol=0.02)
