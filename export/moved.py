"""What is only moved, and moved to several places, is quantised before that: once, and a quarter of the bytes move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import NodeProto

from .graphs import Graph

__all__ = ["Moved"]

_MOVES = frozenset(["Reshape", "Slice", "Transpose", "Squeeze", "Unsqueeze", "Concat"])


class Moved:
    """The quantised form of activations: uint8 values, scale, zero point; each is made once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers: Mapping[str, Any] = graph.makers()
        self.known: dict[str, tuple[str, str, str]] = {}

    def quantised(self, name: str, made: list[Any]) -> tuple[str, str, str]:
        """Names of values, scale and zero point of a tensor; the nodes that are new go to `made`."""
        if name not in self.known:
            source = self._source(name) if self._joins(name) else name
            if source is None or source == name:
                node = self.graph.node("DynamicQuantizeLinear", [name], f"{name}.u8", 3)
                made.append(node)
                self.known[name] = tuple(node.output)
            else:
                facts = self.quantised(source, made)[1:]
                self.known[name] = (self._again(name, source, made), *facts)
        return self.known[name]

    def _joins(self, name: str) -> bool:
        return name in self.makers and self.makers[name].op_type == "Concat"

    def _source(self, name: str) -> str | None:
        """The one tensor that another is put together from; None where there are several, or constants."""
        node = self.makers.get(name)
        if node is None or node.op_type not in _MOVES:
            return None if name in self.graph.constants else name
        inputs = node.input if node.op_type == "Concat" else node.input[:1]
        found = {self._source(each) for each in inputs}
        return found.pop() if len(found) == 1 else None

    def _again(self, name: str, source: str, made: list[Any]) -> str:
        """Move the quantised source as `name` was made of it."""
        if name == source:
            return self.known[source][0]
        node = NodeProto()
        node.CopyFrom(self.makers[name])
        count = len(node.input) if node.op_type == "Concat" else 1
        node.input[:count] = [self._again(each, source, made) for each in node.input[:count]]
        node.name, node.output[0] = self.graph.fresh(f"{node.name}.u8"), self.graph.fresh(f"{name}.u8")
        made.append(node)
        return str(node.output[0])
