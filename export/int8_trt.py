"""FP32 graph → INT8 graph for TensorRT: symmetric Q/DQ pairs where its fusions look for them, and FP16 for the rest.

TensorRT reads precision from the graph (its version 11 has no other way) and wants activations and weights both as int8
around zero: one scale for an activation, one per output channel for a weight, a bias in floating point. A pair lies on
the input of every quantised convolution and product; where a convolution's result is added to something else, a pair
lies on the other operand too, so that convolution, addition, ReLU and the next pair become one kernel. Look-ups,
products of two activations and whatever leads to a logarithm stay as they are.

Scales are numbers of FP16, since the tensors beside them are: they are rounded first and quantised with afterwards, so
that the rounding costs nothing.

On a CPU this graph is slow and right: ONNX Runtime runs it for `verify`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..runtime.errors import ExportError
from ..runtime.values import Array
from .graphs import Graph
from .model import Model
from .precision import to_fp16
from .quantise import candidates, transposed

__all__ = ["trt_candidates", "trt_int8", "trt_tensors"]

_LEAST = 2.0**-20
"""The smallest scale: FP16 holds it to four digits, and nothing below it exactly."""


def trt_candidates(model: Any, beyond: Collection[str] = ()) -> list[str]:
    """Names of the convolutions and products with a constant weight that can be quantised.

    Not those that read or make a tensor of `beyond`: what a pair gives back is FP16, which cannot hold it.
    """
    far = set(beyond)
    wanted = {
        node.name
        for node in Graph(model).nodes
        if node.op_type != "Gather" and far.isdisjoint([*node.input, *node.output])
    }
    return [name for name in candidates(model, "static") if name in wanted]


def trt_tensors(model: Any, nodes: Collection[str]) -> list[str]:
    """The activations whose ranges `trt_int8` needs."""
    return list(_Pairs(Graph(model), nodes, {}).tensors)


def trt_int8(
    model: Any, nodes: Collection[str], ranges: Mapping[str, tuple[float, float]], beyond: Collection[str] = ()
) -> Model:
    """Quantise the named nodes, and make the rest FP16 as `to_fp16` does. `ExportError`: a range is missing."""
    pairs = _Pairs(Graph(model), nodes, ranges)
    return to_fp16(pairs.rewrite(), beyond)


class _Pairs:
    """`tensors`: those that get a pair, and for each the nodes that read it through the pair."""

    def __init__(self, graph: Graph, nodes: Collection[str], ranges: Mapping[str, tuple[float, float]]) -> None:
        self.graph, self.ranges = graph, ranges
        self.chosen = {node.name for node in graph.nodes if node.name in nodes}
        self.made: list[Any] = []
        self.tensors: dict[str, set[str]] = {}
        makers, uses = graph.makers(), graph.uses()
        for node in graph.nodes:
            if node.name in self.chosen:
                self.tensors.setdefault(node.input[0], set()).add(node.name)
            elif node.op_type == "Add":
                for other in self._joined(node, makers, uses):
                    self.tensors.setdefault(other, set()).add(node.name)

    def _joined(self, node: Any, makers: Mapping[str, Any], uses: Mapping[str, list[Any]]) -> list[str]:
        """Of an addition to a quantised convolution's result, which nothing else reads, the other operand."""
        for mine, other in (node.input, reversed(node.input)):
            maker = makers.get(mine)
            if maker is None or maker.op_type != "Conv" or maker.name not in self.chosen or len(uses[mine]) > 1:
                continue
            if other not in self.graph.constants and other != mine:
                return [other]
        return []

    def rewrite(self) -> Model:
        restored: dict[str, str] = {}
        for name in self.graph.inputs:
            self._pair(name, restored)
        for node in self.graph.nodes:
            for slot, name in enumerate(node.input):
                if node.name in self.tensors.get(name, ()):
                    node.input[slot] = restored[name]
            if node.name in self.chosen:
                node.input[1] = self._weight(node)
            self.made.append(node)
            for name in node.output:
                self._pair(name, restored)
        self.graph.nodes = self.made
        return self.graph.save()

    def _pair(self, name: str, restored: dict[str, str]) -> None:
        if name not in self.tensors:
            return
        if name not in self.ranges:
            raise ExportError(f"No calibrated range for tensor {name!r}", fix="Observe it first.")
        scale = _scales(np.array(max(map(abs, self.ranges[name]))))
        known = [self.graph.constant(f"{name}.scale", scale), self.graph.constant(f"{name}.zero", np.array(0, np.int8))]
        quantise = self.graph.node("QuantizeLinear", [name, *known], f"{name}.s8")
        restore = self.graph.node("DequantizeLinear", [quantise.output[0], *known], f"{name}.dq")
        self.made += [quantise, restore]
        restored[name] = restore.output[0]

    def _weight(self, node: Any) -> str:
        """The weight as int8 behind a DequantizeLinear: its name. Nodes that share a weight get one each."""
        stem = node.input[1]
        weight = self.graph.constants[stem]
        axis = 0 if node.op_type == "Conv" or transposed(node) else 1
        rest = tuple(each for each in range(weight.ndim) if each != axis)
        scales = _scales(np.abs(weight).max(axis=rest))
        shaped = scales.reshape([-1 if each == axis else 1 for each in range(weight.ndim)])
        whole = np.clip(np.rint(weight / shaped), -127, 127).astype(np.int8)
        given = [
            self.graph.constant(f"{stem}.int8", whole),
            self.graph.constant(f"{stem}.scale", scales),
            self.graph.constant(f"{stem}.zero", np.zeros(len(scales), np.int8)),
        ]
        restore = self.graph.node("DequantizeLinear", given, f"{stem}.dq", axis=axis)
        self.made.append(restore)
        return str(restore.output[0])


def _scales(largest: Array) -> Array:
    """Scales that spread −largest … largest over −127 … 127, as float32 numbers that FP16 holds exactly."""
    scales = np.maximum(np.asarray(largest, np.float64) / 127, _LEAST)
    return np.asarray(scales.astype(np.float16).astype(np.float32))
