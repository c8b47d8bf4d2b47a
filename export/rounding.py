"""Real FP16 rounding on a CPU that would rather not.

ONNX Runtime has no FP16 kernels for most operators on a CPU: it computes them in FP32 and removes casts to FP16 and
back, explicit ones too, so an FP16 graph checked there shows the error of its weights only. `rounded` rewrites an
FP16 graph as FP32 with each FP16 tensor rounded by arithmetic that no optimiser removes:

    b = (x · 2¹¹²) · 2⁻¹¹²     infinite where FP16 would be (|x| ≥ 65536), and then NaN below
    r = 8193·b − (8193·b − b)  b rounded to 11 bits (Dekker 1971, Veltkamp's splitting)

Numbers below 6·10⁻⁵ keep more digits than FP16 would leave them; sums inside one operator are in FP32, as on tensor
cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graphs import FLOAT, HALF, Graph, make_node
from .model import Model

__all__ = ["rounded"]


def rounded(model: Any) -> Model:
    """FP16 graph with FP32 inputs and outputs → FP32 graph that rounds where the FP16 graph does.

    Weights stay the FP16 ones, behind casts that ONNX Runtime computes when it loads the graph.
    """
    graph = Graph(model)
    types = graph.types()
    factors = [
        graph.constant(name, np.array(value, np.float32))
        for name, value in (("round.up", 2.0**112), ("round.down", 2.0**-112), ("round.split", 8193.0))
    ]
    halves = [name for name, value in graph.constants.items() if value.dtype == np.float16]
    exact = {name: graph.fresh(f"{name}.exact") for name in halves}
    nodes = [make_node("Cast", [name], [made], graph.fresh(f"{made}/cast"), to=FLOAT) for name, made in exact.items()]
    for node in graph.nodes:
        node.input[:] = [exact.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == HALF:
                attribute.i = FLOAT
        nodes.append(node)
        for slot, name in enumerate(node.output):
            if types.get(name) == HALF:
                node.output[slot] = graph.fresh(f"{name}.exact")
                nodes += _round(graph, node.output[slot], name, factors)
    graph.nodes = nodes
    return graph.save()


def _round(graph: Graph, source: str, target: str, factors: list[str]) -> list[Any]:
    up, down, split = factors
    made = [graph.node("Mul", [source, up], f"{target}.up")]
    made.append(graph.node("Mul", [made[-1].output[0], down], f"{target}.b"))
    b = made[-1].output[0]
    made.append(graph.node("Mul", [b, split], f"{target}.c"))
    made.append(graph.node("Sub", [made[-1].output[0], b], f"{target}.d"))
    made.append(graph.node("Sub", [made[-2].output[0], made[-1].output[0]], f"{target}.r"))
    made[-1].output[0] = target
    return made
