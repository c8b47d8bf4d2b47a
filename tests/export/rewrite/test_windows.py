"""Convolutions over time as products of their windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.graphs import serialise
from chiasm.export.quantise import candidates, dynamic_int8
from chiasm.export.rewrite import for_cpu
from chiasm.export.rewrite.windows import windows_as_products
from chiasm.export.sessions import Runner
from graphs import model, normal
from rewriting import farthest, kinds, rewritten


def _made(size: int, taps: int, step: int, pads: tuple[int, int]) -> int:
    return (size + sum(pads) - taps) // step + 1


def _conv(size: int, taps: int, step: int, pads: tuple[int, int] = (0, 0), **more: Any) -> Any:
    lines = [("Conv", "x w b", "y", {"strides": [step], "pads": list(pads), **more})]
    constants = {"w": normal(1, 48, 32, taps), "b": normal(2, 48)}
    return model(lines, constants, {"x": (2, 32, size)}, {"y": (2, 48, _made(size, taps, step, pads))})


@pytest.mark.parametrize("size", [7, 8, 9, 10, 31])
@pytest.mark.parametrize(
    ("taps", "step", "pads"),
    [(3, 2, (0, 0)), (2, 2, (0, 0)), (3, 1, (1, 1)), (3, 2, (1, 1)), (4, 2, (0, 3)), (5, 2, (2, 0)), (7, 3, (0, 0))],
)
def test_the_answers_are_the_same(size: int, taps: int, step: int, pads: tuple[int, int]) -> None:
    whole = _conv(size, taps, step, pads)
    made, count = rewritten(whole, windows_as_products)
    assert count == 1
    assert "Conv" not in kinds(made)
    assert farthest(whole, made, {"x": normal(3, 2, 32, size)}) < 1e-5


def _chain() -> Any:
    """x → conv of 3 taps at stride 2, GELU, another → y."""
    lines = [("Conv", "x w", "m", {"strides": [2]}), ("Gelu", "m", "n"), ("Conv", "n w", "y", {"strides": [2]})]
    return model(lines, {"w": normal(1, 32, 32, 3, scale=0.1)}, {"x": (1, 32, 31)}, {"y": (1, 32, 7)})


def test_between_two_of_them_values_stay_rows() -> None:
    made, count = rewritten(_chain(), windows_as_products)
    assert count == 2
    gelu = next(node for node in made.graph.node if node.op_type == "Gelu")
    products = [node.output[0] for node in made.graph.node if node.op_type == "MatMul"]
    slices = [node for node in made.graph.node if node.op_type == "Slice" and node.input[0] == gelu.output[0]]
    assert gelu.input[0] in products
    assert len(slices) == 2
    assert farthest(_chain(), made, {"x": normal(3, 1, 32, 31)}) < 1e-5


def test_the_input_is_quantised_before_it_is_cut_into_windows() -> None:
    """Once for each convolution, and as near to FP32 as eight bits allow."""
    made, _ = rewritten(_chain(), windows_as_products)
    small = dynamic_int8(made, candidates(made, "dynamic"))
    kind = {name: node.op_type for node in small.graph.node for name in node.output}
    reads = [kind.get(n.input[0], "x") for n in small.graph.node if n.op_type == "DynamicQuantizeLinear"]
    assert reads == ["x", "Gelu"]
    x = {"x": normal(3, 1, 32, 31)}
    first, second = (Runner(serialise(each))(x)["y"].ravel() for each in (_chain(), small))
    assert float(first @ second / np.linalg.norm(first) / np.linalg.norm(second)) > 0.999


def test_it_is_done_only_where_there_are_no_captures() -> None:
    """With captures the convolutions get ranges, which was measured to be a little faster."""
    assert for_cpu(_chain(), seen=False)[1]["windows"] == 2
    assert "Conv" in kinds(for_cpu(_chain())[0])


@pytest.mark.parametrize(
    "whole",
    [
        _conv(31, 5, 3),  # two taps beyond a multiple of the stride
        model(
            [("Conv", "x w", "y", {"dilations": [2]})], {"w": normal(1, 48, 32, 3)}, {"x": (1, 32, 9)},
            {"y": (1, 48, 5)},
        ),
        model(
            [("Conv", "x w", "y", {"group": 2})], {"w": normal(1, 48, 32, 3)}, {"x": (1, 64, 9)}, {"y": (1, 48, 7)}
        ),
        model([("Conv", "x w", "y")], {"w": normal(1, 48, 4, 3)}, {"x": (1, 4, 9)}, {"y": (1, 48, 7)}),  # thin
        model([("Conv", "x w", "y")], {"w": normal(1, 48, 32, 3)}, {"x": (1, 32, "t")}, {"y": (1, 48, "u")}),  # type: ignore[list-item,dict-item]
    ],
)  # fmt: skip
def test_others_are_left_alone(whole: Any) -> None:
    assert rewritten(whole, windows_as_products)[1] == 0
