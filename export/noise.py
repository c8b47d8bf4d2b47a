"""How much error quantising a node adds to what it gives, as a share of that: estimated, without running anything.

With x_k the input of channel k and w_ke the weight from it to output e, taken as independent:

    signal          Σ_k E[x_k²] Σ_e w_ke²
    rounded input   Σ_k σ² Σ_e w_ke²            σ² the mean squared error of rounding the input
    rounded weight  Σ_k E[x_k²] Σ_e s_e² / 12   s_e the step of output e's weights

An input with a few far channels that hardly matter is what makes a product fragile; here it shows as a large σ².
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..runtime.values import Array
from .graphs import Graph
from .quantise import transposed
from .ranges import Observed

__all__ = ["estimates", "input_axes"]


def input_axes(model: Any, nodes: Collection[str]) -> dict[str, int]:
    """The axis of the channels in each input of the named convolutions and products."""
    axes = {"Conv": 1, "MatMul": -1, "Gemm": -1}
    return {
        node.input[0]: axes[node.op_type] for node in Graph(model).nodes if node.name in nodes and node.op_type in axes
    }


def estimates(model: Any, nodes: Collection[str], seen: Mapping[str, Observed], method: str) -> dict[str, float]:
    """For each node the error it adds when it is quantised by `method`, as a share of its signal."""
    graph = Graph(model)
    found: dict[str, float] = {}
    for node in graph.nodes:
        if node.name not in nodes:
            continue
        if node.op_type == "Gather":
            found[node.name] = _of_table(graph.constants[node.input[0]])
            continue
        each = seen[node.input[0]]
        still = method == "static" or (method != "dynamic" and node.op_type == "Conv")
        weight = graph.constants[node.input[1]]
        count = None if each.channels is None else len(each.channels)
        rows, steps = _convolution(weight, count) if node.op_type == "Conv" else _product(weight, transposed(node))
        power = np.ones(len(rows)) if each.channels is None else np.asarray(each.channels, np.float64)
        added = (each.noise if still else each.dynamic) * rows.sum() + (power * steps).sum() / 12
        found[node.name] = float(added / max((power * rows).sum(), 1e-30))
    return found


def _convolution(weight: Array, channels: int | None) -> tuple[Array, Array]:
    """Of each input channel the squares of its weights, and of the steps of all weights that read it, summed up."""
    groups = 1 if channels is None else channels // weight.shape[1]
    grouped = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    rows = np.square(grouped).sum(axis=(1, 3), dtype=np.float64).reshape(-1)
    steps = _steps(weight.reshape(len(weight), -1), 1).reshape(groups, -1).sum(axis=1) * grouped.shape[3]
    return rows, np.repeat(steps, weight.shape[1])


def _product(weight: Array, turned: bool) -> tuple[Array, Array]:
    """The same of a matrix product."""
    weight = weight.T if turned else weight
    rows = np.square(weight).sum(axis=1, dtype=np.float64)
    return rows, np.full(len(rows), _steps(weight, 0).sum())


def _steps(weight: Array, axis: int) -> Array:
    """Squared steps of 255 levels for each line along `axis`."""
    largest = np.maximum(weight.max(axis=axis), -weight.min(axis=axis)).astype(np.float64)
    squares: Array = np.square(largest / 127)
    return squares


def _of_table(table: Array) -> float:
    return float(_steps(table, 1).mean()) / 12 / max(float(np.square(table).mean(dtype=np.float64)), 1e-30)
