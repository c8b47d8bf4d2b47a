"""A graph in which operations of ours are looked for, and what stands for what."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..onnx_graph import Graph, Node, Tensor
from ..wire import field, varint

__all__ = ["DOMAIN", "Replacement", "Searched", "made"]

DOMAIN = "chiasm"
_FLOAT, _INT, _STRING = 1, 2, 3  # types of attributes


@dataclass(frozen=True)
class Replacement:
    """The nodes that go, in order, and the bytes of the NodeProto that takes the place of the last one."""

    nodes: Sequence[Node]
    inputs: Sequence[str]
    content: bytes


@dataclass(frozen=True)
class Searched:
    """`folder`: where the files of the graph's weights lie, if any do."""

    graph: Graph
    folder: Path | None

    @cached_property
    def makers(self) -> Mapping[str, Node]:
        """Value → the node that makes it."""
        return {name: node for node in self.graph.nodes for name in node.outputs}

    @cached_property
    def readers(self) -> Mapping[str, Node | None]:
        """Value → the one node that reads it; None where several do, or it is a result of the graph."""
        uses = Counter([*self.graph.outputs, *(name for node in self.graph.nodes for name in node.inputs)])
        return {name: node if uses[name] == 1 else None for node in self.graph.nodes for name in node.inputs}

    def weight(self, name: str) -> Tensor | None:
        """A weight, also one that is cast, which ONNX Runtime does once."""
        maker = self.makers.get(name)
        return self.graph.weights.get(maker.inputs[0] if maker is not None and maker.op == "Cast" else name)

    def made_by(self, name: str, op: str) -> Node | None:
        """The node that makes a value, if that is such an operation and somebody else does not read the value."""
        maker = self.makers.get(name)
        return maker if maker is not None and maker.op == op and self.readers.get(name) is not None else None

    def read_by(self, node: Node | None, op: str) -> Node | None:
        """The only reader of a node's result, if that is such an operation."""
        reader = None if node is None else self.readers.get(node.outputs[0])
        return reader if reader is not None and reader.op == op else None


def made(op: str, nodes: Sequence[Node], inputs: Sequence[str], facts: Mapping[str, int | float | str]) -> Replacement:
    """An operation of ours in the place of some nodes: it gives what the last one gave. An input "" is missing."""
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    output = nodes[-1].outputs[0]
    parts = [*(field(1, name.encode()) for name in inputs), field(2, output.encode())]
    parts += [field(3, f"{output}/{op}".encode()), field(4, op.encode())]
    parts += [*(field(5, _attribute(*fact)) for fact in facts.items()), field(7, DOMAIN.encode())]
    return Replacement(nodes, inputs, b"".join(parts))


def _attribute(name: str, value: int | float | str) -> bytes:
    """An AttributeProto: the value in a field of its type, the type in field 20."""
    if isinstance(value, str):
        kind, content = _STRING, field(4, value.encode())
    elif isinstance(value, float):
        kind, content = _FLOAT, varint(2 << 3 | 5) + struct.pack("<f", value)
    else:
        kind, content = _INT, varint(3 << 3) + varint(value % 2**64)  # two's complement
    return field(1, name.encode()) + content + varint(20 << 3) + varint(kind)
