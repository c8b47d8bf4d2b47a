"""Convolutions over time as convolutions of pictures of height 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.rewrite import for_all, for_cpu, for_fp32
from chiasm.export.rewrite.flat import convolve_flat
from graphs import model, normal
from rewriting import farthest, kinds, rewritten


def _chain(*between: Any, outputs: Any = None, wide: int = 256, **more: Any) -> Any:
    """x (1, 256, 401) → conv of 3 taps at stride 2 → what is between → another → y (1, 256, 100)."""
    lines = [
        ("Conv", "x w1 b", "m", {"strides": [2]}), *(between or [("Gelu", "m", "n")]),
        ("Conv", "n w2", "y", {"strides": [2], "pads": [1, 1], **more}),
    ]  # fmt: skip
    constants = {
        "w1": normal(1, wide, wide, 3, scale=0.05), "w2": normal(2, wide, wide, 4, scale=0.05), "b": normal(3, wide),
        "to": np.array([1, wide, 200]),
    }  # fmt: skip
    return model(lines, constants, {"x": (1, wide, 401)}, outputs or {"y": (1, wide, 100)})


def test_between_two_of_them_values_stay_flat() -> None:
    whole = _chain(("Gelu", "m", "k"), ("Relu", "k", "n"))
    made, count = rewritten(whole, convolve_flat)
    assert count == 2
    assert kinds(made) == ["Unsqueeze", "Conv", "Gelu", "Relu", "Conv", "Squeeze"]
    assert farthest(whole, made, {"x": normal(4, 1, 256, 401)}) < 1e-5


@pytest.mark.parametrize("between", [("Softmax", "m", "n", {"axis": 1}), ("Reshape", "m to", "n")])
def test_what_looks_at_several_values_gets_them_as_before(between: Any) -> None:
    whole = _chain(between)
    made, count = rewritten(whole, convolve_flat)
    assert (count, kinds(made).count("Squeeze"), kinds(made).count("Unsqueeze")) == (2, 2, 2)
    assert farthest(whole, made, {"x": normal(4, 1, 256, 401)}) < 1e-5


def test_a_result_between_them_that_leaves_the_graph_keeps_its_shape() -> None:
    whole = _chain(("Gelu", "m", "n"), outputs={"y": (1, 256, 100), "n": (1, 256, 200)})
    made, count = rewritten(whole, convolve_flat)
    assert count == 2
    assert farthest(whole, made, {"x": normal(4, 1, 256, 401)}) < 1e-5


def test_only_what_is_stored_in_fp32_is_flat() -> None:
    whole = _chain()
    assert for_fp32(whole)[1] == {"spectrum": 0, "flat": 2}
    assert "Squeeze" not in kinds(for_all(whole)[0]) + kinds(for_cpu(whole)[0])


@pytest.mark.parametrize("whole", [_chain(wide=64), model(
    [("Conv", "x w", "y")], {"w": normal(1, 256, 256, 3)}, {"x": (1, 256, "t")}, {"y": (1, 256, "u")},  # type: ignore[list-item,dict-item]
), model(
    [("Conv", "x w", "y")], {"w": normal(1, 64, 64, 3, 3)}, {"x": (1, 64, 40, 40)}, {"y": (1, 64, 38, 38)},
)])  # fmt: skip
def test_small_ones_pictures_and_unknown_lengths_are_left_alone(whole: Any) -> None:
    assert rewritten(whole, convolve_flat)[1] == 0
