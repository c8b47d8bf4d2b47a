"""Convolutions of maps as products of their windows, where INT8 has to do without captures.

As `windows.py` does it over time: rows (B, H, W, C), K slices of them side by side, one product. What is moved is moved
in bytes (`moved.py`). The 3 × 3 convolutions of Stable Diffusion's U-Net were measured 1.35 to 2.4 times as fast so as
in FP32, on AVX2 without VNNI; few channels or large maps are left alone, where moving costs what the product saves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphs import Graph
from ._match import View, attribute, is_plain, replace_convolutions, whole

__all__ = ["maps_as_products"]

_CHANNELS = 128
"""Least channels of input and output."""
_PLACES = 64 * 64
"""Most places of the output."""


def maps_as_products(graph: Graph) -> int:
    """Rewrite convolutions of many channels over small maps whose sizes are static. Returns how many.

    Left alone: groups and dilations.
    """
    return replace_convolutions(graph, _fits, _rewrite)


def _fits(view: View, node: Any) -> bool:
    weight = view.graph.constants.get(node.input[1])
    shapes = [view.shapes.get(name, ()) for name in (node.input[0], node.output[0])]
    if weight is None or weight.ndim != 4 or weight.dtype != np.float32 or any(len(s) != 4 or 0 in s for s in shapes):
        return False
    return is_plain(node) and min(weight.shape[:2]) >= _CHANNELS and int(np.prod(shapes[1][2:])) <= _PLACES


def _rewrite(graph: Graph, view: View, node: Any, rows: dict[str, str]) -> None:
    """`rows`: tensor (B, C, H, W) → its form (B, H, W, C), where there is one."""
    stem, weight, source = node.name, graph.constants[node.input[1]], node.input[0]
    _, out, height, width = view.shapes[node.output[0]]

    def add(operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        graph.nodes.append(graph.node(operator, list(inputs), f"{stem}.{name}", **attributes))
        return str(graph.nodes[-1].output[0])

    if source not in rows:
        rows[source] = add("Transpose", source, name="rows", perm=[0, 2, 3, 1])
    values, pads = rows[source], attribute(node, "pads", [0, 0, 0, 0])
    if any(pads):
        ends = graph.constant(f"{stem}.pads", whole(0, *pads[:2], 0, 0, *pads[2:], 0))
        values = add("Pad", values, ends, name="padded")
    step = attribute(node, "strides", [1, 1])
    fixed = [graph.constant(f"{stem}.axes", whole(1, 2)), graph.constant(f"{stem}.by", whole(*step))]
    pieces = []
    for first in np.ndindex(*weight.shape[2:]):
        stop = [at + by * (count - 1) + 1 for at, by, count in zip(first, step, (height, width), strict=True)]
        limits = [graph.constant(f"{stem}.{name}", whole(*at)) for name, at in (("start", first), ("stop", stop))]
        all_of_it = weight[0, 0].size == 1 and set(step) == {1}
        pieces.append(values if all_of_it else add("Slice", values, *limits, *fixed, name="slice"))
    both = add("Concat", *pieces, name="windows", axis=3) if len(pieces) > 1 else pieces[0]
    matrix = graph.constant(f"{stem}.matrix", weight.transpose(2, 3, 1, 0).reshape(-1, out))
    result = add("MatMul", both, matrix, name="product")
    if len(node.input) > 2 and node.input[2]:
        result = add("Add", result, node.input[2], name="biased")
    turn = graph.node("Transpose", [result], f"{stem}.turn", perm=[0, 3, 1, 2])
    turn.output[0] = node.output[0]
    graph.nodes.append(turn)
