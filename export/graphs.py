"""Small tools on ONNX graphs: read and write initialisers, find uses, sort, prune, and describe tensors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
import numpy as np

from ..runtime.errors import ExportError, MissingExtraError
from ..runtime.values import Array, TensorSpec

try:
    import onnx
    from onnx import helper, numpy_helper, shape_inference
except ModuleNotFoundError as missing:  # pragma: no cover - exercised in a bare environment
    raise MissingExtraError("onnx", "export", "Exporting") from missing

__all__ = ["FLOAT", "HALF", "Graph", "check", "make_node", "output_info", "parse", "serialise", "specs"]

FLOAT: int = onnx.TensorProto.FLOAT
HALF: int = onnx.TensorProto.FLOAT16

_NUMPY = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.INT64: "int64"}


class Graph:
    """A model opened for editing: `nodes` in topological order, `constants` by name. `save` writes both back.

    Subgraphs (`If`, `Loop`) raise `ExportError`: the parts of a bundle are plain dataflow.
    """

    def __init__(self, model: Any) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        for node in graph.node:
            if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
                raise ExportError("A graph with control flow cannot be exported", found=f"{node.op_type} {node.name!r}")
        self.nodes: list[Any] = list(graph.node)
        self.constants: dict[str, Array] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self.inputs: list[str] = [each.name for each in graph.input]
        self.outputs: list[str] = [each.name for each in graph.output]
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
        self.constants[name] = np.array(value, order="C")
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
        inferred = shape_inference.infer_shapes(self.save(), strict_mode=True).graph
        found = {each.name: each.type.tensor_type.elem_type for each in (*inferred.input, *inferred.output)}
        found |= {each.name: each.type.tensor_type.elem_type for each in inferred.value_info}
        return found | {each.name: each.data_type for each in inferred.initializer}

    def save(self) -> Any:
        """The edited model: nodes sorted, what nothing reads removed, initialisers in order of first use."""
        self._prune()
        graph = self.model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        for name in dict.fromkeys(name for node in self.nodes for name in node.input):
            if name in self.constants:
                graph.initializer.append(numpy_helper.from_array(self.constants[name], name))
        return self.model

    def fold(self) -> None:
        """Compute every node that reads constants only; its results become initialisers."""
        from onnx.reference import ReferenceEvaluator

        kept = []
        for node in self.nodes:
            if not node.input or any(name and name not in self.constants for name in node.input):
                kept.append(node)
                continue
            opsets = list(self.model.opset_import)
            values = [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in node.output]
            model = helper.make_model(helper.make_graph([node], "fold", [], values), opset_imports=opsets)
            for name in filter(None, node.input):
                model.graph.initializer.append(numpy_helper.from_array(self.constants[name], name))
            made = ReferenceEvaluator(model).run(None, {})
            self.constants |= {name: np.array(value, order="C") for name, value in zip(node.output, made, strict=True)}
        self.nodes = kept

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


def parse(graph: bytes) -> Any:
    """ONNX bytes → model. Raises `ExportError`."""
    try:
        return onnx.load_model_from_string(graph)
    except Exception as error:  # protobuf's DecodeError has no stable home
        raise ExportError("A graph cannot be read as ONNX", found=str(error)) from error


def serialise(model: Any) -> bytes:
    """Model → bytes, the same for the same model."""
    return bytes(model.SerializeToString(deterministic=True))


def check(model: Any, part: str) -> None:
    """Run the ONNX checker and strict shape inference. Raises `ExportError`."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise ExportError(f"The graph of {part!r} is not valid ONNX", found=str(error).splitlines()[0]) from error


def specs(model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs with static shapes. Raises `ExportError` for a dynamic one."""
    graph = shape_inference.infer_shapes(model).graph
    return tuple(map(_spec, graph.input)), tuple(map(_spec, graph.output))


def _spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(each.dim_value if each.HasField("dim_value") else 0 for each in tensor.shape.dim)
    if tensor.elem_type not in _NUMPY or min(shape, default=1) < 1:
        raise ExportError(f"Tensor {value.name!r} has no static shape or an unusual type", found=f"{shape}")
    return msgspec.convert({"name": value.name, "dtype": _NUMPY[tensor.elem_type], "shape": shape}, TensorSpec)
