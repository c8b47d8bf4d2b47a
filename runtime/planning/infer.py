"""The type and shape of every tensor of a graph, from those of its inputs and weights: all sizes are static.

What has no rule, or a shape that hangs on the data, stays unknown and is named; what follows from it is unknown too.
Small whole numbers are computed, since a shape may be made from them (`folding`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..onnx_graph import Graph, Node, Tensor
from .folding import fold
from .rule import Unknown
from .rules import RULES

__all__ = ["Inferred", "infer"]


@dataclass(frozen=True)
class Inferred:
    """`tensors`: what is known, by name; `unknown`: operations that no rule could follow, and how often each.

    What reads the result of such a one is unknown too, and not counted again.
    """

    tensors: Mapping[str, Tensor]
    unknown: Mapping[str, int]

    @property
    def complete(self) -> bool:
        """Whether every tensor is known."""
        return not self.unknown


def infer(graph: Graph) -> Inferred:
    """Walk the nodes in order; ONNX has them sorted so that a tensor is made before it is read."""
    tensors: dict[str, Tensor] = {**graph.weights, **graph.inputs}
    unknown: dict[str, int] = {}
    for node in graph.nodes:
        inputs = [tensors.get(name) if name else None for name in node.inputs]
        blind = any(tensor is None for tensor, name in zip(inputs, node.inputs, strict=True) if name)
        made = None if blind else _outputs(node, inputs, graph.opset)
        if made is None and not blind:
            unknown[node.kind] = unknown.get(node.kind, 0) + 1
        for index, name in enumerate(node.outputs):
            known = made[index] if made is not None and index < len(made) else None
            promised = graph.outputs.get(name)
            if known is not None or promised is not None:
                tensors[name] = known if known is not None else promised  # type: ignore[assignment]
    return Inferred(tensors, unknown)


def _outputs(node: Node, inputs: Sequence[Tensor | None], opset: int) -> Sequence[Tensor | None] | None:
    rule = RULES.get(node.kind)
    if rule is None:
        return None
    try:
        made = rule(node, inputs, opset)
    except (Unknown, IndexError, ValueError, TypeError, KeyError, AttributeError):
        return None  # a graph may be odd in ways that no rule foresees: then its sizes are not known
    return [fold(node, inputs, tensor) if index == 0 else tensor for index, tensor in enumerate(made)]
