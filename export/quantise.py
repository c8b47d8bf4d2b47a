"""FP32 graph → INT8 graph for CPUs, in one of two ways.

dynamic   matrix products only; the range of the activation (uint8) is taken from each input as it comes, the weight is
          int8 per output channel. `DynamicQuantizeLinear → MatMulInteger → Cast → Mul`: ONNX Runtime fuses the four.
static    convolutions, matrix products and the additions between convolutions, as Q/DQ pairs with calibrated uint8
          activations and int8 weights per output channel; a ReLU stays between a convolution and its Q.

Weights are scaled so that the result is the same on every CPU: x86 without VNNI adds products in pairs in 16 bits, and
what exceeds them is cut off there (measured: an encoder's cosine falls from 0.9996 to 0.95).

In both ways the rows of a large embedding table become int8, each with its scale: they are looked up and multiplied.
Products of two activations (attention) or with a stack of matrices (ONNX Runtime's fused product takes one only),
normalisations and everything else stay FP32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..runtime.errors import ExportError
from ..runtime.values import Array
from .graphs import Graph
from .int8_weights import Memo, per_channel, per_row, remember
from .model import Model
from .moved import Moved
from .precision import before_log

__all__ = ["candidates", "dynamic_int8", "static_int8", "static_tensors", "transposed"]

_PRODUCTS = ("MatMul", "Gemm")
_TABLE = 2**20
"""Values; an embedding table from here on is worth quantising."""
_THIN = 16
"""Values under the window of a convolution; with fewer there is nothing to sum up that INT8 could hasten."""
_LARGEST_BIAS = 2**30
"""A bias must fit int32 in units of the products: a channel whose weights have died gets a larger scale for it."""


def candidates(model: Any, method: str) -> list[str]:
    """Names of the nodes that `method` ("dynamic" or "static") can quantise.

    Nothing that leads to a logarithm is among them: 256 levels cannot hold the 100 dB that a log-mel front end works
    on.
    """
    graph = Graph(model)
    kinds = (*_PRODUCTS, "Gather", "Conv") if method == "static" else (*_PRODUCTS, "Gather")
    kept = before_log(graph)
    return [
        node.name
        for node in graph.nodes
        if node.op_type in kinds and node.name not in kept and _has_weight(graph, node)
    ]


def _has_weight(graph: Graph, node: Any) -> bool:
    if node.op_type == "Gather":
        return _is_table(graph, node)
    weight = graph.constants.get(node.input[1])
    if weight is None or weight.dtype != np.float32 or node.input[0] in graph.constants:
        return False
    if node.op_type == "Gemm":
        return _plain_gemm(node)
    return weight.ndim == 2 if node.op_type == "MatMul" else weight.ndim >= 3 and not _is_thin(node, weight)


def _is_thin(node: Any, weight: Array) -> bool:
    """Whether a convolution reads one channel through a few places, as wav2vec 2.0 begins: INT8 takes twice as long."""
    group = next((each.i for each in node.attribute if each.name == "group"), 1)
    return group == 1 and bool(weight.shape[1] == 1) and bool(np.prod(weight.shape[1:]) < _THIN)


def _is_table(graph: Graph, node: Any) -> bool:
    table = graph.constants.get(node.input[0])
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    return table is not None and table.dtype == np.float32 and table.ndim == 2 and table.size >= _TABLE and axis == 0


def _plain_gemm(node: Any) -> bool:
    given = {each.name: each for each in node.attribute}
    ones = all(given[name].f == 1.0 for name in ("alpha", "beta") if name in given)
    return ones and not ("transA" in given and given["transA"].i)


def transposed(node: Any) -> bool:
    """Whether a product reads its weight as (E, D) rather than (D, E)."""
    return any(each.name == "transB" and each.i for each in node.attribute)


def _tables(graph: Graph, nodes: Collection[str], memo: Memo) -> None:
    """Quantise the named look-ups in a table: rows and their scales are looked up, then multiplied."""
    made: list[Any] = []
    known: dict[str, tuple[str, str]] = {}
    for node in graph.nodes:
        if node.name not in nodes or node.op_type != "Gather":
            made.append(node)
            continue
        stem = node.input[0]
        if stem not in known:
            whole, scale = remember(memo, (stem, "rows"), partial(per_row, graph.constants[stem]))
            known[stem] = (graph.constant(f"{stem}.int8", whole), graph.constant(f"{stem}.scale", scale))
        rows, scales = (graph.node("Gather", [table, node.input[1]], f"{node.name}.rows") for table in known[stem])
        cast = graph.node("Cast", [rows.output[0]], f"{node.name}.f32", to=1)
        last = graph.node("Mul", [cast.output[0], scales.output[0]], f"{node.name}.scaled")
        last.output[0] = node.output[0]
        made += [rows, scales, cast, last]
    graph.nodes = made


# dynamic


def dynamic_int8(model: Any, nodes: Collection[str], memo: Memo | None = None) -> Model:
    """Quantise the named matrix products, their activations as they come, and look-ups."""
    graph, memo = Graph(model), {} if memo is None else memo
    _tables(graph, nodes, memo)
    made: list[Any] = []
    moved = Moved(graph)
    weights: dict[tuple[str, bool], tuple[str, str]] = {}
    for node in graph.nodes:
        if node.name not in nodes:
            made.append(node)
            continue
        source = moved.quantised(node.input[0], made)
        stem, turned = key = (node.input[1], transposed(node))
        if key not in weights:
            weight = graph.constants[stem].T if turned else graph.constants[stem]
            whole, scales = remember(memo, (*key, "product"), partial(per_channel, weight, 1))
            weights[key] = (graph.constant(f"{stem}.int8", whole), graph.constant(f"{stem}.scale", scales))
        made += _dynamic_product(graph, node, source, weights[key])
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
    return _Static(Graph(model), nodes, None, {}).tensors()


def static_int8(
    model: Any, nodes: Collection[str], ranges: Mapping[str, tuple[float, float]], memo: Memo | None = None
) -> Model:
    """Quantise the named nodes with Q/DQ pairs, and look-ups. Raises `ExportError` when a range is missing."""
    graph, memo = Graph(model), {} if memo is None else memo
    _tables(graph, nodes, memo)
    return _Static(graph, nodes, ranges, memo).rewrite()


class _Static:
    """`pairs`: tensors that get a Q/DQ pair; `ends`: those of them that only exist as uint8, for every reader."""

    def __init__(
        self, graph: Graph, nodes: Collection[str], ranges: Mapping[str, tuple[float, float]] | None, memo: Memo
    ) -> None:
        self.graph, self.ranges, self.memo = graph, ranges or {}, memo
        self.uses = graph.uses()
        self.chosen = {node.name for node in graph.nodes if node.name in nodes and node.op_type != "Gather"}
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

    def rewrite(self) -> Model:
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
        axis = 0 if node.op_type == "Conv" or transposed(node) else 1
        step = float(self._scale(node.input[0])[0])
        bias = self.graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        least = np.zeros(1) if bias is None else np.abs(bias.astype(np.float64)) / (step * _LARGEST_BIAS)
        stem, key = node.input[1], (node.input[1], axis, least.tobytes())
        if key not in self.weights:
            whole, scales = self._quantised(stem, axis, least)
            self.weights[key] = (self._restore(stem, whole, scales, axis), scales)
        node.input[1], scales = self.weights[key]
        if bias is not None:
            units = (scales * np.float32(step)).astype(np.float32)
            node.input[2] = self._restore(node.input[2], np.rint(bias / units).astype(np.int32), units, 0)

    def _quantised(self, stem: str, axis: int, least: Array) -> tuple[Array, Array]:
        """The scales that the weight alone asks for, unless a bias asks for larger ones."""
        weight = self.graph.constants[stem]
        plain = remember(self.memo, (stem, axis, b""), lambda: per_channel(weight, axis))
        return plain if (plain[1] >= least).all() else per_channel(weight, axis, least)

    def _restore(self, stem: str, whole: Array, scales: Array, axis: int) -> str:
        """A constant as whole numbers behind a DequantizeLinear; the name of what that gives."""
        known = self.graph.constant(f"{stem}.scale", scales)
        zero = self.graph.constant(f"{stem}.zero", np.zeros(len(scales), whole.dtype))
        values = self.graph.constant(f"{stem}.{whole.dtype.name}", whole)
        restore = self.graph.node("DequantizeLinear", [values, known, zero], f"{stem}.dq", axis=axis)
        self.made.append(restore)
        return str(restore.output[0])
