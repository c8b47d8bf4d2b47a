"""Operations, weights and liveness, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from chiasm.runtime.planning.count import Count, count_graph
from onnx import TensorProto, helper, numpy_helper

F, I8 = TensorProto.FLOAT, TensorProto.INT8


def _count(nodes: list[Any], inputs: dict[str, tuple[int, ...]], weights: dict[str, Any], output: str = "y") -> Count:
    infos = [helper.make_tensor_value_info(name, F, shape) for name, shape in inputs.items()]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", infos, [onnx.ValueInfoProto(name=output)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    return count_graph(bytes(model.SerializeToString()))


def _node(op: str, *inputs: str, out: str, **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), [out], **attributes)


def _zeros(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def test_a_product_counts_two_for_a_multiply_add() -> None:
    found = _count([_node("MatMul", "x", "w", out="y")], {"x": (3, 5)}, {"w": _zeros(5, 7)})
    assert found.operations == {"fp32": 2 * 3 * 5 * 7}
    assert (found.weights, found.inputs, found.outputs, found.activations) == (140, 60, 84, 0)
    assert found.io == 144
    assert found.nodes == 1


@pytest.mark.parametrize(
    ("op", "x", "w", "attributes", "wanted"),
    [
        ("Conv", (1, 4, 8, 8), (6, 2, 3, 3), {"group": 2, "pads": [1] * 4}, 2 * 6 * 64 * 2 * 9),
        ("ConvTranspose", (1, 4, 8, 8), (4, 6, 2, 2), {"strides": [2, 2]}, 2 * 4 * 64 * 6 * 4),
        ("Gemm", (5, 3), (7, 5), {"transA": 1, "transB": 1}, 2 * 3 * 5 * 7),
        ("Einsum", (2, 3, 4), (2, 5, 4), {"equation": "bik,bjk->bij"}, 2 * 2 * 3 * 4 * 5),
    ],
)
def test_products(op: str, x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any], wanted: int) -> None:
    assert _count([_node(op, "x", "w", out="y", **attributes)], {"x": x}, {"w": _zeros(*w)}).operations == {
        "fp32": wanted
    }


def test_what_is_no_product_counts_nothing() -> None:
    assert _count([_node("Softmax", "x", out="y")], {"x": (3, 5)}, {}).operations == {}


def test_precisions() -> None:
    """Two dequantised tensors make INT8, one makes what the other is; a transposed weight is still dequantised."""
    nodes = [
        _node("QuantizeLinear", "x", "s", "z", out="q"),
        _node("DequantizeLinear", "q", "s", "z", out="d"),
        _node("DequantizeLinear", "w", "s", out="e"),
        _node("Transpose", "e", out="t", perm=[1, 0]),
        _node("MatMul", "d", "t", out="a"),
        _node("MatMul", "a", "t", out="b"),
        _node("Cast", "b", out="c", to=TensorProto.FLOAT16),
        _node("MatMul", "c", "h", out="y"),
    ]
    weights = {
        "s": np.float32(0.1),
        "z": np.int8(0),
        "w": _zeros(8, 8, dtype=np.int8),
        "h": _zeros(8, 2, dtype=np.float16),
    }
    found = _count(nodes, {"x": (4, 8)}, weights)
    assert found.operations == {"int8": 2 * 4 * 64, "fp32": 2 * 4 * 64, "fp16": 2 * 4 * 16}
    assert found.weights == 4 + 1 + 64 + 32


def test_weights_are_counted_as_they_are_folded() -> None:
    """FP16 in the file and a Cast behind it is FP32 in memory; a weight that nobody reads is none."""
    nodes = [_node("Cast", "h", out="w", to=F), _node("MatMul", "x", "w", out="y")]
    found = _count(nodes, {"x": (3, 5)}, {"h": _zeros(5, 7, dtype=np.float16), "idle": _zeros(100)})
    assert found.weights == 5 * 7 * 4
    assert found.activations == 0


def test_liveness_of_a_chain() -> None:
    """a (200) → b (400): both live at once; then b → y, which has its own buffer."""
    nodes = [
        _node("MatMul", "x", "u", out="a"),
        _node("MatMul", "a", "v", out="b"),
        _node("MatMul", "b", "w", out="y"),
    ]
    found = _count(nodes, {"x": (1, 5)}, {"u": _zeros(5, 50), "v": _zeros(50, 100), "w": _zeros(100, 2)})
    assert found.activations == 200 + 400


def test_a_skip_keeps_what_it_skips() -> None:
    nodes = [
        _node("MatMul", "x", "u", out="a"),
        _node("MatMul", "a", "v", out="b"),
        _node("MatMul", "b", "v", out="c"),
        _node("Add", "a", "c", out="d"),
        _node("MatMul", "d", "w", out="y"),
    ]
    found = _count(nodes, {"x": (1, 5)}, {"u": _zeros(5, 50), "v": _zeros(50, 50), "w": _zeros(50, 2)})
    assert found.activations == 3 * 200


def test_views_and_operations_in_place_cost_nothing() -> None:
    nodes = [
        _node("MatMul", "x", "u", out="a"),
        _node("Reshape", "a", "shape", out="b"),
        _node("Relu", "b", out="c"),
        _node("Squeeze", "c", out="d"),
        _node("Sigmoid", "d", out="e"),
        _node("MatMul", "e", "w", out="y"),
    ]
    weights = {"u": _zeros(5, 50), "shape": np.array([1, 50]), "w": _zeros(50, 2)}
    assert _count(nodes, {"x": (1, 5)}, weights).activations == 200


def test_an_input_that_is_read_again_is_not_overwritten() -> None:
    nodes = [
        _node("MatMul", "x", "u", out="a"),
        _node("Relu", "a", out="b"),
        _node("Add", "a", "b", out="c"),
        _node("MatMul", "c", "w", out="y"),
    ]
    assert _count(nodes, {"x": (1, 5)}, {"u": _zeros(5, 50), "w": _zeros(50, 2)}).activations == 400


def test_a_view_of_an_input_is_no_activation() -> None:
    nodes = [_node("Reshape", "x", "shape", out="a"), _node("MatMul", "a", "w", out="y")]
    assert _count(nodes, {"x": (5, 10)}, {"shape": np.array([1, 50]), "w": _zeros(50, 2)}).activations == 0


def test_what_is_not_known_is_said() -> None:
    nodes = [_node("NonZero", "x", out="n"), _node("Cast", "n", out="y", to=F)]
    found = _count(nodes, {"x": (5, 10)}, {})
    assert found.unknown == {"NonZero": 1}
    assert found.outputs == 0
