"""A scale and a shift behind an instance normalisation go into its own scale and shift.

That is how torch exports a group normalisation with a group for each channel (the first layer of wav2vec 2.0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.values import Array
from ..graphs import Graph
from ._match import View

__all__ = ["fold_affine"]


def fold_affine(graph: Graph) -> int:
    """γ₂(γ₁x̂ + β₁) + β₂ = (γ₂γ₁)x̂ + (γ₂β₁ + β₂). Returns how many nodes went."""
    nodes = [node for node in graph.nodes if node.op_type == "InstanceNormalization"]
    count = 0
    while nodes and any(_fold(graph, View(graph), node) for node in nodes):
        count += 1
    return count


def _fold(graph: Graph, view: View, node: Any) -> bool:
    """Take one scale or shift into a normalisation, where it is the only reader."""
    after = view.reader(node.output[0])
    if after is None or after.op_type not in ("Mul", "Add") or not {*node.input[1:]} <= graph.constants.keys():
        return False
    other = next((name for name in after.input if name != node.output[0]), None)
    by = _per_channel(graph, view, node.output[0], other)
    if by is None:
        return False
    scale, shift = (graph.constants[name] for name in node.input[1:])
    if after.op_type == "Mul":
        node.input[1] = graph.constant(f"{node.name}.scale", scale * by)
        node.input[2] = graph.constant(f"{node.name}.shift", shift * by)
    else:
        node.input[2] = graph.constant(f"{node.name}.shift", shift + by)
    node.output[0] = after.output[0]
    graph.nodes = [each for each in graph.nodes if each is not after]
    return True


def _per_channel(graph: Graph, view: View, tensor: str, other: str | None) -> Array | None:
    """A constant that has a value for each channel (B, C, …), as a vector; None where it has not."""
    shape, value = view.shapes.get(tensor, ()), graph.constants.get(other or "")
    if value is None or len(shape) < 3 or value.ndim > len(shape) or value.dtype != np.float32:
        return None
    full = (1,) * (len(shape) - value.ndim) + value.shape
    if full[0] != 1 or any(size != 1 for size in full[2:]) or full[1] not in (1, shape[1]):
        return None
    return np.broadcast_to(value.reshape(-1), (shape[1],)).astype(np.float32)
