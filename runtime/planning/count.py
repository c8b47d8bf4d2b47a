"""What one run of a graph takes: operations, weights, inputs and outputs, and the most that lives in between at once.

Liveness goes in the order of the nodes, as ONNX Runtime runs them: a tensor lives from the node that makes it to the
last that reads it. Views cost nothing, an operation on single elements writes over an input that nobody reads any more,
and what hangs on weights alone is folded before the first run. Operations that an engine fuses are counted apart here,
so the activations of an engine are at most these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..onnx_graph import Graph, Node, Tensor, read_graph
from .infer import infer
from .rules_products import operations

__all__ = ["Count", "count", "count_graph"]

_VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"}
_IN_PLACE = {
    "Relu", "Sigmoid", "Tanh", "Gelu", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Sin", "Cos",
    "Clip", "Softmax", "LeakyRelu", "Elu", "HardSigmoid", "HardSwish", "Softplus", "Floor", "Ceil", "Round",
    "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where",
}  # fmt: skip
_MOVED = _VIEWS | {"Transpose"}
_INTEGER = {"MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"}
_RATE = {"float32": "fp32", "float64": "fp32", "bfloat16": "fp16", "float16": "fp16", "float8": "fp8"}


@dataclass(frozen=True)
class Count:
    """Bytes, and `operations` by the precision that they are done in (fp32, fp16, int8, fp8).

    `activations`: the most that lives at once between inputs and outputs. `unknown`: operations of which the result's
    size is not known, with how often; while there are any, every figure is at least so much.
    """

    operations: Mapping[str, int]
    weights: int
    inputs: int
    outputs: int
    activations: int
    nodes: int
    unknown: Mapping[str, int]

    @property
    def io(self) -> int:
        """Bytes of inputs and outputs."""
        return self.inputs + self.outputs


def count_graph(data: bytes) -> Count:
    """The count of a ModelProto; its weights may lie elsewhere, they are not read."""
    return count(read_graph(data))


def count(graph: Graph) -> Count:
    """The count of a graph."""
    inferred = infer(graph)
    tensors = inferred.tensors
    constants = _constants(graph)
    done: dict[str, int] = {}
    dequantised: set[str] = set()
    for node in graph.nodes:
        if node.op == "DequantizeLinear" or (node.op in _MOVED and node.inputs[0] in dequantised):
            dequantised.add(node.outputs[0])
        output = tensors.get(node.outputs[0])
        if node.outputs[0] in constants or output is None:
            continue
        inputs = [tensors.get(name) if name else None for name in node.inputs]
        if any(tensor is None for tensor, name in zip(inputs, node.inputs, strict=True) if name):
            continue
        if number := operations(node, inputs, output):
            precision = _precision(node, dequantised, inputs[0])
            done[precision] = done.get(precision, 0) + number
    return Count(
        operations=done,
        weights=_weights(graph, tensors, constants),
        inputs=sum(tensor.nbytes for tensor in graph.inputs.values()),
        outputs=sum(tensors[name].nbytes for name in graph.outputs if name in tensors),
        activations=_peak(graph, tensors),
        nodes=len(graph.nodes),
        unknown=inferred.unknown,
    )


def _precision(node: Node, dequantised: set[str], data: Tensor | None) -> str:
    """A product of two dequantised tensors is done in INT8: that is what Q/DQ nodes ask for."""
    if node.op in _INTEGER or set(node.inputs[:2]) <= dequantised:
        return "int8"
    return _RATE.get(data.dtype if data is not None else "float32", "int8")


def _constants(graph: Graph, *, folded: bool = False) -> set[str]:
    """Tensors that hang on weights alone. Weights are kept quantised: unless `folded`, dequantising them ends it."""
    known = set(graph.weights)
    for node in graph.nodes:
        if all(name in known for name in node.inputs if name) and (folded or node.op != "DequantizeLinear"):
            known.update(node.outputs)
    return known


def _weights(graph: Graph, tensors: Mapping[str, Tensor], constants: set[str]) -> int:
    """Bytes of the constants that the running part of the graph reads, each once."""
    read = {name for node in graph.nodes if node.outputs[0] not in constants for name in node.inputs}
    return sum(tensors[name].nbytes for name in (read | set(graph.outputs)) & constants if name in tensors)


def _peak(graph: Graph, tensors: Mapping[str, Tensor]) -> int:
    """The most bytes of intermediate tensors that live at once. Inputs and outputs have buffers of their own."""
    apart = _constants(graph, folded=True) | set(graph.inputs) | set(graph.outputs)
    owner = _owners(graph, apart)
    last = {owner.get(name, name): index for index, node in enumerate(graph.nodes) for name in node.inputs}
    live: dict[str, int] = {}
    now = most = 0
    for index, node in enumerate(graph.nodes):
        reused = _overwritten(node, owner, last, index, live, tensors)
        for name in node.outputs:
            if name in apart or name not in tensors or owner.get(name, name) != name:
                continue
            size = tensors[name].nbytes
            if reused is not None and name == node.outputs[0]:
                now -= live.pop(reused)
            live[name] = size
            now += size
        most = max(most, now)
        for name in {owner.get(each, each) for each in (*node.inputs, *node.outputs)}:
            if last.get(name, -1) <= index and name in live:
                now -= live.pop(name)
    return most


def _owners(graph: Graph, apart: set[str]) -> dict[str, str]:
    """view → the tensor whose memory it shows; a view that is an output of the graph is a copy."""
    owner: dict[str, str] = {}
    for node in graph.nodes:
        if node.op in _VIEWS and node.inputs[0] not in apart and node.outputs[0] not in apart:
            owner[node.outputs[0]] = owner.get(node.inputs[0], node.inputs[0])
        elif node.op in _VIEWS and node.outputs[0] not in apart:
            owner[node.outputs[0]] = node.inputs[0]  # of an input or a weight: nothing of its own
    return owner


def _overwritten(
    node: Node,
    owner: Mapping[str, str],
    last: Mapping[str, int],
    index: int,
    live: Mapping[str, int],
    tensors: Mapping[str, Tensor],
) -> str | None:
    """The input whose memory the output takes, if there is one."""
    output = tensors.get(node.outputs[0])
    if node.op not in _IN_PLACE or output is None:
        return None
    names = (owner.get(name, name) for name in node.inputs)
    return next((name for name in names if live.get(name) == output.nbytes and last.get(name) == index), None)
