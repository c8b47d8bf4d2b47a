"""Patches as a matrix product: a convolution whose windows do not overlap reads every value once.

(B, C, h·p, w·p) is cut into (B, h·w, C·p·p), which is one product with the weight (C·p·p, E). So a patch embedding
(Dosovitskiy et al. 2021) is quantised as the products are: its range comes with the picture, no captures are needed for
it, and ONNX Runtime's quantised product was measured faster than its quantised convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphs import Graph
from ._match import View, attribute, whole

__all__ = ["patches_as_products"]


def patches_as_products(graph: Graph) -> int:
    """Rewrite every convolution whose stride is its kernel and whose map becomes rows (B, h·w, E). Returns how many.

    Where it stays a map, as between the stages of a ConvNeXt, it is left alone: turning it back would cost more.
    """
    count = 0
    for node in list(graph.nodes):
        if node.op_type == "Conv":
            view = View(graph)
            rows = _rows(view, node) if _fits(view, node) else None
            if rows is not None:
                _rewrite(graph, view, node, rows)
                count += 1
    return count


def _fits(view: View, node: Any) -> bool:
    weight = view.graph.constants.get(node.input[1])
    shape = view.shapes.get(node.input[0], ())
    if weight is None or weight.ndim != 4 or weight.dtype != np.float32 or len(shape) != 4 or 0 in shape:
        return False
    kernel = list(weight.shape[2:])
    plain = (
        attribute(node, "group", 1) == 1
        and list(attribute(node, "strides", [1, 1])) == kernel
        and not any(attribute(node, "pads", [0]))
        and attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID", b"")
        and set(attribute(node, "dilations", [1])) == {1}
    )
    return plain and min(kernel) > 1 and not any(size % by for size, by in zip(shape[2:], kernel, strict=True))


def _rows(view: View, node: Any) -> tuple[Any, Any] | None:
    """The reshape and the transposition that make rows (B, h·w, E) of the map, where nothing else reads it."""
    batch, out, rows, columns = view.shapes[node.output[0]]
    reshape = view.reader(node.output[0])
    if reshape is None or reshape.op_type != "Reshape":
        return None
    turn = view.reader(reshape.output[0])
    flat = view.shapes.get(reshape.output[0]) == (batch, out, rows * columns)
    turned = turn is not None and turn.op_type == "Transpose" and list(attribute(turn, "perm")) == [0, 2, 1]
    return (reshape, turn) if flat and turned else None


def _rewrite(graph: Graph, view: View, node: Any, rows: tuple[Any, Any]) -> None:
    batch, channels, height, width = view.shapes[node.input[0]]
    weight = graph.constants[node.input[1]]
    out, _, high, wide = weight.shape
    down, across, stem = height // high, width // wide, node.name
    cut = graph.constant(f"{stem}.cut", whole(batch, channels, down, high, across, wide))
    flat = graph.constant(f"{stem}.flat", whole(batch, down * across, channels * high * wide))
    matrix = graph.constant(f"{stem}.matrix", weight.reshape(out, -1).T)
    made = [graph.node("Reshape", [node.input[0], cut], f"{stem}.pieces")]
    made.append(graph.node("Transpose", [made[-1].output[0]], f"{stem}.patches", perm=[0, 2, 4, 1, 3, 5]))
    made.append(graph.node("Reshape", [made[-1].output[0], flat], f"{stem}.rows"))
    made.append(graph.node("MatMul", [made[-1].output[0], matrix], f"{stem}.product"))
    if len(node.input) > 2 and node.input[2]:
        made.append(graph.node("Add", [made[-1].output[0], node.input[2]], f"{stem}.biased"))
    made[-1].output[0] = rows[1].output[0]
    gone = {each.name for each in (node, *rows)}
    graph.nodes = [each for each in graph.nodes if each.name not in gone] + made
