"""Products of bytes by our own kernel, where the processor has no instruction for them and ONNX Runtime is slower.

A graph that was quantised dynamically says `DynamicQuantizeLinear → MatMulInteger → Cast → Mul (→ Add)`. ONNX Runtime
makes one operation of it; here it becomes one of ours (kernels/csrc/ort_products.cpp) before ONNX Runtime sees it. Both
give the same numbers, bit for bit.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ...kernels._select import compiled
from ..external_data import place_of
from ..wire import field, fields, varint

__all__ = ["SMALL_GRAPH", "library", "with_own_products"]

SMALL_GRAPH = 2**20
"""Bytes; to look through a smaller graph takes longer than its products could gain."""
_LEAST = 2**14
"""Weights of a product that is worth replacing."""
_DOMAIN = "chiasm"
_INT8 = 3
_BRANCHES = ("If", "Loop", "Scan")
"""Operations with graphs of their own, which may read weights of this one."""


def library() -> str | None:
    """The file that registers the operations with ONNX Runtime; None where they do not pay or were not built."""
    if compiled is None or not compiled.products_pay():
        return None
    return str(compiled.__file__)


def with_own_products(model: bytes, folder: Path | None = None) -> bytes:
    """The model with its products replaced, or as it is where there is none to replace. `folder`: where the files of
    its weights lie, from which our operations read them on their own."""
    if b"MatMulInteger" not in model:
        return model
    around: list[bytes | memoryview] = []
    new: bytes | None = None
    for number, wire, whole, content in fields(memoryview(model)):
        if number == 7 and wire == 2:
            new = _rewritten(content, folder)
            if new is None:
                return model
            around.append(field(7, new))
        else:
            around.append(whole)
    return b"".join([*around, field(8, field(1, _DOMAIN.encode()) + varint(2 << 3) + varint(1))])


@dataclass(frozen=True, slots=True)
class _Node:
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    whole: bytes | memoryview


@dataclass(frozen=True, slots=True)
class _Weight:
    """A TensorProto: its type's number, its shape, its bytes, and these with the field's key."""

    kind: int
    shape: tuple[int, ...]
    content: memoryview
    whole: memoryview


@dataclass(frozen=True)
class _Graph:
    """`nodes` in order; `readers`: value → the one node that reads it, None where several do or it is a result."""

    nodes: Sequence[_Node]
    makers: Mapping[str, _Node]
    readers: Mapping[str, _Node | None]
    weights: Mapping[str, _Weight]
    results: frozenset[str]
    rest: Sequence[bytes | memoryview]
    folder: Path | None

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a weight, or of what is cast from one, which ONNX Runtime does once; () for anything else."""
        maker = self.makers.get(name)
        weight = self.weights.get(maker.inputs[0] if maker is not None and maker.op == "Cast" else name)
        return () if weight is None else weight.shape


def _rewritten(content: memoryview, folder: Path | None) -> bytes | None:
    graph = _read(content, folder)
    if any(node.op in _BRANCHES for node in graph.nodes):
        return None
    replaced: dict[int, list[_Node]] = {}
    gone: set[int] = set()
    for node in graph.nodes:
        found = _product(graph, node) if node.op == "MatMulInteger" else None
        if found is not None:
            chain, made = found
            replaced[id(chain[-1])] = [made]
            gone.update(id(each) for each in chain)
    if not replaced:
        return None
    nodes = [one for node in graph.nodes for one in replaced.get(id(node), [] if id(node) in gone else [node])]
    read = graph.results.union(*(node.inputs for node in nodes))
    nodes = [node for node in nodes if node.op != "DynamicQuantizeLinear" or read.intersection(node.outputs)]
    weights = [weight.whole for name, weight in graph.weights.items() if name in read]
    return b"".join([*(node.whole for node in nodes), *weights, *graph.rest])


