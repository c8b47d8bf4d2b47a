"""Editing graphs: folding, pruning, order, names; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")


from chiasm.export.graphs import Graph, check, parse, serialise, specs
from chiasm.export.sessions import Runner
from chiasm.runtime.errors import ExportError
from onnx import TensorProto, helper, numpy_helper


def _model(nodes: list[Any], constants: dict[str, Any], shape: tuple[int, ...] = (1, 4)) -> Any:
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", info[:1], info[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_fold_computes_constants_and_prune_drops_what_nothing_reads() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["m"]),
        helper.make_node("Relu", ["x"], ["unused"]),
        helper.make_node("Add", ["m", "scalar"], ["y"]),
    ]
    weight = np.arange(16, dtype=np.float32).reshape(4, 4)
    model = _model(nodes, {"w": weight, "scalar": np.float32(2), "spare": np.zeros(3, np.float32)})
    graph = Graph(model)
    graph.fold()
    folded = graph.save()
    assert [node.op_type for node in folded.graph.node] == ["MatMul", "Add"]
    assert {name: value.shape for name, value in folded.weights.items()} == {"wt": (4, 4), "scalar": ()}
    check(folded, "test")
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(Runner(serialise(folded))({"x": x})["y"], x @ weight.T + 2)


def test_save_sorts_nodes_and_gives_the_same_bytes_again() -> None:
    nodes = [helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]
    graph = Graph(_model(nodes, {}))
    saved = graph.save()
    assert [node.op_type for node in saved.graph.node] == ["Relu", "Neg"]
    assert serialise(saved) == serialise(Graph(saved).save())
    assert [spec.shape for side in specs(saved) for spec in side] == [(1, 4), (1, 4)]


def test_refuses_cycles_control_flow_dynamic_shapes_and_rubbish() -> None:
    cycle = [helper.make_node("Add", ["x", "b"], ["y"]), helper.make_node("Relu", ["y"], ["b"])]
    with pytest.raises(ExportError, match="cycle"):
        Graph(_model(cycle, {})).save()
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))])
    branch = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    with pytest.raises(ExportError, match="control flow"):
        Graph(_model(branch, {"c": np.array(True)}))
    open_shape = _model([helper.make_node("Relu", ["x"], ["y"])], {})
    open_shape.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(ExportError, match="no static shape"):
        specs(open_shape)
    with pytest.raises(ExportError, match="cannot be read as ONNX"):
        parse(b"\xff\xff\xff not a model")
    wrong = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.zeros((3, 3), np.float32)})
    with pytest.raises(ExportError, match="not valid ONNX"):
        check(wrong, "test")
