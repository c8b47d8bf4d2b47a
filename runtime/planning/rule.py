"""What a rule of shapes is, and what rules share.

A rule takes the node, its inputs (None for an optional one that is left out) and the opset, and gives its outputs. It
raises `Unknown` where the result hangs on data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..onnx_graph import Node, Tensor

__all__ = ["Inputs", "Outputs", "Rule", "Unknown", "axes_of", "axis_of", "first", "numbers", "table"]

Inputs = Sequence[Tensor | None]
Outputs = list[Tensor]
Rule = Callable[[Node, Inputs, int], Outputs]


class Unknown(Exception):
    """The result's size hangs on the data, or on what this file does not know."""


def first(inputs: Inputs, index: int = 0) -> Tensor:
    """The input at an index, which must be there."""
    tensor = inputs[index] if index < len(inputs) else None
    if tensor is None:
        raise Unknown
    return tensor


def numbers(inputs: Inputs, index: int) -> list[int] | None:
    """Whole numbers in an input; None where it is left out. Unknown where they are computed from data."""
    if index >= len(inputs) or inputs[index] is None:
        return None
    value = first(inputs, index).value
    if value is None:
        raise Unknown
    return [int(each) for each in np.ravel(value)]


def axis_of(node: Node, rank: int, default: int) -> int:
    """The attribute `axis`, from 0 on."""
    axis = int(node.attributes.get("axis", default))
    return axis + rank if axis < 0 else axis


def axes_of(node: Node, inputs: Inputs, rank: int, index: int = 1) -> list[int] | None:
    """Axes from an input, as newer opsets have them, or from the attribute."""
    axes = numbers(inputs, index)
    if axes is None and node.attributes.get("axes") is not None:
        axes = list(node.attributes["axes"])
    return None if axes is None else [axis + rank if axis < 0 else axis for axis in axes]


def table(rows: dict[Rule, str]) -> dict[str, Rule]:
    """operation → rule, from rule → operations, separated by blanks."""
    return {name: rule for rule, names in rows.items() for name in names.split()}