def _product(graph: _Graph, node: _Node) -> tuple[list[_Node], _Node] | None:
    """(what a product of ours stands for, that product), or None where the nodes around are not the expected ones."""
    values, weights, *zero = node.inputs
    weight = graph.weights.get(weights)
    if (
        len(zero) != 1
        or weight is None
        or weight.kind != _INT8
        or len(weight.shape) != 2
        or prod(weight.shape) < _LEAST
    ):
        return None
    shape = weight.shape
    cast = _next(graph, node, "Cast")
    scaled = _next(graph, cast, "Mul")
    if cast is None or scaled is None:
        return None
    both = graph.makers.get(_other(scaled, cast.outputs[0]))
    if both is None or both.op != "Mul" or graph.readers.get(both.outputs[0]) is not scaled:
        return None
    scales = [name for name in both.inputs if graph.shape(name) == shape[1:]]
    if len(scales) != 1:
        return None
    chain, bias = [node, cast, both, scaled], ""
    added = _next(graph, scaled, "Add")
    if added is not None:
        other = _other(added, scaled.outputs[0])
        if graph.shape(other) == shape[1:]:
            chain.append(added)
            bias = other
    scale = _other(both, scales[0])
    source = graph.makers.get(values)
    if source is not None and source.op == "DynamicQuantizeLinear" and source.outputs == (values, scale, zero[0]):
        given, op = [source.inputs[0]], "ProductOfFloats"
    else:
        given, op = [values, scale, zero[0]], "ProductOfBytes"
    facts: dict[str, int | str] = {
        "biased": int(bool(bias)),
        "file": "",
        "offset": 0,
        "depth": shape[0],
        "columns": shape[1],
    }
    place = place_of(weight.content)
    if place is not None and graph.folder is not None:
        file, offset, _ = place
        facts |= {"file": os.fspath((graph.folder / file).absolute()), "offset": offset}
        weights = ""
    constants = [scales[0], weights, bias] if bias else [scales[0], weights]
    return chain, _made(op, [*given, *constants], chain[-1].outputs[0], facts)


def _next(graph: _Graph, node: _Node | None, op: str) -> _Node | None:
    """The only reader of a node's result, if that is such an operation."""
    reader = None if node is None else graph.readers.get(node.outputs[0])
    return reader if reader is not None and reader.op == op else None


def _other(node: _Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


def _made(op: str, inputs: Sequence[str], output: str, facts: Mapping[str, int | str]) -> _Node:
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    parts = [field(1, name.encode()) for name in inputs]
    parts += [field(2, output.encode()), field(3, f"{output}/{op}".encode())]
    parts += [
        field(4, op.encode()),
        *(field(5, _attribute(*fact)) for fact in facts.items()),
        field(7, _DOMAIN.encode()),
    ]
    return _Node(op, tuple(inputs), (output,), field(1, b"".join(parts)))


def _attribute(name: str, value: int | str) -> bytes:
    """An AttributeProto: its type, 2 or 3, is field 20."""
    kind, content = (3, field(4, value.encode())) if isinstance(value, str) else (2, varint(3 << 3) + varint(value))
    return field(1, name.encode()) + content + varint(20 << 3) + varint(kind)


def _read(content: memoryview, folder: Path | None) -> _Graph:
    nodes: list[_Node] = []
    weights: dict[str, _Weight] = {}
    rest: list[bytes | memoryview] = []
    results: list[str] = []
    for number, wire, whole, inner in fields(content):
        if number == 1 and wire == 2:
            nodes.append(_node(inner, whole))
            continue
        if number == 5 and wire == 2:
            name, weight = _tensor(inner, whole)
            weights[name] = weight
            continue
        rest.append(whole)
        if number == 12 and wire == 2:
            results.append(next(_text(each) for key, _, _, each in fields(inner) if key == 1))
    makers = {name: node for node in nodes for name in node.outputs}
    uses = Counter([*results, *(name for node in nodes for name in node.inputs)])
    readers = {name: node if uses[name] == 1 else None for node in nodes for name in node.inputs}
    return _Graph(nodes, makers, readers, weights, frozenset(results), rest, folder)


def _node(content: memoryview, whole: memoryview) -> _Node:
    inputs, outputs, op = [], [], ""
    for number, _, _, inner in fields(content):
        if number == 1:
            inputs.append(_text(inner))
        elif number == 2:
            outputs.append(_text(inner))
        elif number == 4:
            op = _text(inner)
    return _Node(op, tuple(inputs), tuple(outputs), whole)


def _tensor(content: memoryview, whole: memoryview) -> tuple[str, _Weight]:
    name, kind, shape = "", 0, list[int]()
    for number, wire, _, inner in fields(content):
        if number == 1:
            shape += _numbers(inner, packed=wire == 2)
        elif number == 2:
            kind = _numbers(inner, packed=False)[0]
        elif number == 8:
            name = _text(inner)
    return name, _Weight(kind, tuple(shape), content, whole)


def _numbers(content: memoryview, *, packed: bool) -> list[int]:
    numbers, value, shift = list[int](), 0, 0
    for byte in content:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value, shift = 0, 0
    return numbers if packed else numbers[:1]


def _text(content: Any) -> str:
    return bytes(content).decode()
