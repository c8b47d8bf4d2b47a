"""An instance normalisation behind a thin convolution goes into the weights of that convolution.

A convolution that reads few values (10 samples of sound, in the first layer of wav2vec 2.0) for each of many results
makes w·u of each window u. Its mean over time is w·E[u] and its variance wᵀ Cov[u] w, so both follow from the windows'
own moments, and with them the weights with which the results come out normalised. Nothing as large as the result is
read again for it. The windows are made by the same convolution with the unit vectors as its weights.

The covariance is taken in FP64: of low sounds nearly all of it cancels out in wᵀ Cov[u] w, which cost FP32 four digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from ..graphs import Graph
from ._match import View, attribute, carry

__all__ = ["normalise_by_moments"]

_THIN = 16
"""Values under a window; from here on the windows are no longer small beside the result."""
_SHARE = 4
"""The result has at least as many times as many values as the windows."""


def normalise_by_moments(graph: Graph) -> int:
    """Rewrite thin convolutions over time whose only reader is an instance normalisation. Returns how many."""
    count = 0
    for node in list(graph.nodes):
        if node.op_type == "Conv":
            view = View(graph)
            norm = _norm(view, node)
            if norm is not None:
                _rewrite(graph, view, node, *norm)
                count += 1
    return count


def _norm(view: View, node: Any) -> tuple[Any, list[Any]] | None:
    """The normalisation behind a thin convolution, and all nodes from one to the other; None where that is not so."""
    weight = view.graph.constants.get(node.input[1])
    made = view.shapes.get(node.output[0], ())
    if weight is None or weight.ndim != 3 or weight.dtype != np.float32 or attribute(node, "group", 1) != 1:
        return None
    window = int(np.prod(weight.shape[1:]))
    if window >= _THIN or _SHARE * (window + 1) > weight.shape[0] or len(made) != 3 or 0 in made:
        return None
    chain, after = [node], view.reader(node.output[0])
    if after is not None and after.op_type == "Reshape" and view.shapes.get(after.output[0]) == made:
        chain, after = [node, after], view.reader(after.output[0])
    fits = after is not None and after.op_type == "InstanceNormalization"
    return (after, [*chain, after]) if fits and {*after.input[1:]} <= view.graph.constants.keys() else None


def _rewrite(graph: Graph, view: View, node: Any, norm: Any, old: list[Any]) -> None:
    """Windows (B, P + 1, T) less their means, the last row ones; weights (B, C, P + 1), the last column the shift."""
    stem = node.name
    made: list[Any] = []

    def add(operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        made.append(graph.node(operator, list(inputs), f"{stem}.{name}", **attributes))
        return str(made[-1].output[0])

    def known(name: str, value: Any, dtype: Any = np.float64) -> str:
        return graph.constant(f"{stem}.{name}", np.asarray(value, dtype))

    plain, weight = np.float32, graph.constants[node.input[1]]
    scale, shift = (graph.constants[name] for name in norm.input[1:])
    channels, window = len(weight), weight[0].size
    units = np.eye(window + 1, window).reshape(window + 1, *weight.shape[1:])
    windows = add("Conv", node.input[0], known("units", units, plain), name="windows")
    made[-1].attribute.extend(node.attribute)
    mean = add("ReduceMean", windows, known("time", [2], np.int64), name="mean")
    last = np.eye(1, window + 1, window).reshape(1, -1, 1)
    windows = add("Sub", windows, add("Sub", mean, known("last", last, plain), name="less"), name="centred")

    exact = add("Cast", windows, name="exact", to=TensorProto.DOUBLE)
    moments = add("MatMul", exact, add("Transpose", exact, name="turned", perm=[0, 2, 1]), name="moments")
    wide = np.hstack([weight.reshape(channels, -1), np.zeros((channels, 1))]).astype(np.float64)
    root = known("root", wide / np.sqrt(view.shapes[node.output[0]][2]))
    square = add("Mul", add("MatMul", root, moments, name="half"), root, name="square")
    variance = add("ReduceSum", square, known("row", [-1], np.int64), name="variance")
    least = add("Add", variance, known("least", attribute(norm, "epsilon", 1e-5)), name="above")
    by = add("Div", known("scale", scale[:, None]), add("Sqrt", least, name="deviation"), name="by")
    shifts = np.hstack([np.zeros((channels, window)), shift[:, None]])
    whole = add("Add", add("Mul", known("wide", wide), by, name="scaled"), known("shifts", shifts), name="shifted")
    weights = add("Transpose", add("Cast", whole, name="plain", to=TensorProto.FLOAT), name="weights", perm=[0, 2, 1])

    rows = add("MatMul", add("Transpose", windows, name="rows", perm=[0, 2, 1]), weights, name="product")
    name, rows = carry(graph, view, norm.output[0], rows)
    turn = graph.node("Transpose", [rows], f"{stem}.turn", perm=[0, 2, 1])
    turn.output[0] = name
    made.append(turn)
    graph.nodes = [each for each in graph.nodes if all(each is not gone for gone in old)] + made
