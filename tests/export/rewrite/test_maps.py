"""Convolutions of maps as products of their windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.graphs import serialise
from chiasm.export.quantise import candidates, dynamic_int8
from chiasm.export.rewrite import for_cpu
from chiasm.export.rewrite.maps import maps_as_products
from chiasm.export.sessions import Runner
from graphs import model, normal
from rewriting import farthest, kinds, rewritten


def _conv(size: tuple[int, int], taps: tuple[int, int], step: int, pads: tuple[int, int, int, int], **more: Any) -> Any:
    """One convolution, 128 channels in and out."""
    lines = [("Conv", "x w b", "y", {"strides": [step, step], "pads": list(pads), **more})]
    constants = {"w": normal(1, 128, 128, *taps, scale=0.05), "b": normal(2, 128)}
    made = [(size[at] + pads[at] + pads[at + 2] - taps[at]) // step + 1 for at in (0, 1)]
    return model(lines, constants, {"x": (2, 128, *size)}, {"y": (2, 128, *made)})


@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
@pytest.mark.parametrize(
    ("taps", "step", "pads"),
    [((3, 3), 1, (1, 1, 1, 1)), ((1, 1), 1, (0, 0, 0, 0)), ((3, 3), 2, (1, 1, 1, 1)), ((3, 3), 2, (0, 0, 1, 1)),
     ((1, 3), 1, (0, 2, 0, 0)), ((5, 2), 3, (0, 0, 0, 0))],
)  # fmt: skip
def test_the_answers_are_the_same(
    size: tuple[int, int], taps: tuple[int, int], step: int, pads: tuple[int, int, int, int]
) -> None:
    whole = _conv(size, taps, step, pads)
    made, count = rewritten(whole, maps_as_products)
    assert count == 1
    assert "Conv" not in kinds(made)
    assert farthest(whole, made, {"x": normal(3, 2, 128, *size)}) < 1e-5


@pytest.mark.parametrize("more", [{"dilations": [2, 2]}, {"auto_pad": "SAME_UPPER"}])
def test_what_it_does_not_know_is_left_alone(more: dict[str, Any]) -> None:
    pads = (2, 2, 2, 2) if "dilations" in more else (1, 1, 1, 1)
    lines = [("Conv", "x w", "y", {"pads": list(pads), **more} if "dilations" in more else more)]
    whole = model(lines, {"w": normal(1, 128, 128, 3, 3)}, {"x": (1, 128, 8, 8)}, {"y": (1, 128, 8, 8)})
    assert rewritten(whole, maps_as_products)[1] == 0


def test_few_channels_and_large_maps_are_left_alone() -> None:
    few = model([("Conv", "x w", "y", {})], {"w": normal(1, 4, 128, 1, 1)}, {"x": (1, 128, 8, 8)}, {"y": (1, 4, 8, 8)})
    assert rewritten(few, maps_as_products)[1] == 0
    assert rewritten(_conv((64, 64), (1, 1), 1, (0, 0, 0, 0)), maps_as_products)[1] == 1
    assert rewritten(_conv((64, 65), (1, 1), 1, (0, 0, 0, 0)), maps_as_products)[1] == 0


def test_in_int8_bytes_are_moved_and_it_is_done_without_captures_only() -> None:
    whole = _conv((8, 8), (3, 3), 1, (1, 1, 1, 1))
    assert for_cpu(whole)[1].get("maps", 0) == 0
    made, changed = for_cpu(whole, seen=False)
    assert changed["maps"] == 1
    small = dynamic_int8(made, candidates(made, "dynamic"))
    kind = {name: node.op_type for node in small.graph.node for name in node.output}
    reads = [kind[node.input[0]] for node in small.graph.node if node.op_type == "DynamicQuantizeLinear"]
    assert reads == ["Pad"]
    feeds = {"x": normal(3, 2, 128, 8, 8)}
    first, second = (Runner(serialise(each))(feeds)["y"].ravel() for each in (whole, small))
    assert float(first @ second / np.linalg.norm(first) / np.linalg.norm(second)) > 0.999
