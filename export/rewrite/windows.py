"""Convolutions over time as products of their windows, where INT8 has to do without captures.

Static convolutions need ranges, which captures give; products take theirs from each input as it comes. So without
captures a convolution would stay FP32. Over rows (B, T, C) the windows of K taps at stride s are, for every s taps, one
reshape of a slice, put side by side: that moves bytes only, and is done after quantising (`moved.py`). The largest
layer of wav2vec 2.0 was measured at 22 ms so, 20 with captures and 47 in FP32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphs import Graph
from ._match import View, attribute, carry, is_plain, replace_convolutions, whole

__all__ = ["windows_as_products"]

_WORTH = 64
"""Values of a window; with fewer there is nothing to sum up that INT8 could hasten."""


def windows_as_products(graph: Graph) -> int:
    """Rewrite convolutions over time whose sizes are static. Returns how many.

    Left alone: groups, dilations, and kernels that go more than one tap beyond a multiple of their stride.
    """
    return replace_convolutions(graph, _fits, _rewrite)


def _fits(view: View, node: Any) -> bool:
    weight = view.graph.constants.get(node.input[1])
    shapes = [view.shapes.get(name, ()) for name in (node.input[0], node.output[0])]
    if weight is None or weight.ndim != 3 or weight.dtype != np.float32 or any(not s or 0 in s for s in shapes):
        return False
    step = attribute(node, "strides", [1])[0]
    return is_plain(node) and weight.shape[2] % step in (0, 1 % step) and weight[0].size >= _WORTH


def _rewrite(graph: Graph, view: View, node: Any, rows: dict[str, str]) -> None:
    """`rows`: tensor (B, C, T) → its form (B, T, C), where there is one."""
    stem, weight, source = node.name, graph.constants[node.input[1]], node.input[0]
    made: list[Any] = []

    def add(operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        made.append(graph.node(operator, list(inputs), f"{stem}.{name}", **attributes))
        return str(made[-1].output[0])

    if source not in rows:
        rows[source] = add("Transpose", source, name="rows", perm=[0, 2, 1])
    values, pads = rows[source], attribute(node, "pads", [0, 0])
    if any(pads):
        ends = graph.constant(f"{stem}.pads", whole(0, pads[0], 0, 0, pads[1], 0))
        values = add("Pad", values, ends, name="padded")
    batch, channels, _ = view.shapes[source]
    count = view.shapes[node.output[0]][2]
    pieces = []
    step, taps = attribute(node, "strides", [1])[0], weight.shape[2]
    axis = graph.constant(f"{stem}.axis", whole(1))
    for first in range(0, taps, step):
        several = min(step, taps - first)
        stop = first + step * (count - 1) + several
        limits = [graph.constant(f"{stem}.{name}", whole(at)) for name, at in (("start", first), ("stop", stop))]
        by = [graph.constant(f"{stem}.by", whole(step))] if several < step else []
        part = add("Slice", values, *limits, axis, *by, name="slice")
        if several > 1:
            shape = graph.constant(f"{stem}.shape", whole(batch, count, several * channels))
            part = add("Reshape", part, shape, name="piece")
        pieces.append(part)
    both = add("Concat", *pieces, name="windows", axis=2) if len(pieces) > 1 else pieces[0]
    matrix = graph.constant(f"{stem}.matrix", weight.transpose(2, 1, 0).reshape(-1, len(weight)))
    result = add("MatMul", both, matrix, name="product")
    if len(node.input) > 2 and node.input[2]:
        result = add("Add", result, node.input[2], name="biased")
    graph.nodes += made
    name, result = carry(graph, view, node.output[0], result)
    rows[name] = result
    turn = graph.node("Transpose", [result], f"{stem}.turn", perm=[0, 2, 1])
    turn.output[0] = name
    graph.nodes.append(turn)
