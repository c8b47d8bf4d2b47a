"""The estimated error of a quantised node, beside the error that it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export.graphs import serialise
from chiasm.export.noise import estimates, input_axes
from chiasm.export.quantise import candidates, dynamic_int8, static_int8, static_tensors
from chiasm.export.ranges import survey
from chiasm.export.sessions import run_all
from graphs import model, normal


def _conv(groups: int = 1) -> Any:
    constants = {"w": normal(1, 16, 8 // groups, 3, 3, scale=0.2)}
    return model([("Conv", "x w", "y", {"pads": [1, 1, 1, 1], "group": groups})], constants, {"x": (1, 8, 12, 12)},
                 {"y": (1, 16, 12, 12)})  # fmt: skip


def _product(far: float = 1.0) -> Any:
    """A product one of whose input channels is `far` from the others and hardly matters."""
    scale, weight = np.ones(64, np.float32), normal(2, 64, 32)
    scale[5], weight[5] = far, weight[5] / far / far
    return model([("Mul", "x s", "m"), ("MatMul", "m w", "y")], {"s": scale, "w": weight}, {"x": (1, 9, 64)},
                 {"y": (1, 9, 32)})  # fmt: skip


@pytest.mark.parametrize("whole", [_conv(), _conv(4), _product(), _product(50.0)],
                         ids=["convolution", "groups", "product", "far channel"])  # fmt: skip
@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_the_estimate_is_near_the_error(whole: Any, method: str) -> None:
    """Within a factor of three, over three orders of magnitude: enough to rank by."""
    nodes = candidates(whole, method)
    if not nodes:
        pytest.skip("a convolution is static only")
    shape = tuple(each.dim_value for each in whole.graph.input[0].type.tensor_type.shape.dim)
    feeds = [{"x": normal(seed, *shape)} for seed in range(4)]
    seen = survey(whole, static_tensors(whole, nodes), feeds, axes=input_axes(whole, nodes))
    ranges = {name: (each.low, each.high) for name, each in seen.items()}
    made = dynamic_int8(whole, nodes) if method == "dynamic" else static_int8(whole, nodes, ranges)
    pairs = list(zip(run_all(serialise(whole), feeds), run_all(serialise(made), feeds), strict=True))
    error = sum(float(np.square(a["y"] - b["y"]).sum()) for a, b in pairs)
    real = error / sum(float(np.square(a["y"]).sum()) for a, _ in pairs)
    (estimate,) = estimates(whole, nodes, seen, method).values()
    assert real / 3 < estimate < real * 3


def test_a_table_is_estimated_from_its_rows() -> None:
    table = normal(1, 2048, 512)
    lines = [("Cast", "x", "ids", {"to": 7}), ("Gather", "t ids", "y")]
    whole = model(lines, {"t": table}, {"x": (1, 4)}, {"y": (1, 4, 512)})
    (estimate,) = estimates(whole, candidates(whole, "dynamic"), {}, "dynamic").values()
    rows = table / np.abs(table).max(axis=1, keepdims=True) * 127
    error = (np.rint(rows) - rows) * np.abs(table).max(axis=1, keepdims=True) / 127
    real = np.square(error).mean() / np.square(table).mean()
    assert estimate == pytest.approx(real, rel=0.05)
