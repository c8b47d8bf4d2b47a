"""Products of bytes: `DynamicQuantizeLinear → MatMulInteger → Cast → Mul (→ Add)`, as dynamic quantisation makes them.

ONNX Runtime makes one operation of these; ours gives the same numbers, bit for bit (kernels/csrc/ort_products.cpp).
"""

from __future__ import annotations

import os
from math import prod

from ..onnx_graph import Node
from ._own_graph import Replacement, Searched, made

__all__ = ["product"]

_LEAST = 2**14
"""Weights of a product that is worth replacing."""


def product(known: Searched, node: Node) -> Replacement | None:
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
    facts: dict[str, int | float | str] = {
        "biased": int(bool(bias)),
        "file": file,
        "offset": offset,
        "depth": depth,
        "columns": columns,
    }
    return made(op, nodes, [*given, scales[0], name, bias], facts)


def _is_row(known: Searched, name: str, columns: int) -> bool:
    """Whether it is a weight with one number for each column."""
    weight = known.weight(name)
    return weight is not None and weight.shape == (columns,)


def _other(node: Node, name: str) -> str:
    return node.inputs[1] if node.inputs[0] == name else node.inputs[0]
