"""FP16 graphs, and FP32 graphs that store their weights in half the space.

`to_fp16` writes the precision into the graph: tensors and weights are FP16, and what needs the range or the digits of
FP32 stays FP32 between explicit casts. Inputs and outputs stay FP32, so a variant can take the place of another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime.values import Array
from .graphs import FLOAT, HALF, Graph, make_node

__all__ = ["FP32_OPERATORS", "before_log", "compress", "to_fp16"]

FP32_OPERATORS = frozenset(
    [
        "Softmax",
        "LayerNormalization",
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "Exp",
        "Log",
        "Sqrt",
        "Div",
        "Pow",
        "Reciprocal",
        "Sin",
        "Cos",
        "Clip",
    ]
)
"""Kept in FP32: sums of squares overflow 65504, small denominators vanish, angles and logarithms lose digits."""

_SMALL = 64
"""Tensors with fewer values are not worth a cast."""


def compress(model: Any) -> Any:
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
        return bool((value.astype(np.float16).astype(np.float32) == value).all())


def to_fp16(model: Any) -> Any:
    """FP32 graph → strongly typed FP16 graph with FP32 inputs and outputs.

    FP32 stay the operators of `FP32_OPERATORS`, and everything that leads to a logarithm: a log-mel front end squares
    and sums its input and then asks for the digits of values near 1e-5.
    """
    graph = Graph(model)
    types = graph.types()
    halves = _Halves(graph, types, before_log(graph))
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


class _Halves:
    """Rewrites nodes one by one; knows for each FP32 tensor of the old graph its FP32 and FP16 forms in the new one."""

    def __init__(self, graph: Graph, types: dict[str, int], kept: set[str]) -> None:
        self.graph, self.types, self.kept = graph, types, kept
        self.nodes: list[Any] = []
        self.forms: dict[tuple[str, int], str] = {(name, FLOAT): name for name in graph.inputs}

    def convert(self, node: Any) -> None:
        """Add the node in its precision, with casts where its inputs have the other one."""
        precision = self._precision(node)
        node.input[:] = [self._form(name, precision) if self._is_float(name) else name for name in node.input]
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
