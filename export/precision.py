"""FP16 graphs, and FP32 graphs that store their weights in half the space.

`to_fp16` writes the precision into the graph: tensors and weights are FP16, and what needs the range or the digits of
FP32 stays FP32 between explicit casts. Inputs and outputs stay FP32, so a variant can take the place of another.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ..runtime.values import Array
from .graphs import FLOAT, HALF, Graph, make_node
from .model import Model

__all__ = ["FAR", "FP32_OPERATORS", "before_log", "compress", "to_fp16"]

FP32_OPERATORS = frozenset(
    ["Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization",
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "Exp", "Log", "Sqrt",
    "Div", "Pow", "Reciprocal", "Sin", "Cos", "Clip"]
)  # fmt: skip
"""Kept in FP32: sums of squares overflow 65504, small denominators vanish, angles and logarithms lose digits."""
SETTINGS = {"Resize": (1, 2)}
"""Inputs that say what is to be done, and whose type is fixed: a region and scales."""
PRODUCTS = frozenset(["MatMul", "Gemm", "Conv", "ConvTranspose"])

_LARGEST = 65504.0
FAR = _LARGEST / 4
"""A tensor that gets as far on any capture that was seen is kept in FP32: on another it may overflow."""
_SMALL = 64
"""Tensors with fewer values are not worth a cast."""
_HEAD = 4096
"""Values that are looked at first."""


def compress(model: Any) -> Model:
    """Store every FP32 initialiser that FP16 holds exactly as FP16 behind a cast; the numbers stay the same to the bit.

    ONNX Runtime computes the casts once, when it loads the graph.
    """
    graph = Graph(model)
    casts = []
    for name, value in list(graph.constants.items()):
        if value.dtype != np.float32 or value.size < _SMALL or not _is_half(value):
            continue
        half = graph.constant(f"{name}.half", value.astype(np.float16))
        del graph.constants[name]
        casts.append(make_node("Cast", [half], [name], graph.fresh(f"{name}/cast"), to=FLOAT))
    graph.nodes = casts + graph.nodes
    return graph.save()


def _is_half(value: Array) -> bool:
    with np.errstate(over="ignore"):
        parts = (value.reshape(-1)[:_HEAD], value)
        return all(bool((part.astype(np.float16).astype(np.float32) == part).all()) for part in parts)


def to_fp16(model: Any, beyond: Collection[str] = (), *, products: bool = False) -> Model:
    """FP32 graph → strongly typed FP16 graph with FP32 inputs and outputs.

    FP32 stay the operators of `FP32_OPERATORS`; everything that leads to a logarithm: a log-mel front end squares
    and sums its input and then asks for the digits of values near 1e-5; and what reads or makes a tensor of `beyond`,
    or a constant that FP16 cannot hold. `products`: nothing but convolutions and matrix products becomes FP16.
    """
    graph = Graph(model)
    types = graph.types()
    kept = before_log(graph) | _out_of_range(graph, beyond)
    if products:
        kept |= {node.name for node in graph.nodes if node.op_type not in PRODUCTS}
    halves = _Halves(graph, types, kept)
    for node in list(graph.nodes):
        halves.convert(node)
    graph.nodes = halves.nodes
    halves.finish()
    return graph.save()


def before_log(graph: Graph) -> set[str]:
    """Names of the nodes whose result reaches a `Log`."""
    makers = graph.makers()
    stack = [name for node in graph.nodes if node.op_type == "Log" for name in node.input]
    found: set[str] = set()
    while stack:
        node = makers.get(stack.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            stack.extend(node.input)
    return found


def _out_of_range(graph: Graph, beyond: Collection[str]) -> set[str]:
    """Names of the nodes that read or make a tensor of `beyond`, or read a constant beyond FP16's range."""
    far = set(beyond) | {
        name for name, value in graph.constants.items() if value.dtype == np.float32 and _overflows(value)
    }
    return {node.name for node in graph.nodes if not far.isdisjoint([*node.input, *node.output])}


def _overflows(value: Array) -> bool:
    """Infinities count as held: FP16 has them too."""
    if not value.size or max(-value.min(), value.max()) <= _LARGEST:
        return False
    finite = value[np.isfinite(value)]
    return bool((np.abs(finite) > _LARGEST).any())


class _Halves:
    """Rewrites nodes one by one; knows for each FP32 tensor of the old graph its FP32 and FP16 forms in the new one."""

    def __init__(self, graph: Graph, types: dict[str, int], kept: set[str]) -> None:
        self.graph, self.types, self.kept = graph, types, kept
        self.nodes: list[Any] = []
        self.forms: dict[tuple[str, int], str] = {(name, FLOAT): name for name in graph.inputs}

    def convert(self, node: Any) -> None:
        """Add the node in its precision, with casts where its inputs have the other one."""
        precision = self._precision(node)
        fixed = SETTINGS.get(node.op_type, ())
        node.input[:] = [
            self._form(name, FLOAT if slot in fixed else precision) if self._is_float(name) else name
            for slot, name in enumerate(node.input)
        ]
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = precision
        names = list(node.output)
        for slot, name in enumerate(names):
            if self._is_float(name):
                form = name if precision == FLOAT else self.graph.fresh(f"{name}.half")
                node.output[slot] = self.forms[name, precision] = form
        self.nodes.append(node)

    def _is_float(self, name: str) -> bool:
        return bool(name) and self.types.get(name) == FLOAT

    def _precision(self, node: Any) -> int:
        return FLOAT if node.op_type in FP32_OPERATORS or node.name in self.kept else HALF

    def _form(self, name: str, precision: int) -> str:
        """The name of an FP32 tensor of the old graph in `precision`."""
        if (name, precision) in self.forms:
            return self.forms[name, precision]
        form = name if precision == FLOAT else self.graph.fresh(f"{name}.half")
        if name in self.graph.constants:
            if precision == HALF:
                self.graph.constants[form] = self.graph.constants[name].astype(np.float16)
        else:
            other = self.forms[name, FLOAT if precision == HALF else HALF]
            node = make_node("Cast", [other], [form], self.graph.fresh(f"{form}/cast"), to=precision)
            self.nodes.append(node)
        self.forms[name, precision] = form
        return form

    def finish(self) -> None:
        """Give FP32 outputs back under their names."""
        for name in self.graph.outputs:
            if self._is_float(name):
                self._form(name, FLOAT)
