"""ONNX graphs without the package onnx: nodes, and of every weight its type and shape, and where its bytes lie.

Read from the wire format, for plans on a device and for operations of our own. Only weights of few elements are read as
values, since they may be shapes or factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from .errors import BundleError
from .external_data import place_of
from .values import Array
from .wire import fields

__all__ = ["BITS", "Graph", "Node", "Tensor", "read_graph"]

_NAMES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 17: "float8", 18: "float8", 19: "float8",
    20: "float8", 21: "uint4", 22: "int4", 23: "float4",
}  # fmt: skip
BITS = {
    "float32": 32, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "int32": 32, "int64": 64, "string": 64, "bool": 8,
    "float16": 16, "float64": 64, "uint32": 32, "uint64": 64, "bfloat16": 16, "float8": 8, "uint4": 4, "int4": 4,
    "float4": 4,
}  # fmt: skip
"""Bits of one element."""
_KNOWN = {"int64": "<i8", "int32": "<i4", "float32": "<f4"}
_MOST = 4096
"""Elements; a weight with more is no shape."""


@dataclass(frozen=True)
class Tensor:
    """A type and a static shape; `value` where it is a small constant; `place` (file, offset, length) of a weight that
    lies in a file."""

    dtype: str
    shape: tuple[int, ...]
    value: Array | None = field(default=None, compare=False)
    place: tuple[str, int, int | None] | None = field(default=None, compare=False)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes, packed."""
        return (self.elements * BITS[self.dtype] + 7) // 8


@dataclass(frozen=True)
class Node:
    """One operation. An attribute is an int, a float, text, a Tensor or a tuple of ints; anything else is None.
    `content`: its bytes."""

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    content: bytes = field(default=b"", repr=False, compare=False)

    @property
    def kind(self) -> str:
        """The operation with its domain, where that is not ONNX's own."""
        return f"{self.domain}::{self.op}" if self.domain not in ("", "ai.onnx") else self.op


@dataclass(frozen=True)
class Graph:
    """`inputs` without weights; `outputs` by name, None where the graph does not give a static shape."""

    nodes: tuple[Node, ...]
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor | None]
    weights: Mapping[str, Tensor]
    opset: int


def read_graph(data: bytes) -> Graph:
    """The graph of a ModelProto. Raises BundleError for bytes that are not one, or an input without static shape."""
    graph, opset = b"", 1
    for number, wire, _, content in fields(data):
        if number == 7 and wire == 2:
            graph = content
        elif number == 8 and wire == 2:
            domain, version = _opset(content)
            opset = version if domain in ("", "ai.onnx") else opset
    nodes: list[Node] = []
    inputs: dict[str, Tensor | None] = {}
    outputs: dict[str, Tensor | None] = {}
    weights: dict[str, Tensor] = {}
    for number, wire, _, content in fields(graph):
        if wire != 2:
            continue
        if number == 1:
            nodes.append(_node(content))
        elif number == 5:
            name, tensor = _tensor(content)
            weights[name] = tensor
        elif number in (11, 12):
            name, spec = _value_info(content)
            (inputs if number == 11 else outputs)[name] = spec
    given = {name: _static(name, spec) for name, spec in inputs.items() if name not in weights}
    if not nodes:
        raise BundleError("A graph of the bundle has no operations", fix="Export the bundle again")
    return Graph(tuple(nodes), given, outputs, weights, opset)


def _static(name: str, spec: Tensor | None) -> Tensor:
    if spec is None:
        raise BundleError(f"The input {name} of a graph has no static shape", fix="Export the bundle again")
    return spec


def _opset(data: bytes) -> tuple[str, int]:
    domain, version = "", 1
    for number, _, _, content in fields(data):
        if number == 1:
            domain = _text(content)
        elif number == 2:
            version = _int(content)
    return domain, version


