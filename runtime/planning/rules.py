"""What each ONNX operation makes, by type and shape (https://onnx.ai/onnx/operators).

Here are those that take elements one by one, and the table of all.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..onnx_graph import Node, Tensor
from .rule import Inputs, Outputs, Rule, Unknown, axis_of, first, numbers, table
from .rules_moves import MOVES
from .rules_products import PRODUCTS

__all__ = ["RULES"]


def _same(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor = first(inputs)
    return [Tensor(tensor.dtype, tensor.shape)]


def _broadcast(node: Node, inputs: Inputs, opset: int) -> Outputs:
    there = [tensor for tensor in inputs if tensor is not None]
    return [Tensor(there[0].dtype, np.broadcast_shapes(*(tensor.shape for tensor in there)))]


def _compare(node: Node, inputs: Inputs, opset: int) -> Outputs:
    return [Tensor("bool", _broadcast(node, inputs, opset)[0].shape)]


def _where(node: Node, inputs: Inputs, opset: int) -> Outputs:
    return [Tensor(first(inputs, 1).dtype, _broadcast(node, inputs, opset)[0].shape)]


def _normalise(node: Node, inputs: Inputs, opset: int) -> Outputs:
    """Layer normalisation: mean and inverse deviation too, if somebody asks."""
    tensor = first(inputs)
    axis = axis_of(node, len(tensor.shape), -1)
    short = Tensor("float32", (*tensor.shape[:axis], *(1 for _ in tensor.shape[axis:])))
    return [Tensor(tensor.dtype, tensor.shape), short, short][: len(node.outputs)]


def _cast(node: Node, inputs: Inputs, opset: int) -> Outputs:
    kinds = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64",
             16: "bfloat16", 17: "float8"}  # fmt: skip
    return [Tensor(kinds[node.attributes["to"]], first(inputs).shape)]


def _cast_like(node: Node, inputs: Inputs, opset: int) -> Outputs:
    return [Tensor(first(inputs, 1).dtype, first(inputs).shape)]


def _quantise(node: Node, inputs: Inputs, opset: int) -> Outputs:
    zero = inputs[2] if len(inputs) > 2 else None
    return [Tensor("uint8" if zero is None else zero.dtype, first(inputs).shape)]


def _dequantise(node: Node, inputs: Inputs, opset: int) -> Outputs:
    return [Tensor(first(inputs, 1).dtype, first(inputs).shape)]


def _dynamic(node: Node, inputs: Inputs, opset: int) -> Outputs:
    return [Tensor("uint8", first(inputs).shape), Tensor("float32", ()), Tensor("uint8", ())]


def _constant(node: Node, inputs: Inputs, opset: int) -> Outputs:
    attributes = node.attributes
    if isinstance(attributes.get("value"), Tensor):
        return [attributes["value"]]
    for name, dtype in (("value_int", "int64"), ("value_ints", "int64"), ("value_float", "float32")):
        if attributes.get(name) is not None:
            value = np.asarray(attributes[name], dtype)
            return [Tensor(dtype, value.shape, value)]
    raise Unknown


def _filled(node: Node, inputs: Inputs, opset: int) -> Outputs:
    shape = numbers(inputs, 0)
    like = node.attributes.get("value")
    if shape is None:
        raise Unknown
    dtype, value = ("float32", np.zeros(1, np.float32)) if like is None else (like.dtype, like.value)
    full = None if value is None or prod(shape) > 4096 else np.full(shape, np.ravel(value)[0])
    return [Tensor(dtype, tuple(shape), full)]


_ELEMENTS = table({
    _same: """Relu Sigmoid Tanh Gelu Erf Exp Log Sqrt Reciprocal Neg Abs Sin Cos Clip Softmax LogSoftmax LeakyRelu Elu
        HardSigmoid HardSwish Softplus Identity Dropout InstanceNormalization GroupNormalization BatchNormalization
        RMSNormalization Floor Ceil Round Sign Not Mish Selu Celu CumSum Trilu Swish LpNormalization PRelu Atan
        ScatterND ScatterElements Softsign ThresholdedRelu Hardmax com.microsoft::QuickGelu com.microsoft::Gelu""",
    _broadcast: "Add Sub Mul Div Pow Min Max Mean Sum Mod And Or Xor BitShift",
    _compare: "Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf",
    _where: "Where",
    _normalise: "LayerNormalization SimplifiedLayerNormalization",
    _cast: "Cast",
    _cast_like: "CastLike",
    _quantise: "QuantizeLinear",
    _dequantise: "DequantizeLinear",
    _dynamic: "DynamicQuantizeLinear",
    _constant: "Constant",
    _filled: "ConstantOfShape",
})  # fmt: skip

RULES: dict[str, Rule] = {**_ELEMENTS, **MOVES, **PRODUCTS}
