"""Products of bytes by our own kernel, where the processor has no instruction for them and ONNX Runtime is slower.

A graph that was quantised dynamically says `DynamicQuantizeLinear → MatMulInteger → Cast → Mul (→ Add)`. ONNX Runtime
makes one operation of it; here it becomes one of ours (kernels/csrc/ort_products.cpp) before ONNX Runtime sees it. Both
give the same numbers, bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from ...kernels._select import compiled
from ..wire import field, fields, varint

__all__ = ["SMALL_GRAPH", "library", "with_own_products"]

SMALL_GRAPH = 2**20
"""Bytes; to look through a smaller graph takes longer than its products could gain."""
_LEAST = 2**14
"""Weights of a product that is worth replacing."""
_DOMAIN = "chiasm"
_INT8 = 3
_Nodes = Mapping[str, "_Node | None"]


def library() -> str | None:
    """The file that registers the operations with ONNX Runtime; None where they do not pay or were not built."""
    if compiled is None or not compiled.products_pay():
        return None
    return str(compiled.__file__)


def with_own_products(model: bytes) -> bytes:
    """The model with its products replaced, or as it is where there is none to replace."""
    if b"MatMulInteger" not in model:
        return model
    around: list[bytes | memoryview] = []
    new: bytes | None = None
    for number, wire, whole, content in fields(memoryview(model)):
        if number == 7 and wire == 2:
            new = _rewritten(content)
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


@dataclass(frozen=True)
class _Graph:
    """`nodes` in order; `readers`: value → the one node that reads it, None where several do or it is a result."""

    nodes: Sequence[_Node]
    makers: Mapping[str, _Node]
    readers: _Nodes
    weights: Mapping[str, tuple[int, tuple[int, ...]]]
    rest: Sequence[bytes | memoryview]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a weight, or of what is cast from one, which ONNX Runtime does once; () for anything else."""
        maker = self.makers.get(name)
        return self.weights.get(maker.inputs[0] if maker is not None and maker.op == "Cast" else name, (0, ()))[1]


def _rewritten(content: memoryview) -> bytes | None:
    graph = _read(content)
    replaced: dict[int, list[_Node]] = {}
    gone: set[int] = set()
    for node in graph.nodes:
        if node.op != "MatMulInteger":
            continue
        found = _product(graph, node)
        if found is not None:
            chain, made = found
            replaced[id(chain[-1])] = [made]
            gone.update(id(each) for each in chain)
    if not replaced:
        return None
    kept = [one for node in graph.nodes for one in replaced.get(id(node), [] if id(node) in gone else [node])]
    results = {name for name, reader in graph.readers.items() if reader is None}
    return b"".join([*(node.whole for node in _alive(kept, results)), *graph.rest])


def _alive(nodes: Iterable[_Node], results: set[str]) -> list[_Node]:
    """Without the DynamicQuantizeLinear that nobody reads any more."""
    nodes = list(nodes)
    read = {name for node in nodes for name in node.inputs}
    return [n for n in nodes if n.op != "DynamicQuantizeLinear" or read.intersection(n.outputs)]


def _product(graph: _Graph, node: _Node) -> tuple[list[_Node], _Node] | None:
    """(what a product of ours stands for, that product), or None where the nodes around are not the expected ones."""
    values, weights, *zero = node.inputs
    kind, shape = graph.weights.get(weights, (0, ()))
    if len(zero) != 1 or kind != _INT8 or len(shape) != 2 or prod(shape) < _LEAST:
        return None
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
    chain, constants = [node, cast, both, scaled], [weights, scales[0]]
    added = _next(graph, scaled, "Add")
    if added is not None:
        bias = _other(added, scaled.outputs[0])
        if graph.shape(bias) == shape[1:]:
            chain.append(added)
            constants.append(bias)
    scale = _other(both, scales[0])
    source = graph.makers.get(values)
    if source is not None and source.op == "DynamicQuantizeLinear" and source.outputs == (values, scale, zero[0]):
        given, op = [source.inputs[0]], "ProductOfFloats"
    else:
        given, op = [values, scale, zero[0]], "ProductOfBytes"
    return chain, _made(op, [*given, *constants], chain[-1].outputs[0])


def _next(graph: _Graph, node: _Node | None, op: str) -> _Node | None:
    """The only reader of a node's result, if that is such an operation."""
    reader = None if node is None else graph.readers.get(node.outputs[0])
    return reader if reader is not None and reader.op == op else None


def _other(node: _Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]


def _made(op: str, inputs: Sequence[str], output: str) -> _Node:
    parts = [field(1, name.encode()) for name in inputs]
    parts += [field(2, output.encode()), field(3, f"{output}/{op}".encode())]
    parts += [field(4, op.encode()), field(7, _DOMAIN.encode())]
    return _Node(op, tuple(inputs), (output,), field(1, b"".join(parts)))


def _read(content: memoryview) -> _Graph:
    nodes: list[_Node] = []
    weights: dict[str, tuple[int, tuple[int, ...]]] = {}
    rest: list[bytes | memoryview] = []
    uses: Counter[str] = Counter()
    for number, wire, whole, inner in fields(content):
        if number == 1 and wire == 2:
            nodes.append(_node(inner, whole))
            continue
        rest.append(whole)
        if number == 5 and wire == 2:
            name, kind, shape = _tensor(inner)
            weights[name] = kind, shape
        elif number == 12 and wire == 2:
            uses[next(_text(each) for key, _, _, each in fields(inner) if key == 1)] += 2  # a result: never only one's
    makers = {name: node for node in nodes for name in node.outputs}
    uses.update(name for node in nodes for name in node.inputs)
    readers = {name: node if uses[name] == 1 else None for node in nodes for name in node.inputs}
    return _Graph(nodes, makers, readers, weights, rest)


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


def _tensor(content: memoryview) -> tuple[str, int, tuple[int, ...]]:
    """Name, type and shape."""
    name, kind, shape = "", 0, list[int]()
    for number, wire, _, inner in fields(content):
        if number == 1:
            shape += _numbers(inner, packed=wire == 2)
        elif number == 2:
            kind = _numbers(inner, packed=False)[0]
        elif number == 8:
            name = _text(inner)
    return name, kind, tuple(shape)


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