def _node(data: bytes) -> Node:
    inputs, outputs, attributes, op, domain = [], [], {}, "", ""
    for number, _, _, content in fields(data):
        if number == 1:
            inputs.append(_text(content))
        elif number == 2:
            outputs.append(_text(content))
        elif number == 4:
            op = _text(content)
        elif number == 5:
            name, value = _attribute(content)
            attributes[name] = value
        elif number == 7:
            domain = _text(content)
    return Node(op, domain, tuple(inputs), tuple(outputs), attributes, data)


def _attribute(data: bytes) -> tuple[str, Any]:
    """Lists of whole numbers are told by the type (field 20), since an empty one has no other field."""
    name, ints, kind = "", [], 0
    value: Any = None
    for number, wire, _, content in fields(data):
        if number == 1:
            name = _text(content)
        elif number == 2:
            value = float(np.frombuffer(content, "<f4")[0])
        elif number == 3:
            value = _int(content)
        elif number == 4:
            value = _text(content)
        elif number == 5:
            value = _tensor(content)[1]
        elif number == 8:
            ints += _ints(content) if wire == 2 else [_int(content)]
        elif number == 20:
            kind = _int(content)
    return name, tuple(ints) if kind == 7 or ints else value


def _tensor(data: bytes) -> tuple[str, Tensor]:
    name, kind, dims, raw, numbers, floats, outside = "", 0, [], None, [], b"", False
    for number, wire, _, content in fields(data):
        if number == 1:
            dims += _ints(content) if wire == 2 else [_int(content)]
        elif number == 2:
            kind = _int(content)
        elif number == 4:
            floats += content
        elif number in (5, 7):
            numbers += _ints(content) if wire == 2 else [_int(content)]
        elif number == 8:
            name = _text(content)
        elif number == 9:
            raw = content
        elif number == 13:
            outside = True
    tensor = Tensor(_dtype(kind), tuple(dims))
    raw = floats if floats and tensor.dtype == "float32" else raw
    place = place_of(memoryview(data)) if outside else None
    return name, Tensor(tensor.dtype, tensor.shape, _value(tensor, raw, numbers), place)


def _value(tensor: Tensor, raw: bytes | None, numbers: list[int]) -> Array | None:
    wire = _KNOWN.get(tensor.dtype)
    if wire is None or tensor.elements > _MOST:
        return None
    if raw is not None and len(raw) == tensor.nbytes:
        return np.frombuffer(raw, wire).reshape(tensor.shape)
    if tensor.dtype != "float32" and len(numbers) == tensor.elements:
        return np.array(numbers, wire).reshape(tensor.shape)
    return None


def _value_info(data: bytes) -> tuple[str, Tensor | None]:
    name, spec = "", None
    for number, _, _, content in fields(data):
        if number == 1:
            name = _text(content)
        elif number == 2:
            spec = _type(content)
    return name, spec


def _type(data: bytes) -> Tensor | None:
    """TypeProto → tensor_type → element type and shape; None unless every size is a number."""
    for number, _, _, tensor in fields(data):
        if number != 1:
            continue
        kind, shape = 0, None
        for inner, _, _, content in fields(tensor):
            if inner == 1:
                kind = _int(content)
            elif inner == 2:
                shape = tuple(_size(dim) for key, _, _, dim in fields(content) if key == 1)
        if shape is not None and None not in shape:
            return Tensor(_dtype(kind), tuple(size for size in shape if size is not None))
    return None


def _size(data: bytes) -> int | None:
    return next((_int(content) for number, _, _, content in fields(data) if number == 1), None)


def _dtype(kind: int) -> str:
    if kind not in _NAMES:
        raise BundleError("A graph has a tensor of a type that is not known", found=f"element type {kind}")
    return _NAMES[kind]


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _int(content: bytes) -> int:
    return next(iter(_varints(content)), 0)


def _ints(content: bytes) -> list[int]:
    return list(_varints(content))


def _varints(content: bytes) -> Iterator[int]:
    """Whole numbers of 64 bits in two's complement."""
    value = shift = 0
    for byte in content:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            value &= 2**64 - 1
            yield value - 2**64 if value >= 2**63 else value
            value = shift = 0
