"""Small whole numbers that a graph computes on the way to a shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..onnx_graph import Node, Tensor
from ..values import Array

__all__ = ["fold"]

_MOST = 4096


def fold(node: Node, inputs: Sequence[Tensor | None], made: Tensor) -> Tensor:
    """The same tensor with its value, where the operation is one of those and every input's value is known."""
    if made.value is not None or made.elements > _MOST:
        return made
    if node.op == "Shape" and inputs[0] is not None:
        whole = np.array(inputs[0].shape, np.int64)
        start, end = node.attributes.get("start", 0), node.attributes.get("end", len(whole))
        return Tensor(made.dtype, made.shape, whole[start:end])
    compute = _COMPUTE.get(node.op)
    values = [None if tensor is None else tensor.value for tensor in inputs]
    if compute is None or not values or any(value is None for value in values):
        return made
    try:
        value = np.asarray(compute(node, values))
        fits = value.shape == made.shape and made.dtype in ("int64", "int32", "bool", "float32")
        return Tensor(made.dtype, made.shape, value.astype(made.dtype)) if fits else made
    except (ValueError, IndexError, TypeError, ZeroDivisionError, FloatingPointError):
        return made


def _gather(node: Node, values: list[Any]) -> Array:
    return np.asarray(np.take(values[0], values[1], axis=node.attributes.get("axis", 0)))


def _slice(node: Node, values: list[Any]) -> Array:
    data, starts, ends, *more = values
    axes = more[0] if more else range(len(starts))
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    cut = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        stop: int | None = int(end)
        if step < 0 and end < -(2**31):
            stop = None
        cut[int(axis)] = slice(int(start), stop, int(step))
    return np.asarray(data[tuple(cut)])


def _divide(node: Node, values: list[Any]) -> Array:
    """ONNX divides whole numbers towards zero."""
    first, second = values
    if first.dtype.kind == "f":
        return np.asarray(first / second)
    return np.asarray(np.trunc(first / second))


def _concat(node: Node, values: list[Any]) -> Array:
    return np.concatenate(values, axis=node.attributes.get("axis", 0))


def _range(node: Node, values: list[Any]) -> Array:
    return np.arange(*(value.item() for value in values))


_COMPUTE: dict[str, Callable[[Node, list[Any]], Any]] = {
    "Add": lambda node, v: v[0] + v[1],
    "Sub": lambda node, v: v[0] - v[1],
    "Mul": lambda node, v: v[0] * v[1],
    "Div": _divide,
    "Max": lambda node, v: np.maximum.reduce(v),
    "Min": lambda node, v: np.minimum.reduce(v),
    "Neg": lambda node, v: -v[0],
    "Floor": lambda node, v: np.floor(v[0]),
    "Ceil": lambda node, v: np.ceil(v[0]),
    "Cast": lambda node, v: v[0],
    "Identity": lambda node, v: v[0],
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Range": _range,
    "Where": lambda node, v: np.where(v[0], v[1], v[2]),
    "Equal": lambda node, v: v[0] == v[1],
    "ReduceProd": lambda node, v: np.prod(v[0], keepdims=bool(node.attributes.get("keepdims", 1))),
    "Unsqueeze": lambda node, v: np.expand_dims(v[0], tuple(int(axis) for axis in v[1])),
    "Squeeze": lambda node, v: np.squeeze(v[0]),
    "Reshape": lambda node, v: v[0].reshape(v[1]),
}
