"""What the tests of single rewrites share: apply one, run the graph before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from chiasm.export.graphs import Graph, check, serialise
from chiasm.export.model import Model, as_model
from chiasm.export.sessions import Runner
from chiasm.runtime.values import Array

__all__ = ["farthest", "kinds", "rewritten"]


def rewritten(whole: Any, rewrite: Callable[[Graph], int]) -> tuple[Model, int]:
    """The graph after a rewrite, valid ONNX, and how many places were changed."""
    graph = Graph(whole)
    count = rewrite(graph)
    made = graph.save()
    check(made, "part")
    return made, count


def kinds(whole: Any) -> list[str]:
    """Operators of a graph, in order."""
    return [node.op_type for node in as_model(whole).graph.node]


def farthest(before: Any, after: Any, feed: Mapping[str, Array]) -> float:
    """max|a − b| / max|a| over all outputs, whose names and shapes are the same."""
    first, second = Runner(serialise(before)), Runner(serialise(after))
    assert (second.inputs, second.outputs) == (first.inputs, first.outputs)
    known, made = first(feed), second(feed)
    assert {name: value.shape for name, value in made.items()} == {name: value.shape for name, value in known.items()}
    return max(float(np.abs(made[name] - value).max() / np.abs(value).max()) for name, value in known.items())
