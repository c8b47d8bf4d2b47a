"""Operations that move elements, pick some or fold axes (https://onnx.ai/onnx/operators): what they make."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..onnx_graph import Node, Tensor
from .rule import Inputs, Outputs, Unknown, axes_of, axis_of, first, numbers, table

__all__ = ["MOVES"]


def _reshape(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor, wanted = first(inputs), numbers(inputs, 1)
    if wanted is None:
        wanted = list(node.attributes["shape"])
    keep = not node.attributes.get("allowzero", 0)
    shape = [tensor.shape[index] if size == 0 and keep else size for index, size in enumerate(wanted)]
    if -1 in shape:
        rest = prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = tensor.elements // rest
    if prod(shape) != tensor.elements:
        raise Unknown
    return [Tensor(tensor.dtype, tuple(shape))]


def _flatten(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor = first(inputs)
    axis = axis_of(node, len(tensor.shape), 1)
    return [Tensor(tensor.dtype, (prod(tensor.shape[:axis]), prod(tensor.shape[axis:])))]


def _transpose(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor = first(inputs)
    order = node.attributes.get("perm") or tuple(reversed(range(len(tensor.shape))))
    return [Tensor(tensor.dtype, tuple(tensor.shape[axis] for axis in order))]


def _unsqueeze(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor = first(inputs)
    asked = numbers(inputs, 1)
    axes = list(node.attributes["axes"]) if asked is None else asked
    rank, rest = len(tensor.shape) + len(axes), iter(tensor.shape)
    places = {axis % rank for axis in axes}
    return [Tensor(tensor.dtype, tuple(1 if axis in places else next(rest) for axis in range(rank)))]


def _squeeze(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor = first(inputs)
    axes = axes_of(node, inputs, len(tensor.shape))
    keep = [size for axis, size in enumerate(tensor.shape) if (size != 1 if axes is None else axis not in axes)]
    return [Tensor(tensor.dtype, tuple(keep))]


def _concat(node: Node, inputs: Inputs, opset: int) -> Outputs:
    there = [tensor for tensor in inputs if tensor is not None]
    axis = axis_of(node, len(there[0].shape), 0)
    shape = list(there[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in there)
    return [Tensor(there[0].dtype, tuple(shape))]


def _split(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor = first(inputs)
    axis = axis_of(node, len(tensor.shape), 0)
    sizes = numbers(inputs, 1) or list(node.attributes.get("split") or ())
    if not sizes:
        count = node.attributes.get("num_outputs", len(node.outputs))
        size = -(-tensor.shape[axis] // count)
        sizes = [size] * (count - 1) + [tensor.shape[axis] - size * (count - 1)]
    return [Tensor(tensor.dtype, _with(tensor.shape, axis, size)) for size in sizes]


def _with(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _slice(node: Node, inputs: Inputs, opset: int) -> Outputs:
    """Where the end hangs on the data (a text without its padding), as much as there can be: a plan is for the most."""
    tensor = first(inputs)
    starts = numbers(inputs, 1)
    ends = numbers(inputs, 2) if starts is None or first(inputs, 2).value is not None else [2**31 - 1] * len(starts)
    if starts is None or ends is None:
        starts, ends = list(node.attributes["starts"]), list(node.attributes["ends"])
    axes = axes_of(node, inputs, len(tensor.shape), 3) or list(range(len(starts)))
    steps = numbers(inputs, 4) or [1] * len(starts)
    shape = tensor.shape
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        stop = None if step < 0 and end < -(2**31) else end
        shape = _with(shape, axis, len(range(*slice(start, stop, step).indices(shape[axis]))))
    return [Tensor(tensor.dtype, shape)]


def _gather(node: Node, inputs: Inputs, opset: int) -> Outputs:
    data, places = first(inputs), first(inputs, 1)
    axis = axis_of(node, len(data.shape), 0)
    return [Tensor(data.dtype, (*data.shape[:axis], *places.shape, *data.shape[axis + 1 :]))]


def _gather_elements(node: Node, inputs: Inputs, opset: int) -> Outputs:
    return [Tensor(first(inputs).dtype, first(inputs, 1).shape)]


def _gather_nd(node: Node, inputs: Inputs, opset: int) -> Outputs:
    data, places = first(inputs), first(inputs, 1)
    batch = node.attributes.get("batch_dims", 0)
    return [Tensor(data.dtype, (*places.shape[:-1], *data.shape[batch + places.shape[-1] :]))]


def _expand(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor, wanted = first(inputs), numbers(inputs, 1)
    if wanted is None:
        raise Unknown
    return [Tensor(tensor.dtype, np.broadcast_shapes(tensor.shape, tuple(wanted)))]


def _tile(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor, times = first(inputs), numbers(inputs, 1)
    if times is None:
        raise Unknown
    return [Tensor(tensor.dtype, tuple(size * by for size, by in zip(tensor.shape, times, strict=True)))]


def _pad(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor = first(inputs)
    pads = numbers(inputs, 1) or list(node.attributes.get("pads") or ())
    axes = axes_of(node, inputs, len(tensor.shape), 3) or list(range(len(tensor.shape)))
    shape = list(tensor.shape)
    for index, axis in enumerate(axes):
        shape[axis] += pads[index] + pads[index + len(axes)]
    return [Tensor(tensor.dtype, tuple(shape))]


def _resize(node: Node, inputs: Inputs, opset: int) -> Outputs:
    """`sizes` as they are, or the shape times `scales`, rounded down."""
    tensor = first(inputs)
    sizes, scales = (inputs[3] if len(inputs) > 3 else None), (inputs[2] if len(inputs) > 2 else None)
    if node.op == "Upsample":
        sizes, scales = None, first(inputs, 1)
    if node.attributes.get("axes") is not None:
        raise Unknown
    if sizes is not None and sizes.elements:
        return [Tensor(tensor.dtype, tuple(numbers([sizes], 0) or ()))]
    if scales is None or scales.value is None:
        raise Unknown
    return [Tensor(tensor.dtype, tuple(int(size * by) for size, by in zip(tensor.shape, scales.value, strict=True)))]


def _reduce(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor = first(inputs)
    axes = axes_of(node, inputs, len(tensor.shape))
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return [Tensor(tensor.dtype, tensor.shape)]
        axes = list(range(len(tensor.shape)))
    return [Tensor(tensor.dtype, _reduced(node, tensor.shape, axes))]


def _reduced(node: Node, shape: tuple[int, ...], axes: Sequence[int]) -> tuple[int, ...]:
    if node.attributes.get("keepdims", 1):
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _arg(node: Node, inputs: Inputs, opset: int) -> Outputs:
    shape = first(inputs).shape
    return [Tensor("int64", _reduced(node, shape, [axis_of(node, len(shape), 0)]))]


def _top(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor, count = first(inputs), numbers(inputs, 1)
    if count is None:
        raise Unknown
    shape = _with(tensor.shape, axis_of(node, len(tensor.shape), -1), count[0])
    return [Tensor(tensor.dtype, shape), Tensor("int64", shape)]


def _range(node: Node, inputs: Inputs, opset: int) -> Outputs:
    values = [first(inputs, index).value for index in range(3)]
    if any(value is None for value in values):
        raise Unknown
    start, limit, delta = (float(np.ravel(value)[0]) for value in values if value is not None)
    return [Tensor(first(inputs).dtype, (max(int(np.ceil((limit - start) / delta)), 0),))]


def _blocks(node: Node, inputs: Inputs, opset: int) -> Outputs:
    tensor, by = first(inputs), node.attributes["blocksize"]
    n, c, h, w = tensor.shape
    if node.op == "DepthToSpace":
        return [Tensor(tensor.dtype, (n, c // by**2, h * by, w * by))]
    return [Tensor(tensor.dtype, (n, c * by**2, h // by, w // by))]


def _shape(node: Node, inputs: Inputs, opset: int) -> Outputs:
    rank = len(first(inputs).shape)
    start, end = node.attributes.get("start", 0), node.attributes.get("end", rank)
    return [Tensor("int64", (len(range(*slice(start, end).indices(rank))),))]


def _size(node: Node, inputs: Inputs, opset: int) -> Outputs:
    return [Tensor("int64", (), np.asarray(first(inputs).elements))]


def _one_hot(node: Node, inputs: Inputs, opset: int) -> Outputs:
    places, depth = first(inputs), numbers(inputs, 1)
    if depth is None:
        raise Unknown
    axis = axis_of(node, len(places.shape) + 1, -1)
    return [Tensor(first(inputs, 2).dtype, (*places.shape[:axis], depth[0], *places.shape[axis:]))]


MOVES = table({
    _reshape: "Reshape",
    _flatten: "Flatten",
    _transpose: "Transpose",
    _unsqueeze: "Unsqueeze",
    _squeeze: "Squeeze",
    _concat: "Concat",
    _split: "Split",
    _slice: "Slice",
    _gather: "Gather",
    _gather_elements: "GatherElements",
    _gather_nd: "GatherND",
    _expand: "Expand",
    _tile: "Tile",
    _pad: "Pad",
    _resize: "Resize Upsample",
    _reduce: "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp",
    _arg: "ArgMax ArgMin",
    _top: "TopK",
    _range: "Range",
    _blocks: "DepthToSpace SpaceToDepth",
    _shape: "Shape",
    _size: "Size",
    _one_hot: "OneHot",
})  # fmt: skip
