"""INT8 graphs: how far they are from FP32, what they quantise, and the ranges they are given."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export import int8_weights
from chiasm.export import quantise as quantising
from chiasm.export.graphs import Graph, check, serialise
from chiasm.export.int8_weights import per_channel
from chiasm.export.quantise import candidates, dynamic_int8, static_int8, static_tensors
from chiasm.export.ranges import best_range, observe
from chiasm.export.sessions import Runner, run_all
from chiasm.runtime.errors import ExportError
from graphs import log_mel, model, normal, perceptron, residual


def _feeds(whole: Any, count: int = 16) -> list[dict[str, Any]]:
    shape = tuple(each.dim_value for each in whole.graph.input[0].type.tensor_type.shape.dim)
    return [{"x": normal(100 + index, *shape)} for index in range(count)]


def _operators(made: Any) -> Counter[str]:
    return Counter(node.op_type for node in made.graph.node)


def _cosine(whole: Any, made: Any) -> float:
    feeds = _feeds(whole)
    pairs = zip(run_all(serialise(whole), feeds), run_all(serialise(made), feeds), strict=True)
    return min(float((a["y"] * b["y"]).sum() / np.linalg.norm(a["y"]) / np.linalg.norm(b["y"])) for a, b in pairs)


def test_dynamic_products() -> None:
    whole = perceptron()
    made = dynamic_int8(whole, candidates(whole, "dynamic"))
    check(made, "test")
    assert _operators(made)["MatMulInteger"] == 2
    assert _operators(made)["MatMul"] == 0
    assert 0.999 < _cosine(whole, made) < 1.0


def test_dynamic_gemm_with_transposed_weight_and_bias() -> None:
    constants = {"w": normal(1, 6, 16), "b": normal(2, 6)}
    whole = model([("Gemm", "x w b", "y", {"transB": 1})], constants, {"x": (1, 16)}, {"y": (1, 6)})
    made = dynamic_int8(whole, candidates(whole, "dynamic"))
    check(made, "test")
    assert _operators(made)["Gemm"] == 0
    assert _cosine(whole, made) > 0.999


def test_static_residual_network_runs_in_uint8() -> None:
    whole = residual()
    nodes = candidates(whole, "static")
    assert len(nodes) == 4
    made = static_int8(whole, nodes, observe(whole, static_tensors(whole, nodes), _feeds(whole)))
    check(made, "test")
    assert _cosine(whole, made) > 0.995
    restored = {node.output[0] for node in made.graph.node if node.op_type == "DequantizeLinear"}
    for node in made.graph.node:
        if node.op_type in ("Conv", "Gemm", "Add"):
            assert restored.issuperset(node.input), "an input that is not a Q/DQ pair"


def test_a_dead_channel_keeps_its_bias() -> None:
    """Weights of 1e-9 beside a bias of 3: in units of the products that bias would not fit int32."""
    weight = normal(1, 4, 3, 1, 1)
    weight[2] *= 1e-9
    bias = np.array([0.1, -0.2, 3.0, 0.0], np.float32)
    whole = model([("Conv", "x w b", "y")], {"w": weight, "b": bias}, {"x": (1, 3, 4, 4)}, {"y": (1, 4, 4, 4)})
    nodes = candidates(whole, "static")
    feeds = _feeds(whole)
    made = static_int8(whole, nodes, observe(whole, static_tensors(whole, nodes), feeds))
    for result in run_all(serialise(made), feeds):
        np.testing.assert_allclose(result["y"][0, 2], 3.0, atol=0.1)


def test_a_weight_that_is_used_twice_is_stored_once() -> None:
    lines = [("MatMul", "x w", "a"), ("Relu", "a", "b"), ("MatMul", "b w", "y")]
    whole = model(lines, {"w": normal(1, 32, 32)}, {"x": (1, 32)}, {"y": (1, 32)})
    nodes = candidates(whole, "dynamic")
    made = [dynamic_int8(whole, nodes), static_int8(whole, nodes, {"x": (-4.0, 4.0), "b": (0.0, 30.0)})]
    for each in made:
        assert [value.dtype.name for value in each.weights.values() if value.ndim == 2] == ["int8"]


def test_nothing_before_a_logarithm_and_no_product_of_activations() -> None:
    whole = log_mel()
    assert [Graph(whole).nodes[-1].name] == candidates(whole, "static")
    attention = model([("MatMul", "x x", "y")], {}, {"x": (4, 4)}, {"y": (4, 4)})
    assert candidates(attention, "static") == candidates(attention, "dynamic") == []


def test_only_the_named_nodes_change() -> None:
    whole = perceptron()
    first = candidates(whole, "dynamic")[:1]
    assert _operators(dynamic_int8(whole, first))["MatMul"] == 1
    made = static_int8(whole, first, {"x": (-4.0, 4.0)})
    assert _operators(made)["QuantizeLinear"] == 1
    with pytest.raises(ExportError, match="No calibrated range for tensor 'x'"):
        static_int8(whole, first, {})


def _embedding(rows: int = 40) -> Any:
    """ids as FP32 (1, 8) → look-up in a table, product → y."""
    table = normal(4, rows, 16) * np.exp(normal(5, rows, 1))
    lines = [("Cast", "x", "ids", {"to": 7}), ("Gather", "table ids", "e"), ("MatMul", "e w", "y")]
    return model(lines, {"table": table, "w": normal(6, 16, 16)}, {"x": (1, 8)}, {"y": (1, 8, 16)})


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_rows_of_a_large_table_become_int8_each_with_its_scale(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(candidates(_embedding(), method)) == 1, "a small table is not worth it"
    monkeypatch.setattr(quantising, "_TABLE", 640)
    whole = _embedding()
    nodes = candidates(whole, method)
    assert nodes == ["node_1", "node_2"]
    feeds = [{"x": np.random.default_rng(seed).integers(0, 40, (1, 8)).astype(np.float32)} for seed in range(4)]
    if method == "dynamic":
        made = dynamic_int8(whole, nodes)
    else:
        made = static_int8(whole, nodes, observe(whole, static_tensors(whole, nodes), feeds))
    check(made, "test")
    assert {value.dtype.name for value in made.weights.values() if value.shape == (40, 16)} == {"int8"}
    rows = dynamic_int8(whole, nodes[:1])
    for one, other in zip(run_all(serialise(whole), feeds), run_all(serialise(rows), feeds), strict=True):
        assert np.abs(one["y"] - other["y"]).max() < 0.02 * np.abs(one["y"]).max()
    assert all(np.isfinite(each["y"]).all() for each in run_all(serialise(made), feeds))


def test_one_weight_in_two_positions_is_two_weights() -> None:
    """A square matrix as it is and turned."""
    lines = [("Gemm", "x w", "a", {"transB": 1}), ("Gemm", "a w", "y")]
    whole = model(lines, {"w": normal(1, 32, 32)}, {"x": (1, 32)}, {"y": (1, 32)})
    made = dynamic_int8(whole, candidates(whole, "dynamic"))
    assert _cosine(whole, made) > 0.999


def test_a_stack_of_matrices_is_left_alone() -> None:
    """ONNX Runtime fuses such a product into an operator that takes one matrix only, and then fails."""
    whole = model([("MatMul", "x w", "y")], {"w": normal(1, 4, 64, 64)}, {"x": (4, 8, 64)}, {"y": (4, 8, 64)})
    assert candidates(whole, "dynamic") == candidates(whole, "static") == []


def test_what_was_quantised_before_is_not_quantised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, memo = residual(), {}
    nodes = candidates(whole, "static")
    seen = observe(whole, static_tensors(whole, nodes), _feeds(whole))
    first = static_int8(whole, nodes, seen, memo)
    monkeypatch.setattr(quantising, "per_channel", lambda *_: pytest.fail("quantised again"))
    assert serialise(static_int8(whole, nodes, seen, memo)) == serialise(first)


@given(arrays(np.float32, (9, 5), elements=st.floats(-50, 50, width=32)))
def test_the_two_largest_of_a_row_are_found_whatever_the_chunks(rows: Any) -> None:
    def slowly(row: Any) -> float:
        ordered = np.sort(row)
        return max(np.maximum(ordered[-2:], 0).sum(), np.maximum(-ordered[:2], 0).sum())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8_weights, "_CHUNK", 10)
        np.testing.assert_array_equal(int8_weights._pairs(rows), [slowly(row) for row in rows])


@given(arrays(np.float32, (5, 7), elements=st.floats(-100, 100, width=32)), st.integers(0, 1))
def test_per_channel_rounds_to_half_a_step(weight: Any, axis: int) -> None:
    whole, scale = per_channel(weight, axis)
    wide = scale.reshape((-1, 1) if axis == 0 else (1, -1))
    assert np.abs(whole).max() <= 127
    assert (np.abs(whole * wide - weight) <= 0.5001 * wide).all()


def test_observe_sees_every_feed_and_includes_zero() -> None:
    whole = perceptron()
    feeds = [{"x": np.full((1, 4, 32), value, np.float32)} for value in (0.5, 2.0, 1.0)]
    assert observe(whole, ["x"], feeds)["x"] == pytest.approx((0.0, 2.0))
    runs = run_all(serialise(whole), feeds)
    assert len(runs) == 3
    with pytest.raises(ExportError, match="not finite"):
        observe(whole, ["m1"], [{"x": np.full((1, 4, 32), np.inf, np.float32)}])


def test_a_lone_outlier_is_clipped_and_a_flat_tensor_is_not() -> None:
    edges = np.zeros(2048)
    edges[:200] = 1e6
    edges[-1] = 1
    low, high = best_range(edges, 0.0, 10.0)
    assert low == 0.0
    assert high < 5.0
    assert best_range(np.ones(2048), -1.0, 3.0) == pytest.approx((-1.0, 3.0))


def test_an_opened_graph_says_when_it_cannot_be_run() -> None:
    from chiasm.runtime.errors import BackendError

    with pytest.raises(BackendError, match="cannot open"):
        Runner(b"not a graph")


def test_products_never_leave_16_bits() -> None:
    """x86 without VNNI adds products in pairs in 16 bits: what is computed there must be what is computed anywhere."""
    weight = normal(5, 64, 24) ** 3
    whole, _ = per_channel(weight, 1)
    for rows in (whole.astype(np.int32), -whole.astype(np.int32)):
        top = np.sort(np.maximum(rows, 0), axis=0)[-2:]
        assert 255 * int(top.sum(axis=0).max()) < 2**15
    graph = model([("MatMulInteger", "x w", "y")], {"w": whole}, {"x": (8, 64)}, {"y": (8, 24)})
    graph.graph.input[0].type.tensor_type.elem_type = 2  # uint8
    graph.graph.output[0].type.tensor_type.elem_type = 6  # int32
    x = np.random.default_rng(0).integers(128, 256, (8, 64)).astype(np.uint8)
    made = run_all(serialise(graph), [{"x": x}])[0]["y"]
    np.testing.assert_array_equal(made, x.astype(np.int32) @ whole.astype(np.int32))
