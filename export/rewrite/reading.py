"""The last block computes only the token that is read.

Where the answer hangs on one row of the last states (B, S, D) only (the class token, the state at the end of a text),
the selection moves backwards through everything that treats rows alike: normalisations, products with a weight, the
feed-forward layer, the queries. Keys and values of the last block stay whole. That saves the last of L blocks nearly
all but a sixth of its products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graphs import Graph
from ._match import ONE_BY_ONE, View, attribute, is_mark, same_axis, whole

__all__ = ["read_tokens_only"]

_PAIRS = frozenset(["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"])


def read_tokens_only(graph: Graph) -> int:
    """Move the selection of one row as far up as it goes. Returns how many products with a weight became smaller."""
    view = View(graph)
    for node in list(graph.nodes):
        chosen = _by_index(graph, view, node) or _by_mark(graph, view, node)
        if chosen is None:
            continue
        rows = _Rows(graph, view, chosen)
        rows.find()
        if rows.products:
            rows.rewrite()
            return rows.products
    return 0


@dataclass
class _Chosen:
    """Which row: `source` (…, S, …) is read at one index of `axis`; `pick` adds the selection of a tensor at an axis,
    keeping the axis, and gives its name; `fits` says whether it can."""

    source: str
    axis: int
    pick: Callable[[str, int], str]
    fits: Callable[[str, int], bool]
    instead: Callable[[str], None]
    """Make the selecting node read what is selected already."""


def _by_index(graph: Graph, view: View, node: Any) -> _Chosen | None:
    """`Gather` at one constant index."""
    if node.op_type != "Gather" or node.input[1] not in graph.constants or graph.constants[node.input[1]].size != 1:
        return None
    source = node.input[0]
    rank = len(view.shapes.get(source, ()))
    axis = attribute(node, "axis", 0) % max(rank, 1)
    if rank < 3 or axis != rank - 2 or source in graph.constants:
        return None
    value = graph.constants[node.input[1]]

    def pick(name: str, at: int) -> str:
        index = graph.constant("row", value.reshape(1))
        made = graph.node("Gather", [name, index], f"{name}.row", axis=at)
        graph.nodes.append(made)
        return str(made.output[0])

    def instead(name: str) -> None:
        node.input[:] = [name, graph.constant("first", np.zeros_like(value))]

    return _Chosen(source, axis, pick, lambda name, at: True, instead)


def _by_mark(graph: Graph, view: View, node: Any) -> _Chosen | None:
    """A product of a row of marks (1, 1, S), one of which is 1, with the states: how the end of a text is found."""
    if node.op_type != "MatMul" or not is_mark(view, node.input[0]):
        return None
    mark, source = node.input
    shape = view.shapes.get(source, ())
    if len(shape) != 3 or view.shapes.get(mark) != (1, 1, shape[1]) or source in graph.constants:
        return None

    def pick(name: str, at: int) -> str:
        made = graph.node("MatMul", [mark, name], f"{name}.row")
        graph.nodes.append(made)
        return str(made.output[0])

    def fits(name: str, at: int) -> bool:
        return at == len(view.shapes[name]) - 2

    def instead(name: str) -> None:
        node.op_type = "Identity"
        node.input[:] = [name]

    return _Chosen(source, 1, pick, fits, instead)


@dataclass
class _Rows:
    """`axes`: tensors of which only one row of that axis is needed; `nodes`: those that can compute that row alone."""

    graph: Graph
    view: View
    chosen: _Chosen
    axes: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, tuple[Any, dict[int, int]]] = field(default_factory=dict)

    def find(self) -> None:
        """Look again without the nodes that would need a row of something that the selection cannot be made of."""
        banned: set[str] = set()
        while True:
            self._walk(banned)
            inside = {node.output[0] for node, _ in self.nodes.values()}
            wrong = {
                name
                for name, (node, slots) in self.nodes.items()
                for slot, axis in slots.items()
                if node.input[slot] not in inside and not self.chosen.fits(node.input[slot], axis)
            }
            if not wrong:
                return
            banned |= wrong

    def _walk(self, banned: set[str]) -> None:
        """Backwards from the selection: a node can be narrowed where whoever reads it wants the same row only."""
        self.axes, self.nodes = {self.chosen.source: self.chosen.axis}, {}
        wanting: dict[str, int] = {self.chosen.source: 1}
        for node in reversed(self.graph.nodes):
            name = node.output[0]
            if name not in self.axes or len(node.output) > 1 or name in self.graph.outputs or node.name in banned:
                continue
            if wanting[name] != len(self.view.readers[name]):
                continue
            slots = self._slots(node, self.axes[name])
            if slots is None or any(self.axes.get(node.input[slot], axis) != axis for slot, axis in slots.items()):
                continue
            self.nodes[node.name] = node, slots
            for source in {node.input[slot] for slot in slots}:
                at = {slot for slot, each in enumerate(node.input) if each == source}
                self.axes[source] = slots[min(at & slots.keys())]
                wanting[source] = wanting.get(source, 0) + (at <= slots.keys())

    @property
    def products(self) -> int:
        """Products with a weight that would be narrowed."""
        return sum(self._has_weight(node) for node, _ in self.nodes.values())

    def _has_weight(self, node: Any) -> bool:
        return node.op_type in ("MatMul", "Gemm") and node.input[1] in self.graph.constants

    def _slots(self, node: Any, axis: int) -> dict[int, int] | None:
        """Input slot → the axis of it at which the same row is wanted; None where rows do not stay apart."""
        shapes = [self.view.shapes.get(name, ()) for name in node.input]
        made = self.view.shapes.get(node.output[0], ())
        if not made or axis >= len(made) or made[axis] < 2:
            return None
        if node.op_type in ONE_BY_ONE:
            return {0: axis}
        if node.op_type in _PAIRS:
            places = [axis - len(made) + len(shape) for shape in shapes]
            both = enumerate(zip(places, shapes, strict=True))
            return {slot: at for slot, (at, shape) in both if at >= 0 and shape[at] > 1}
        if node.op_type in ("LayerNormalization", "Softmax"):
            last = attribute(node, "axis", -1) % len(made)
            return {0: axis} if last == len(made) - 1 and axis < last else None
        if node.op_type == "MatMul":
            return {0: len(shapes[0]) - 2} if axis == len(made) - 2 and len(shapes[0]) >= 2 else None
        if node.op_type == "Transpose":
            return {0: attribute(node, "perm")[axis]}
        same = same_axis(shapes[0], made, axis) if node.op_type == "Reshape" else None
        return None if same is None else {0: same}

    def rewrite(self) -> None:
        """Narrow the nodes that were found; pick the row of what comes from elsewhere."""
        picked: dict[str, str] = {}
        inside = {node.output[0] for node, _ in self.nodes.values()}
        for node, slots in self.nodes.values():
            if node.op_type == "Reshape":
                shape = list(self.view.shapes[node.output[0]])
                shape[self.axes[node.output[0]]] = 1
                node.input[1] = self.graph.constant(f"{node.name}.shape", whole(*shape))
            for slot, axis in slots.items():
                name = node.input[slot]
                if name in inside:
                    continue
                if name not in picked:
                    picked[name] = self.chosen.pick(name, axis)
                node.input[slot] = picked[name]
        self.chosen.instead(self.chosen.source)
