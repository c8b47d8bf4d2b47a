"""Editing ONNX graphs: read and write initialisers, find uses, sort, prune, fold. Weights are shared, never copied."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..runtime.errors import ExportError
from ..runtime.values import Array
from .model import Model, as_model, check, infer, parse, serialise, specs

__all__ = ["FLOAT", "HALF", "Graph", "check", "make_node", "output_info", "parse", "serialise", "specs"]

FLOAT: int = onnx.TensorProto.FLOAT
HALF: int = onnx.TensorProto.FLOAT16


class Graph:
    """A model opened for editing: `nodes` in topological order, `constants` by name. `save` gives the edited model.

    Nodes are copies; constants are the model's own arrays, so they are replaced, never written into. Subgraphs (`If`,
    `Loop`) raise `ExportError`: the parts of a bundle are plain dataflow.
    """

    def __init__(self, model: Any) -> None:
        model = as_model(model)
        self.proto = onnx.ModelProto()
        self.proto.CopyFrom(model.proto)
        graph = self.proto.graph
        for node in graph.node:
            if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
                raise ExportError("A graph with control flow cannot be exported", found=f"{node.op_type} {node.name!r}")
        self.nodes: list[Any] = list(graph.node)
        self.constants: dict[str, Array] = dict(model.weights)
        self.inputs: list[str] = [each.name for each in graph.input]
        self.outputs: list[str] = [each.name for each in graph.output]
        del graph.node[:], graph.value_info[:]
        self._names = {name for node in self.nodes for name in (*node.input, *node.output, node.name)}
        self._names |= set(self.constants) | set(self.inputs)
        self._name_nodes()

    def _name_nodes(self) -> None:
        """Every node gets a name of its own: ONNX does not ask for one, but all edits here go by it."""
        seen: set[str] = set()
        for node in self.nodes:
            if not node.name or node.name in seen:
                node.name = self.fresh(node.op_type.lower())
            seen.add(node.name)

    def fresh(self, stem: str) -> str:
        """A name that is not in use yet."""
        name, count = stem, 1
        while name in self._names:
            count += 1
            name = f"{stem}_{count}"
        self._names.add(name)
        return name

    def constant(self, stem: str, value: Array) -> str:
        """Add an initialiser; returns its name."""
        name = self.fresh(stem)
        self.constants[name] = np.asarray(value, order="C")
        return name

    def node(self, operator: str, inputs: list[str], stem: str, outputs: int = 1, **attributes: Any) -> Any:
        """A new node (not yet in `nodes`) whose outputs are fresh names made from `stem`."""
        names = [self.fresh(stem if index == 0 else f"{stem}_{index}") for index in range(outputs)]
        return helper.make_node(operator, inputs, names, name=self.fresh(f"{stem}/{operator}"), **attributes)

    def uses(self) -> dict[str, list[Any]]:
        """The nodes that read each tensor."""
        found: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                if name and node not in found[name]:
                    found[name].append(node)
        return found

    def makers(self) -> dict[str, Any]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    def types(self) -> dict[str, int]:
        """ONNX element type of every tensor, by shape inference."""
        return {name: kind for name, (kind, _) in infer(self.save()).items()}

    def save(self) -> Model:
        """The edited model: nodes sorted, what nothing reads removed, initialisers in order of first use."""
        self._prune()
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        proto.graph.node.extend(self.nodes)
        used = dict.fromkeys(name for node in self.nodes for name in node.input)
        return Model(proto, {name: self.constants[name] for name in used if name in self.constants})

    def fold(self) -> None:
        """Compute every node that reads constants only; its results become initialisers."""
        kept = []
        for node in self.nodes:
            if not node.input or any(name and name not in self.constants for name in node.input):
                kept.append(node)
            elif node.op_type == "Transpose":  # a view: a large weight is not copied before it is written
                order = next((list(each.ints) for each in node.attribute if each.name == "perm"), None)
                self.constants[node.output[0]] = np.transpose(self.constants[node.input[0]], order)
            else:
                self.constants |= self._compute(node)
        self.nodes = kept

    def _compute(self, node: Any) -> dict[str, Array]:
        from onnx.reference import ReferenceEvaluator

        opsets = list(self.proto.opset_import)
        values = [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in node.output]
        model = helper.make_model(helper.make_graph([node], "fold", [], values), opset_imports=opsets)
        for name in filter(None, node.input):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(self.constants[name]), name))
        made = ReferenceEvaluator(model).run(None, {})
        return {name: np.array(value, order="C") for name, value in zip(node.output, made, strict=True)}

    def _prune(self) -> None:
        """Keep what the outputs need, in topological order (as stable as the present order allows)."""
        makers, order, placed = self.makers(), [], set(self.inputs) | set(self.constants)
        needed, stack = set(), list(self.outputs)
        while stack:
            node = makers.get(stack.pop())
            if node is not None and node.name not in needed:
                needed.add(node.name)
                stack.extend(node.input)
        waiting = [node for node in self.nodes if node.name in needed]
        while waiting:
            ready = [node for node in waiting if all(not name or name in placed for name in node.input)]
            if not ready:
                raise ExportError("A graph has a cycle or reads a tensor that nothing makes", found=waiting[0].name)
            first = _leading(waiting, placed) or ready[:1]
            order += first
            placed |= {name for node in first for name in node.output}
            done = {node.name for node in first}
            waiting = [node for node in waiting if node.name not in done]
        self.nodes = order


def _leading(waiting: list[Any], placed: set[str]) -> list[Any]:
    """The longest run at the head of `waiting` that is already in order."""
    known, run = set(placed), []
    for node in waiting:
        if any(name and name not in known for name in node.input):
            break
        run.append(node)
        known |= set(node.output)
    return run


def make_node(operator: str, inputs: list[str], outputs: list[str], name: str, **attributes: Any) -> Any:
    """A node whose names are all given."""
    return helper.make_node(operator, inputs, outputs, name=name, **attributes)


def output_info(name: str) -> Any:
    """An FP32 graph output of any shape."""
    return helper.make_tensor_value_info(name, FLOAT, None)
