"""FP32 graph → INT8 graph for CPUs, in one of two ways.

dynamic   matrix products only; the range of the activation (uint8) is taken from each input as it comes, the weight is
          int8 per output channel. `DynamicQuantizeLinear → MatMulInteger → Cast → Mul`: ONNX Runtime fuses the four.
static    convolutions, matrix products and the additions between convolutions, as Q/DQ pairs with calibrated uint8
          activations and int8 weights per output channel; a ReLU stays between a convolution and its Q.

Weights are scaled so that the result is the same on every CPU: x86 without VNNI adds products in pairs in 16 bits, and
what exceeds them is cut off there (measured: an encoder's cosine falls from 0.9996 to 0.95).

Products of two activations (attention), normalisations and everything else stay FP32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..runtime.errors import ExportError
from ..runtime.values import Array
from .graphs import Graph
from .precision import before_log

__all__ = ["candidates", "dynamic_int8", "static_int8", "static_tensors"]

_PRODUCTS = ("MatMul", "Gemm")
_LARGEST_BIAS = 2**30
"""A bias must fit int32 in units of the products: a channel whose weights have died gets a larger scale for it."""


def candidates(model: Any, method: str) -> list[str]:
    """Names of the nodes that `method` ("dynamic" or "static") can quantise.

    Nothing that leads to a logarithm is among them: 256 levels cannot hold the 100 dB that a log-mel front end works
    on.
    """
    graph = Graph(model)
    kinds = (*_PRODUCTS, "Conv") if method == "static" else _PRODUCTS
    kept = before_log(graph)
    return [
        node.name
        for node in graph.nodes
        if node.op_type in kinds and node.name not in kept and _has_weight(graph, node)
    ]


def _has_weight(graph: Graph, node: Any) -> bool:
    weight = graph.constants.get(node.input[1])
    if weight is None or weight.dtype != np.float32 or node.input[0] in graph.constants:
        return False
    if node.op_type == "Gemm":
        return _plain_gemm(node)
    return weight.ndim == 2 if node.op_type == "MatMul" else weight.ndim >= 3


def _plain_gemm(node: Any) -> bool:
    given = {each.name: each for each in node.attribute}
    ones = all(given[name].f == 1.0 for name in ("alpha", "beta") if name in given)
    return ones and not ("transA" in given and given["transA"].i)


def _transposed(node: Any) -> bool:
    return any(each.name == "transB" and each.i for each in node.attribute)


def per_channel(weight: Array, axis: int, least: float | Array = 0.0) -> tuple[Array, Array]:
    """Symmetric int8 weight (−127 … 127) and one float32 scale, at least `least`, for each index of `axis`.

    No two weights of one sign sum to more than 128: times 255, the largest activation, that is 32640, which 16 bits
    hold in whatever order the products are paired. Seven bits would do it too; this costs a channel only what it must.
    """
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    pairs = np.maximum(_largest_two(rows), _largest_two(-rows))
    scale = np.maximum(pairs / 127, np.maximum(least, 1e-14)).astype(np.float32)
    shape = [-1 if index == axis else 1 for index in range(weight.ndim)]
    whole = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8)
    return whole, scale


def _largest_two(rows: Array) -> Array:
    """The sum of the two largest values above zero of each row."""
    count = rows.shape[1]
    top = np.partition(rows, max(0, count - 2), axis=1)[:, max(0, count - 2) :]
    sums: Array = np.maximum(top, 0.0).sum(axis=1)
    return sums


# dynamic


def dynamic_int8(model: Any, nodes: Collection[str]) -> Any:
    """Quantise the named matrix products, their activations as they come."""
    graph = Graph(model)
    made: list[Any] = []
    inputs: dict[str, Any] = {}
    weights: dict[str, tuple[str, str]] = {}
    for node in graph.nodes:
        if node.name not in nodes:
            made.append(node)
            continue
        if node.input[0] not in inputs:
            inputs[node.input[0]] = graph.node("DynamicQuantizeLinear", [node.input[0]], f"{node.input[0]}.u8", 3)
            made.append(inputs[node.input[0]])
        stem = node.input[1]
        if stem not in weights:
            weight = graph.constants[stem]
            whole, scales = per_channel(weight.T if _transposed(node) else weight, 1)
            weights[stem] = (graph.constant(f"{stem}.int8", whole), graph.constant(f"{stem}.scale", scales))
        made += _dynamic_product(graph, node, inputs[node.input[0]].output, weights[stem])
    graph.nodes = made
    return graph.save()


def _dynamic_product(graph: Graph, node: Any, source: tuple[str, str, str], weight: tuple[str, str]) -> list[Any]:
    """A product of whole numbers and its scaling back, under the name of the old result."""
    values, scale, zero = source
    made: list[Any] = []
    product = graph.node("MatMulInteger", [values, weight[0], zero], f"{node.name}.i32")
    cast = graph.node("Cast", [product.output[0]], f"{node.name}.f32", to=1)
    both = graph.node("Mul", [scale, weight[1]], f"{node.name}.scale")
    last = graph.node("Mul", [cast.output[0], both.output[0]], f"{node.name}.scaled")
    made += [product, cast, both, last]
    if len(node.input) > 2 and node.input[2]:
        last = graph.node("Add", [last.output[0], node.input[2]], f"{node.name}.biased")
        made.append(last)
    last.output[0] = node.output[0]
    return made


# static


def static_tensors(model: Any, nodes: Collection[str]) -> list[str]:
    """The activations whose ranges `static_int8` needs."""
    return _Static(Graph(model), nodes, None).tensors()


def static_int8(model: Any, nodes: Collection[str], ranges: Mapping[str, tuple[float, float]]) -> Any:
    """Quantise the named nodes with Q/DQ pairs. Raises `ExportError` when a range is missing."""
    return _Static(Graph(model), nodes, ranges).rewrite()


class _Static:
    """`pairs`: tensors that get a Q/DQ pair; `ends`: those of them that only exist as uint8, for every reader."""

    def __init__(self, graph: Graph, nodes: Collection[str], ranges: Mapping[str, tuple[float, float]] | None) -> None:
        self.graph, self.ranges = graph, ranges or {}
        self.uses = graph.uses()
        self.chosen = {node.name for node in graph.nodes if node.name in nodes}
        self.made: list[Any] = []
        self.restored: dict[str, str] = {}
        self.weights: dict[tuple[str, int, bytes], tuple[str, Array]] = {}
        self.pairs: dict[str, None] = {}
        self.ends: set[str] = set()
        for node in graph.nodes:
            self._plan(node)

    def tensors(self) -> list[str]:
        return list(self.pairs)

    def _plan(self, node: Any) -> None:
        """Inputs of chosen nodes; what chosen convolutions make; additions of two such results."""
        joins = node.op_type == "Add" and self.ends.issuperset(node.input)
        if node.name in self.chosen:
            self.pairs[node.input[0]] = None
        if joins or (node.name in self.chosen and node.op_type == "Conv"):
            if joins:
                self.chosen.add(node.name)
            end = self._end(node)
            self.pairs[end] = None
            self.ends.add(end)

    def _end(self, node: Any) -> str:
        """The tensor after a node, or after the ReLU that is its only reader."""
        users = self.uses[node.output[0]]
        alone = len(users) == 1 and users[0].op_type == "Relu" and node.output[0] not in self.graph.outputs
        return str((users[0] if alone else node).output[0])

    def rewrite(self) -> Any:
        for name in self.graph.inputs:
            self._pair(name)
        for node in self.graph.nodes:
            chosen = node.name in self.chosen
            if chosen and node.op_type != "Add":
                self._weights(node)
            names = [
                name if not chosen and name not in self.ends else self.restored.get(name, name) for name in node.input
            ]
            node.input[:] = names
            self.made.append(node)
            for name in node.output:
                self._pair(name)
        self.graph.nodes = self.made
        return self.graph.save()

    def _pair(self, name: str) -> None:
        """Add Q and DQ behind a tensor."""
        if name not in self.pairs:
            return
        scale, zero = self._scale(name)
        known = [
            self.graph.constant(f"{name}.scale", np.array(scale)),
            self.graph.constant(f"{name}.zero", np.array(zero)),
        ]
        quantise = self.graph.node("QuantizeLinear", [name, *known], f"{name}.u8")
        restore = self.graph.node("DequantizeLinear", [quantise.output[0], *known], f"{name}.dq")
        self.made += [quantise, restore]
        self.restored[name] = restore.output[0]

    def _scale(self, name: str) -> tuple[np.float32, np.uint8]:
        if name not in self.ranges:
            raise ExportError(f"No calibrated range for tensor {name!r}", fix="Observe it first.")
        low, high = self.ranges[name]
        scale = np.float32(max(high - low, 1e-8) / 255)
        return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))

    def _weights(self, node: Any) -> None:
        """int8 weight per output channel, and int32 bias at the scale of the products."""
        axis = 0 if node.op_type == "Conv" or _transposed(node) else 1
        step = float(self._scale(node.input[0])[0])
        bias = self.graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        least = np.zeros(1) if bias is None else np.abs(bias.astype(np.float64)) / (step * _LARGEST_BIAS)
        stem, key = node.input[1], (node.input[1], axis, least.tobytes())
        if key not in self.weights:
            whole, scales = per_channel(self.graph.constants[stem], axis, least)
            self.weights[key] = (self._restore(stem, whole, scales, axis), scales)
        node.input[1], scales = self.weights[key]
        if bias is not None:
            units = (scales * np.float32(step)).astype(np.float32)
            node.input[2] = self._restore(node.input[2], np.rint(bias / units).astype(np.int32), units, 0)

    def _restore(self, stem: str, whole: Array, scales: Array, axis: int) -> str:
        """A constant as whole numbers behind a DequantizeLinear; the name of what that gives."""
        known = self.graph.constant(f"{stem}.scale", scales)
        zero = self.graph.constant(f"{stem}.zero", np.zeros(len(scales), whole.dtype))
        values = self.graph.constant(f"{stem}.{whole.dtype.name}", whole)
        restore = self.graph.node("DequantizeLinear", [values, known, zero], f"{stem}.dq", axis=axis)
        self.made.append(restore)
        return str(restore.output[0])
