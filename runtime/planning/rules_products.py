"""Operations that multiply matrices or slide windows: what they make, and how many operations that takes.

An operation is a multiplication or an addition, so a multiply-add counts as two. `operations` counts products only:
what else a graph does is a few operations for every element that is read, which memory bounds and not arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..onnx_graph import Node, Tensor
from .rule import Inputs, Outputs, Unknown, first, table

__all__ = ["PRODUCTS", "operations"]


def _matmul(node: Node, inputs: Inputs, opset: int) -> Outputs:
    left, right = (first(inputs), first(inputs, 1)) if node.op != "QLinearMatMul" else (first(inputs), first(inputs, 3))
    shape = _product(left.shape, right.shape)
    dtype = {"MatMulInteger": "int32", "QLinearMatMul": "uint8"}.get(node.op, left.dtype)
    if node.op == "QLinearMatMul":
        dtype = first(inputs, 7).dtype
    return [Tensor(dtype, shape)]


def _product(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's rule: a vector on either side loses its added axis again."""
    a = (1, *left) if len(left) == 1 else left
    b = (*right, 1) if len(right) == 1 else right
    if a[-1] != b[-2]:
        raise Unknown
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
    shape = shape[:-2] + shape[-1:] if len(left) == 1 else shape
    return shape[:-1] if len(right) == 1 else shape


def _gemm(node: Node, inputs: Inputs, opset: int) -> Outputs:
    left, right = first(inputs).shape, first(inputs, 1).shape
    rows = left[1] if node.attributes.get("transA", 0) else left[0]
    columns = right[0] if node.attributes.get("transB", 0) else right[1]
    return [Tensor(first(inputs).dtype, (rows, columns))]


def _einsum(node: Node, inputs: Inputs, opset: int) -> Outputs:
    sizes, _, made = _terms(node, inputs)
    return [Tensor(first(inputs).dtype, tuple(sizes[letter] for letter in made))]


def _terms(node: Node, inputs: Inputs) -> tuple[dict[str, int], list[str], str]:
    """letter → size, the inputs' letters and the output's. Unknown for an ellipsis, or where no output is written."""
    equation = str(node.attributes["equation"]).replace(" ", "")
    if "." in equation or "->" not in equation:
        raise Unknown
    left, made = equation.split("->")
    given = left.split(",")
    sizes = {letter: size for index, term in enumerate(given)
             for letter, size in zip(term, first(inputs, index).shape, strict=True)}  # fmt: skip
    return sizes, given, made


def _window(node: Node, inputs: Inputs, opset: int) -> Outputs:
    """Conv and pools."""
    data = first(inputs)
    spatial = data.shape[2:]
    weight = first(inputs, 3 if node.op == "QLinearConv" else 1) if "Conv" in node.op else None
    kernel = node.attributes.get("kernel_shape") or (weight.shape[2:] if weight is not None else ())
    sizes = [_slid(node, axis, size, kernel[axis], len(spatial)) for axis, size in enumerate(spatial)]
    channels = data.shape[1] if weight is None else weight.shape[0]
    shape = (data.shape[0], channels, *sizes)
    dtype = {"ConvInteger": "int32"}.get(node.op, data.dtype)
    if node.op == "QLinearConv":
        dtype = first(inputs, 7).dtype
    return [Tensor(dtype, shape), Tensor("int64", shape)][: len(node.outputs)]


def _slid(node: Node, axis: int, size: int, kernel: int, rank: int) -> int:
    """How often a window fits: ⌊(size + pads − dilation·(kernel − 1) − 1) / stride⌋ + 1."""
    stride, dilation = _of(node, "strides", axis), _of(node, "dilations", axis)
    how = node.attributes.get("auto_pad", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        return -(-size // stride)
    pads = node.attributes.get("pads") or (0,) * (2 * rank)
    room = size + (0 if how == "VALID" else pads[axis] + pads[axis + rank]) - dilation * (kernel - 1) - 1
    return (-(-room // stride) if node.attributes.get("ceil_mode", 0) else room // stride) + 1


def _of(node: Node, name: str, axis: int) -> int:
    given: Sequence[int] = node.attributes.get(name) or ()
    return given[axis] if given else 1


def _transposed(node: Node, inputs: Inputs, opset: int) -> Outputs:
    """stride·(size − 1) + output padding + dilation·(kernel − 1) + 1 − pads."""
    data, weight = first(inputs), first(inputs, 1)
    rank = len(data.shape) - 2
    if node.attributes.get("output_shape") or node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise Unknown
    pads, extra = node.attributes.get("pads") or (0,) * (2 * rank), node.attributes.get("output_padding") or (0,) * rank
    sizes = [
        _of(node, "strides", axis) * (data.shape[axis + 2] - 1)
        + extra[axis]
        + _of(node, "dilations", axis) * (weight.shape[axis + 2] - 1)
        + 1
        - pads[axis]
        - pads[axis + rank]
        for axis in range(rank)
    ]
    channels = weight.shape[1] * node.attributes.get("group", 1)
    return [Tensor(data.dtype, (data.shape[0], channels, *sizes))]


def _pooled(node: Node, inputs: Inputs, opset: int) -> Outputs:
    data = first(inputs)
    return [Tensor(data.dtype, (*data.shape[:2], *(1 for _ in data.shape[2:])))]


def _attention(node: Node, inputs: Inputs, opset: int) -> Outputs:
    """Opset 23: queries and values as (B, heads, N, D) or (B, N, heads·D); what else it may give is not known."""
    query, value = first(inputs), first(inputs, 2)
    if len(node.outputs) > 1:
        raise Unknown
    if len(query.shape) == 4:
        return [Tensor(query.dtype, (*query.shape[:3], value.shape[3]))]
    q_heads, kv_heads = node.attributes["q_num_heads"], node.attributes["kv_num_heads"]
    return [Tensor(query.dtype, (*query.shape[:2], value.shape[2] // kv_heads * q_heads))]


def operations(node: Node, inputs: Inputs, output: Tensor) -> int:
    """Multiplications and additions of a product; 0 for every other operation."""
    count = 2 * output.elements
    if node.op in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return count * first(inputs).shape[-1]
    if node.op == "Gemm":
        shape = first(inputs).shape
        return count * (shape[0] if node.attributes.get("transA", 0) else shape[1])
    if node.op in ("Conv", "ConvInteger", "QLinearConv"):
        return count * prod(first(inputs, 3 if node.op == "QLinearConv" else 1).shape[1:])
    if node.op == "ConvTranspose":
        return 2 * first(inputs).elements * prod(first(inputs, 1).shape[1:])
    if node.op == "Einsum":
        return 2 * prod(_terms(node, inputs)[0].values()) if len(node.inputs) > 1 else 0
    return _attended(node, inputs, output) if node.op == "Attention" else 0


def _attended(node: Node, inputs: Inputs, output: Tensor) -> int:
    """Queries by keys, and weights by values."""
    query, key = first(inputs), first(inputs, 1)
    if len(query.shape) == 4:
        return 2 * key.shape[2] * (query.elements + output.elements)
    return 2 * key.shape[1] * (query.elements + output.elements)


PRODUCTS = table({
    _matmul: "MatMul MatMulInteger QLinearMatMul",
    _gemm: "Gemm",
    _einsum: "Einsum",
    _window: "Conv ConvInteger QLinearConv MaxPool AveragePool LpPool",
    _transposed: "ConvTranspose",
    _pooled: "GlobalAveragePool GlobalMaxPool",
    _attention: "Attention",
})  # fmt: skip
