"""INT8 graphs for TensorRT: where the pairs lie, that scales are FP16's own, and how far from FP32 they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export.graphs import HALF, Graph, check, serialise
from chiasm.export.int8_trt import trt_candidates, trt_int8, trt_tensors
from chiasm.export.ranges import observe
from chiasm.export.rounding import rounded
from chiasm.export.sessions import run_all
from chiasm.export.shelf import Shelf
from chiasm.export.tune import Choice, Refusal, look, quantise_for_trt
from chiasm.runtime.errors import ExportError
from graphs import log_mel, model, normal, perceptron, residual


def _feeds(whole: Any, count: int = 16) -> list[dict[str, Any]]:
    shape = tuple(each.dim_value for each in whole.graph.input[0].type.tensor_type.shape.dim)
    return [{"x": normal(100 + index, *shape)} for index in range(count)]


def _made(whole: Any, **options: Any) -> Any:
    nodes = trt_candidates(whole)
    return trt_int8(whole, nodes, observe(whole, trt_tensors(whole, nodes), _feeds(whole)), **options)


def _cosine(whole: Any, made: Any) -> float:
    feeds = _feeds(whole)
    pairs = zip(run_all(serialise(whole), feeds), run_all(serialise(rounded(made)), feeds), strict=True)
    return min(float((a["y"] * b["y"]).sum() / np.linalg.norm(a["y"]) / np.linalg.norm(b["y"])) for a, b in pairs)


@pytest.mark.parametrize("whole", [perceptron(), residual()], ids=["products", "convolutions"])
def test_close_to_fp32_and_symmetric(whole: Any) -> None:
    made = _made(whole)
    check(made, "test")
    assert 0.998 < _cosine(whole, made) < 1.0
    graph = Graph(made)
    makers = graph.makers()
    pairs = [node for node in graph.nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        scale, zero = (graph.constants[name] for name in node.input[1:])
        assert scale.dtype == np.float16
        assert (scale > 0).all()
        assert zero.dtype == np.int8
        assert not zero.any()
    for node in graph.nodes:
        if node.op_type in ("Conv", "MatMul", "Gemm"):
            assert [makers[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
            for bias in node.input[2:]:
                assert graph.constants[bias].dtype == np.float16
    weights = {name: value for name, value in graph.constants.items() if value.dtype == np.int8 and value.size > 64}
    assert all(abs(int(value.min())) <= 127 for value in weights.values())
    assert {int(abs(value).max()) for value in weights.values()} == {127}


def test_the_other_operand_of_an_addition_is_quantised_too() -> None:
    """Convolution, addition, ReLU and the next pair are one kernel only then."""
    graph = Graph(_made(residual()))
    makers, (addition,) = graph.makers(), [node for node in graph.nodes if node.op_type == "Add"]
    assert sorted(makers[name].op_type for name in addition.input) == ["Conv", "DequantizeLinear"]


def test_shared_input_has_one_pair() -> None:
    graph = Graph(_made(residual()))
    readers = [node for node in graph.nodes if node.op_type == "QuantizeLinear"]
    assert len({node.input[0] for node in readers}) == len(readers)


def test_a_log_mel_front_end_stays_and_the_layer_after_it_does_not() -> None:
    whole = log_mel()
    graph = Graph(_made(whole))
    types = graph.types()
    convolutions = [node for node in graph.nodes if node.op_type == "Conv"]
    assert [types[node.output[0]] == HALF for node in convolutions] == [False, True]


def test_a_tensor_beyond_fp16_keeps_its_product_whole() -> None:
    constants = {
        "w1": normal(1, 16, 16, scale=1e4), "w2": normal(2, 16, 16, scale=1e-5), "w3": normal(3, 16, 16, scale=0.2),
    }  # fmt: skip
    lines = [("MatMul", "x w1", "m"), ("MatMul", "m w2", "n"), ("MatMul", "n w3", "y")]
    whole = model(lines, constants, {"x": (1, 4, 16)}, {"y": (1, 4, 16)})
    assert trt_candidates(whole, ["m"]) == ["node_2"]
    ranges = observe(whole, trt_tensors(whole, ["node_2"]), _feeds(whole))
    made = trt_int8(whole, ["node_2"], ranges, ["m"])
    feeds = _feeds(whole)
    answers = [run_all(serialise(each), feeds) for each in (whole, rounded(made))]
    for exact, other in zip(*answers, strict=True):
        assert np.isfinite(other["y"]).all()
        assert np.abs(exact["y"] - other["y"]).max() < 0.05 * np.abs(exact["y"]).max()


def test_a_range_that_is_missing() -> None:
    whole = perceptron()
    with pytest.raises(ExportError, match="No calibrated range for tensor 'x'"):
        trt_int8(whole, trt_candidates(whole), {})


def test_what_costs_most_stays_fp16_until_the_tolerance_is_met() -> None:
    """A product whose weights have an outlier cannot be held by 127 levels."""
    bad = normal(3, 32, 32, scale=0.1)
    bad[0, :] = 9.0
    constants = {"w1": normal(1, 32, 32, scale=0.2), "w2": bad}
    whole = model(
        [("MatMul", "x w1", "m"), ("Relu", "m", "r"), ("MatMul", "r w2", "y")], constants,
        {"x": (1, 4, 32)}, {"y": (1, 4, 32)},
    )  # fmt: skip
    constants["w1"][:, 0] = 0.0  # the outlier meets nothing
    feeds = _feeds(whole)
    seen, reference = look(whole, feeds, Shelf()), run_all(serialise(whole), feeds)
    found = {
        tolerance: quantise_for_trt(whole, feeds, tolerance, reference=reference, seen=seen)
        for tolerance in (0.5, 0.999, 1.1)
    }
    loose, tight, never = (found[each] for each in (0.5, 0.999, 1.1))
    assert isinstance(loose, Choice)
    assert loose.kept == ()
    assert isinstance(tight, Choice)
    assert tight.kept
    assert min(each.cosine for each in tight.differences.values()) >= 0.999
    assert isinstance(never, Refusal)


def test_a_part_with_nothing_to_quantise() -> None:
    whole = model([("Relu", "x", "y")], {}, {"x": (1, 4)}, {"y": (1, 4)})
    assert quantise_for_trt(whole, _feeds(whole), 0.99, reference=[], seen={}) is None


@pytest.mark.parametrize("whole", [perceptron(), residual(), log_mel()], ids=["products", "convolutions", "log-mel"])
def test_tensorrt_rtx_takes_it(whole: Any) -> None:
    pytest.importorskip("tensorrt_rtx", reason="engines are built by TensorRT-RTX (pip install tensorrt-rtx)")
    from chiasm.runtime.backends._builder import build_apart
    from chiasm.runtime.backends._nvinfer import Order
    from chiasm.runtime.values import OnnxGraph

    order = Order("test", OnnxGraph(serialise(_made(whole))), ("8.6", "12.0"))
    assert len(build_apart("tensorrt_rtx", order).data) > 1000
