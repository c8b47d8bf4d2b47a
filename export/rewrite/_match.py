"""What the rewrites ask of a graph: who alone reads a tensor, a node's attributes, whole numbers, shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper

from ..graphs import Graph
from ..model import infer

__all__ = [
    "ONE_BY_ONE", "View", "assign", "attribute", "carry", "is_mark", "is_plain", "replace_convolutions", "same_axis",
    "whole",
]  # fmt: skip

ONE_BY_ONE = frozenset(["Relu", "Sigmoid", "Tanh", "Gelu", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs", "HardSigmoid",
                        "HardSwish", "Softplus", "Elu", "LeakyRelu", "Reciprocal", "Identity"])  # fmt: skip
"""Operators of one input that look at one value at a time."""


class View:
    """A graph as it is now: readers and makers of each tensor, and shapes (0: a size that is not static)."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers, self.readers = graph.makers(), graph.uses()
        known = infer(graph.save(), strict=False)
        self.shapes: dict[str, tuple[int, ...]] = {name: shape for name, (_, shape) in known.items()}
        self.shapes |= {name: value.shape for name, value in graph.constants.items()}

    def reader(self, name: str) -> Any:
        """The only node that reads a tensor; None where there are several, or where it is an output."""
        found = self.readers.get(name, [])
        return found[0] if len(found) == 1 and name not in self.graph.outputs else None

    def number(self, name: str) -> Sequence[int] | None:
        """The whole numbers of a constant; None where the tensor is none."""
        value = self.graph.constants.get(name)
        return None if value is None or value.dtype.kind not in "iu" else [int(each) for each in np.ravel(value)]


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """The value of an attribute, or the default."""
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def whole(*numbers: int) -> Any:
    """An int64 vector, as shapes and indices are."""
    return np.array(numbers, np.int64)


def is_plain(convolution: Any) -> bool:
    """Whether it has one group, no dilation, and says itself how it is padded."""
    return (
        attribute(convolution, "group", 1) == 1
        and set(attribute(convolution, "dilations", [1])) == {1}
        and attribute(convolution, "auto_pad", b"NOTSET") in (b"NOTSET", b"")
    )


def replace_convolutions(
    graph: Graph, fits: Callable[[View, Any], bool], rewrite: Callable[[Graph, View, Any, dict[str, str]], None]
) -> int:
    """Let `rewrite` make other nodes of each convolution that fits, and drop it. Returns how many.

    All of them share one dictionary: tensor with channels first → its form with channels last, where there is one.
    """
    view = View(graph)
    nodes = [node for node in graph.nodes if node.op_type == "Conv" and fits(view, node)]
    rows: dict[str, str] = {}
    for node in nodes:
        rewrite(graph, view, node, rows)
    gone = {node.name for node in nodes}
    graph.nodes = [node for node in graph.nodes if node.name not in gone]
    return len(nodes)


def is_mark(view: View, name: str) -> bool:
    """Whether a tensor is `Cast(Equal(0 … S−1, ArgMax(…)))`, in whatever shape: exactly one of its values is 1."""
    node = view.makers.get(name)
    while node is not None and node.op_type in ("Unsqueeze", "Reshape", "Cast"):
        node = view.makers.get(node.input[0])
    if node is None or node.op_type != "Equal":
        return False
    for count, place in (tuple(node.input), tuple(reversed(node.input))):
        numbers, found = view.number(count), view.makers.get(place)
        if numbers is not None and found is not None and found.op_type == "ArgMax":
            return list(numbers) == list(range(len(numbers))) and np.prod(view.shapes[place]) == 1
    return False


def same_axis(shape: Sequence[int], other: Sequence[int], axis: int) -> int | None:
    """The axis of `shape` that a reshape made `axis` of `other` from: as large, with as many values before it.

    None where there is none, or a size is not known.
    """
    if 0 in shape or 0 in other:
        return None
    front = int(np.prod(other[:axis]))
    same = [at for at, size in enumerate(shape) if size == other[axis] and int(np.prod(shape[:at])) == front]
    return same[0] if same else None


def assign(node: Any, **values: Any) -> None:
    """Set attributes of a node, in place of those it had."""
    kept = [each for each in node.attribute if each.name not in values]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in values.items())])


def carry(graph: Graph, view: View, name: str, form: str) -> tuple[str, str]:
    """Let what looks at one value at a time read `form`, the values of tensor `name` in another order, instead of it.

    As far as each is the only reader; gives the last tensor's name, which nothing makes any more, and its other form.
    """
    reader = view.reader(name)
    while reader is not None and reader.op_type in ONE_BY_ONE:
        reader.input[0], name = form, reader.output[0]
        form = reader.output[0] = graph.fresh(f"{name}.form")
        reader = view.reader(name)
    return name, form
