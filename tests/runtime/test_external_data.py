"""The walk over ONNX bytes finds every external tensor, wherever a graph can hide one."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from chiasm.runtime.errors import BundleError, ChiasmError
from chiasm.runtime.external_data import inline_external_data, locations
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper


def _external(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def _model(**fields: object) -> onnx.ModelProto:
    nodes = fields.get("nodes", [])
    graph = helper.make_graph(nodes, "g", [], [], fields.get("initializer", []))  # type: ignore[arg-type]
    return helper.make_model(graph)


def _branch(location: str) -> onnx.GraphProto:
    constant = helper.make_node("Constant", [], ["c"], value=_external("c", location))
    return helper.make_graph([constant], "branch", [], [])


def _places() -> dict[str, onnx.ModelProto]:
    sparse = onnx.SparseTensorProto(values=_external("s", "here"))
    model_sparse = _model()
    model_sparse.graph.sparse_initializer.append(sparse)
    function = _model()
    function.functions.append(helper.make_function("d", "f", [], ["c"], list(_branch("here").node), []))
    training = _model()
    training.training_info.add().algorithm.CopyFrom(_branch("here"))
    many = onnx.AttributeProto(name="many", type=onnx.AttributeProto.TENSORS, tensors=[_external("a", "here")])
    node = helper.make_node("Custom", [], ["y"])
    node.attribute.append(many)
    return {
        "initializer": _model(initializer=[_external("w", "here")]),
        "attribute": _model(nodes=[helper.make_node("Constant", [], ["c"], value=_external("c", "here"))]),
        "attribute list": _model(nodes=[node]),
        "subgraph": _model(nodes=[helper.make_node("If", ["b"], ["y"], then_branch=_branch("here"),
                                                   else_branch=_branch("here"))]),
        "sparse": model_sparse,
        "function": function,
        "training": training,
    }  # fmt: skip


@pytest.mark.parametrize("place", _places())
def test_external_tensors_are_found_and_replaced(place: str) -> None:
    data = _places()[place].SerializeToString()
    assert locations(data) == ("here",)
    values = np.array([1.5, -2.5], np.float32).tobytes()
    asked: list[tuple[str, int, int | None]] = []
    whole = inline_external_data(data, lambda *ask: (asked.append(ask), values)[1])
    assert set(asked) == {("here", 0, None)}
    assert locations(whole) == ()
    again = onnx.load_model_from_string(whole)
    assert values in again.SerializeToString()
    assert b"location" not in again.SerializeToString()


def test_a_graph_without_external_data_is_left_as_it_is() -> None:
    model = _model(initializer=[numpy_helper.from_array(np.ones(2, np.float32), "location")])
    data = model.SerializeToString()
    assert inline_external_data(data, lambda *ask: pytest.fail("nothing to fetch")) == data


def test_other_fields_survive() -> None:
    model = _model(initializer=[_external("w", "here"), numpy_helper.from_array(np.arange(3.0), "v")])
    model.metadata_props.add(key="author", value="location")
    whole = inline_external_data(model.SerializeToString(), lambda *ask: np.zeros(2, np.float32).tobytes())
    again = onnx.load_model_from_string(whole)
    assert again.metadata_props[0].value == "location"
    assert again.opset_import == model.opset_import
    np.testing.assert_array_equal(numpy_helper.to_array(again.graph.initializer[1]), np.arange(3.0))


def test_an_external_tensor_without_a_file_is_refused() -> None:
    tensor = TensorProto(name="location", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    with pytest.raises(BundleError, match="names no file"):
        locations(_model(initializer=[tensor]).SerializeToString())


@settings(max_examples=200, deadline=None)
@given(noise=st.binary(max_size=200), cut=st.integers(0, 300), flip=st.integers(0, 300))
def test_broken_bytes_give_only_our_errors(noise: bytes, cut: int, flip: int) -> None:
    good = bytearray(_model(initializer=[_external("w", "here")]).SerializeToString())
    good[flip % len(good)] ^= 1 + flip % 255
    for data in (noise + b"location", bytes(good[: max(1, cut % len(good))]) + b"location", bytes(good)):
        with contextlib.suppress(ChiasmError):
            inline_external_data(data, lambda *ask: b"")
