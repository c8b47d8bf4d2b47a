"""Activations are quantised before they are moved to several places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.graphs import Graph, serialise
from chiasm.export.moved import Moved
from chiasm.export.quantise import candidates, dynamic_int8
from chiasm.export.sessions import Runner
from graphs import model, normal

LIMITS = {"zero": np.array([0]), "one": np.array([1]), "five": np.array([5]), "six": np.array([6])}


def _shifted(first: str = "x", second: str = "x") -> Any:
    """x, z (1, 6, 8) → rows beside the row after them (1, 5, 16) → product with w → y; a further product of x."""
    lines = [
        ("Slice", f"{first} zero five one", "a"), ("Slice", f"{second} one six one", "b"),
        ("Concat", "a b", "c", {"axis": 2}), ("MatMul", "c w", "y"), ("MatMul", "x v", "u"),
    ]  # fmt: skip
    constants = {"w": normal(1, 16, 4), "v": normal(2, 8, 4), **LIMITS}
    return model(lines, constants, {"x": (1, 6, 8), "z": (1, 6, 8)}, {"y": (1, 5, 4), "u": (1, 6, 4)})


def _quantised(whole: Any) -> tuple[Any, list[str]]:
    """The INT8 graph, and what is quantised in it."""
    made = dynamic_int8(whole, candidates(whole, "dynamic"))
    return made, [node.input[0] for node in made.graph.node if node.op_type == "DynamicQuantizeLinear"]


def test_what_is_put_together_of_one_tensor_is_quantised_once() -> None:
    made, read = _quantised(_shifted())
    assert read == ["x"]
    feed = {"x": normal(3, 1, 6, 8), "z": normal(4, 1, 6, 8)}
    known, found = (Runner(serialise(each))(feed) for each in (_shifted(), made))
    for name, value in known.items():
        assert np.abs(found[name] - value).max() < 0.03 * np.abs(value).max()


def test_what_is_put_together_of_two_tensors_is_quantised_as_a_whole() -> None:
    assert sorted(_quantised(_shifted("x", "z"))[1]) == ["c", "x"]


def test_what_is_put_together_with_a_constant_is_quantised_as_a_whole() -> None:
    lines = [("Concat", "x k", "c", {"axis": 1}), ("MatMul", "c w", "y")]
    whole = model(lines, {"k": normal(1, 1, 2, 8), "w": normal(2, 8, 4)}, {"x": (1, 6, 8)}, {"y": (1, 8, 4)})
    assert _quantised(whole)[1] == ["c"]


def test_what_is_moved_to_one_place_only_is_quantised_where_it_is_read() -> None:
    """There ONNX Runtime makes one operator of both."""
    lines = [("Transpose", "x", "t", {"perm": [0, 2, 1]}), ("MatMul", "t w", "y")]
    graph = Graph(model(lines, {"w": normal(1, 6, 4)}, {"x": (1, 6, 8)}, {"y": (1, 8, 4)}))
    made: list[Any] = []
    moved = Moved(graph)
    assert moved.quantised("t", made) == moved.quantised("t", made)
    assert [(node.op_type, node.input[0]) for node in made] == [("DynamicQuantizeLinear", "t")]
