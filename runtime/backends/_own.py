"""Operations of ours in graphs that ONNX Runtime opens, where they are faster than its own.

That is so on processors with AVX2 and no instruction for products of bytes. A graph is rewritten as it is opened:
bundles know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...kernels._select import compiled
from ..onnx_graph import Node, read_graph
from ..wire import field, fields, varint
from ._own_attention import attention
from ._own_graph import DOMAIN, Replacement, Searched
from ._own_products import product

__all__ = ["SMALL_GRAPH", "library", "with_own_operations"]

SMALL_GRAPH = 2**20
"""Bytes; to look through a smaller graph takes longer than its operations could gain."""
_FINDERS: dict[str, Callable[[Searched, Node], Replacement | None]] = {
    "MatMulInteger": product,
    "Softmax": attention,
}
_BRANCHES = ("If", "Loop", "Scan")
"""Operations with graphs of their own, which may read weights of this one."""


def library() -> str | None:
    """The file that registers the operations with ONNX Runtime; None where they gain nothing or were not built."""
    return str(compiled.__file__) if compiled is not None and compiled.networks_gain() else None


def with_own_operations(model: bytes, folder: Path | None = None) -> bytes:
    """The model with operations of ours, or as it is where there is nothing to replace. `folder`: where the files of
    its weights lie, from which our operations read them on their own."""
    if not any(op.encode() in model for op in _FINDERS):
        return model
    known = Searched(read_graph(model), folder)
    if any(node.op in _BRANCHES for node in known.graph.nodes):
        return model
    found = [_FINDERS[node.op](known, node) for node in known.graph.nodes if node.op in _FINDERS]
    replacements = [each for each in found if each is not None]
    if not replacements:
        return model
    around = [
        field(7, _rewritten(content, known, replacements)) if number == 7 and wire == 2 else whole
        for number, wire, whole, content in fields(memoryview(model))
    ]
    return b"".join([*around, field(8, field(1, DOMAIN.encode()) + varint(2 << 3) + varint(1))])


def _rewritten(content: memoryview, known: Searched, replacements: list[Replacement]) -> bytes:
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
