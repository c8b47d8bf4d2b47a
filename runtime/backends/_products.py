"""Products of bytes by our own kernel, inside graphs that ONNX Runtime opens, where it is faster than its own.

That is so on processors with AVX2 and no instruction for such products. Dynamic quantisation says
`DynamicQuantizeLinear → MatMulInteger → Cast → Mul (→ Add)`. ONNX Runtime makes one operation of it; here it becomes
one of ours (kernels/csrc/ort_products.cpp) before ONNX Runtime sees it. Both give the same numbers, bit for bit, and
bundles know nothing of it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

from ...kernels._select import compiled
from ..onnx_graph import Graph, Node, Tensor, read_graph
from ..wire import field, fields, varint

__all__ = ["SMALL_GRAPH", "library", "with_own_products"]

SMALL_GRAPH = 2**20
"""Bytes; to look through a smaller graph takes longer than its products could gain."""
_LEAST = 2**14
"""Weights of a product that is worth replacing."""
_DOMAIN = "chiasm"
_BRANCHES = ("If", "Loop", "Scan")
"""Operations with graphs of their own, which may read weights of this one."""


def library() -> str | None:
    """The file that registers the operations with ONNX Runtime; None where they gain nothing or were not built."""
    return str(compiled.__file__) if compiled is not None and compiled.products_pay() else None


def with_own_products(model: bytes, folder: Path | None = None) -> bytes:
    """The model with products of ours, or as it is where there is none to replace. `folder`: where the files of its
    weights lie, from which our operations read them on their own."""
    if b"MatMulInteger" not in model:
        return model
    known = _Searched(read_graph(model), folder)
    if any(node.op in _BRANCHES for node in known.graph.nodes):
        return model
    found = [_product(known, node) for node in known.graph.nodes if node.op == "MatMulInteger"]
    replacements = [each for each in found if each is not None]
    if not replacements:
        return model
    around = [
        field(7, _rewritten(content, known, replacements)) if number == 7 and wire == 2 else whole
        for number, wire, whole, content in fields(memoryview(model))
    ]
    return b"".join([*around, field(8, field(1, _DOMAIN.encode()) + varint(2 << 3) + varint(1))])


@dataclass(frozen=True)
class _Replacement:
    """The nodes that go, in order, and the bytes of the NodeProto that takes the place of the last one."""

    nodes: Sequence[Node]
    inputs: Sequence[str]
    content: bytes


@dataclass(frozen=True)
class _Searched:
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


def _rewritten(content: memoryview, known: _Searched, replacements: list[_Replacement]) -> bytes:
    """The GraphProto anew, without what nobody reads any more."""
    gone = {id(node) for each in replacements for node in each.nodes}
    new = {id(each.nodes[-1]): each for each in replacements}
    kept = [node for node in known.graph.nodes if id(node) not in gone]
    inputs = [*(node.inputs for node in kept), *(each.inputs for each in replacements)]
    read = set(known.graph.outputs).union(*inputs)
    nodes = [
        field(1, new[id(node)].content if id(node) in new else node.content)
        for node in known.graph.nodes
        if id(node) in new or (id(node) not in gone and _is_read(node, read))
    ]
    rest = [
        whole
        for number, wire, whole, inner in fields(content)
        if number != 1 and (number != 5 or wire != 2 or _name(inner) in read)
    ]
    return b"".join([*nodes, *rest])


def _is_read(node: Node, read: set[str]) -> bool:
    """Quantised activations may have lost their readers; all other nodes have not."""
    return node.op != "DynamicQuantizeLinear" or not read.isdisjoint(node.outputs)


def _name(tensor: memoryview) -> str:
    return next((bytes(content).decode() for number, _, _, content in fields(tensor) if number == 8), "")


def _product(known: _Searched, node: Node) -> _Replacement | None:
    """A product of ours for a MatMulInteger; None where the nodes around it are not the expected ones."""
    values, name, *zero = node.inputs
    weight = known.graph.weights.get(name)
    if len(zero) != 1 or weight is None or weight.dtype != "int8" or len(weight.shape) != 2:
        return None
    depth, columns = weight.shape
    cast = known.read_by(node, "Cast")
    scaled = known.read_by(cast, "Mul")
    if prod(weight.shape) < _LEAST or cast is None or scaled is None:
        return None
    both = known.made_by(_other(scaled, cast.outputs[0]), "Mul")
    scales = [] if both is None else [each for each in both.inputs if _is_row(known, each, columns)]
    if both is None or len(scales) != 1:
        return None
    nodes, bias = [node, cast, both, scaled], ""
    added = known.read_by(scaled, "Add")
    if added is not None and _is_row(known, _other(added, scaled.outputs[0]), columns):
        nodes.append(added)
        bias = _other(added, scaled.outputs[0])
    scale = _other(both, scales[0])
    source = known.makers.get(values)
    if source is not None and source.op == "DynamicQuantizeLinear" and source.outputs == (values, scale, zero[0]):
        given, op = [source.inputs[0]], "ProductOfFloats"
    else:
        given, op = [values, scale, zero[0]], "ProductOfBytes"
    file, offset = "", 0
    if weight.place is not None and known.folder is not None:
        file, offset = os.fspath((known.folder / weight.place[0]).absolute()), weight.place[1]
        name = ""
    facts: dict[str, int | str] = {
        "biased": int(bool(bias)),
        "file": file,
        "offset": offset,
        "depth": depth,
        "columns": columns,
    }
    return _made(op, nodes, [*given, scales[0], name, bias], facts)


def _is_row(known: _Searched, name: str, columns: int) -> bool:
    """Whether it is a weight with one number for each column."""
    weight = known.weight(name)
    return weight is not None and weight.shape == (columns,)


def _other(node: Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


def _made(op: str, nodes: Sequence[Node], inputs: Sequence[str], facts: Mapping[str, int | str]) -> _Replacement:
    """An operation of ours in the place of some nodes: it gives what the last one gave. An input "" is missing."""
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    output = nodes[-1].outputs[0]
    parts = [*(field(1, name.encode()) for name in inputs), field(2, output.encode())]
    parts += [field(3, f"{output}/{op}".encode()), field(4, op.encode())]
    parts += [*(field(5, _attribute(*fact)) for fact in facts.items()), field(7, _DOMAIN.encode())]
    return _Replacement(nodes, inputs, b"".join(parts))


def _attribute(name: str, value: int | str) -> bytes:
    """An AttributeProto: the value in a field of its type, the type, 2 or 3, in field 20."""
    kind, content = (3, field(4, value.encode())) if isinstance(value, str) else (2, varint(3 << 3) + varint(value))
    return field(1, name.encode()) + content + varint(20 << 3) + varint(kind)
