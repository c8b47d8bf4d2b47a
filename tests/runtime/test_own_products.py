"""Graphs whose products of bytes become ours before ONNX Runtime sees them: the same numbers, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from chiasm.export.model import as_model, serialise
from chiasm.export.quantise import candidates, dynamic_int8
from chiasm.kernels import _select
from chiasm.runtime.backends import _products, open_backend
from chiasm.runtime.backends.base import SessionOptions
from chiasm.runtime.external_data import locations
from chiasm.runtime.values import OnnxGraph, TensorSpec
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.skipif(_select.compiled is None, reason=str(_select.why_not()))
WIDTH = 160
Array = np.ndarray[Any, Any]


def _quantised(nodes: list[Any], outputs: list[str], constants: dict[str, Array]) -> Any:
    """A graph on x (6, WIDTH) with every product quantised as it comes."""
    named = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, WIDTH])]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "graph", given, results, named)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    plain = as_model(model)
    return onnx.load_from_string(serialise(dynamic_int8(plain, candidates(plain, "dynamic"))))


def _weight(seed: int, columns: int = WIDTH) -> Array:
    return np.random.default_rng(seed).normal(0, 0.05, (WIDTH, columns)).astype(np.float32)


def _block() -> Any:
    """Three products of one input, one with a bias; a fourth of their sum; one that is too small."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["q"], "q"),
        helper.make_node("MatMul", ["x", "b"], ["k"], "k"),
        helper.make_node("MatMul", ["x", "c"], ["v0"], "v"),
        helper.make_node("Add", ["bias", "v0"], ["v"], "bias"),
        helper.make_node("Sum", ["q", "k", "v"], ["sum"], "sum"),
        helper.make_node("MatMul", ["sum", "d"], ["wide"], "wide"),
        helper.make_node("MatMul", ["sum", "small"], ["few"], "few"),
    ]
    constants = {name: _weight(seed) for seed, name in enumerate("abc")}
    constants |= {"d": _weight(4, 192), "small": _weight(5, 3), "bias": _weight(6)[0]}
    return _quantised(nodes, ["wide", "few"], constants)


PROMISES = (
    [TensorSpec("x", "float32", (6, WIDTH))],
    [TensorSpec("wide", "float32", (6, 192)), TensorSpec("few", "float32", (6, 3))],
)


def _promised() -> OnnxGraph:
    """The block with the shapes of `PROMISES`."""
    model = _block()
    for result, spec in zip(model.graph.output, PROMISES[1], strict=True):
        result.CopyFrom(helper.make_tensor_value_info(result.name, TensorProto.FLOAT, spec.shape))
    return OnnxGraph(model.SerializeToString())


def _answers(model: bytes, folder: Path | None = None) -> list[Array]:
    settings = onnxruntime.SessionOptions()
    if folder is not None:
        settings.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    settings.log_severity_level = 4
    assert _select.compiled is not None
    settings.register_custom_ops_library(_select.compiled.__file__)
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(9).normal(0, 2, (6, WIDTH)).astype(np.float32)
    return list(session.run(None, {"x": x}))


def _operations(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


def test_products_are_replaced_and_say_the_same() -> None:
    before = _block().SerializeToString()
    after = _products.with_own_products(before)
    kinds = _operations(after)
    assert kinds.count("ProductOfFloats") == 4
    assert kinds.count("MatMulInteger") == 1  # the small one
    assert kinds.count("DynamicQuantizeLinear") == 1  # which that one reads
    assert "Add" not in kinds  # the bias is inside
    for ours, theirs in zip(_answers(after), _answers(before), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _outside(model: Any, folder: Path) -> bytes:
    """The graph with its weights in a file."""
    onnx.save_model(
        model, str(folder / "graph.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=1024
    )
    return (folder / "graph.onnx").read_bytes()


def test_weights_in_a_file_are_read_from_there(tmp_path: Path) -> None:
    """Our operations read them; the graph does not name them any more, but for the one that is left."""
    whole = _block()
    expected = _answers(whole.SerializeToString())
    before = _outside(whole, tmp_path)
    after = _products.with_own_products(before, tmp_path)
    assert locations(before) == ("weights.bin",)
    kept = [each.name for each in onnx.load_from_string(after).graph.initializer if each.data_type == TensorProto.INT8]
    assert kept == ["small.int8"]
    for ours, theirs in zip(_answers(after, tmp_path), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("fault", ["gone", "cut short"])
def test_a_file_that_lacks_weights_is_named(tmp_path: Path, fault: str) -> None:
    after = _products.with_own_products(_outside(_block(), tmp_path), tmp_path)
    file = tmp_path / "weights.bin"
    if fault == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(Exception, match=r"weights in .*weights\.bin"):
        _answers(after, tmp_path)


def test_a_graph_with_branches_is_left_alone() -> None:
    """What is inside them may read the weights too."""
    model = _block()
    model.graph.node.append(helper.make_node("Loop", [], ["l"]))
    before = model.SerializeToString()
    assert _products.with_own_products(before) is before


def test_bytes_that_are_moved_stay_bytes() -> None:
    """What lies between the quantisation and the product stays as it is."""
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["moved"], "moved", axis=0),
        helper.make_node("MatMul", ["moved", "a"], ["y"], "y"),
    ]
    before = _quantised(nodes, ["y"], {"a": _weight(1)})
    assert _operations(before.SerializeToString())[0] == "DynamicQuantizeLinear"
    after = _products.with_own_products(before.SerializeToString())
    assert _operations(after) == ["DynamicQuantizeLinear", "Concat", "ProductOfBytes"]
    np.testing.assert_array_equal(_answers(after)[0], _answers(before.SerializeToString())[0])


@pytest.mark.parametrize("seen", ["y.i32", "y.f32", "y.scale"])
def test_what_somebody_else_reads_is_left_alone(seen: str) -> None:
    model = _quantised([helper.make_node("MatMul", ["x", "a"], ["y"], "y")], ["y"], {"a": _weight(1)})
    kind = TensorProto.INT32 if seen == "y.i32" else TensorProto.FLOAT
    model.graph.output.append(helper.make_tensor_value_info(seen, kind, None))
    before = model.SerializeToString()
    assert _products.with_own_products(before) is before


def test_a_result_that_is_read_on_keeps_its_addition() -> None:
    """The product without its bias is a result of the graph: so the addition is not taken in."""
    nodes = [helper.make_node("MatMul", ["x", "a"], ["y"], "y"), helper.make_node("Add", ["y", "bias"], ["z"], "z")]
    before = _quantised(nodes, ["y", "z"], {"a": _weight(1), "bias": _weight(2)[0]}).SerializeToString()
    after = _products.with_own_products(before)
    assert _operations(after) == ["ProductOfFloats", "Add"]
    for ours, theirs in zip(_answers(after), _answers(before), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_graph_without_such_products_is_the_same_object() -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph(
        [node], "relu", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [6, WIDTH])],
    )  # fmt: skip
    before = helper.make_model(graph).SerializeToString()
    assert _products.with_own_products(before) is before


def test_the_backend_takes_them_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session with ours and one without: the same answers; and the graph of one has our operations."""
    seen: list[int] = []
    real = _products.with_own_products

    def noted(model: bytes, folder: Path | None) -> bytes:
        made = real(model, folder)
        seen.append(_operations(made).count("ProductOfFloats"))
        return made

    assert _select.compiled is not None
    file = _select.compiled.__file__
    monkeypatch.setattr(_products, "library", lambda: file)
    monkeypatch.setattr(_products, "with_own_products", noted)
    monkeypatch.setattr(_products, "SMALL_GRAPH", 0)
    graph = _promised()
    x = np.random.default_rng(3).normal(0, 1, (6, WIDTH)).astype(np.float32)
    answers = []
    for own in (True, False):
        session = open_backend("ort", SessionOptions(own_products=own)).open(graph, *PROMISES)
        answers.append({name: value.copy() for name, value in session.run({"x": x}).items()})
    assert seen == [4]
    for name in ("wide", "few"):
        np.testing.assert_array_equal(answers[0][name], answers[1][name])


@pytest.mark.parametrize("fault", ["graph", "library"])
def test_what_cannot_be_opened_runs_without_them(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """And the session says why."""
    assert _select.compiled is not None
    file = _select.compiled.__file__ if fault == "graph" else "nowhere.so"
    monkeypatch.setattr(_products, "library", lambda: file)
    monkeypatch.setattr(_products, "SMALL_GRAPH", 0)
    graph = _promised()
    if fault == "graph":
        monkeypatch.setattr(_products, "with_own_products", lambda model, folder: b"no graph")
    session = open_backend("ort").open(graph, *PROMISES)
    assert session.note is not None
    assert session.note.startswith("runs without chiasm's own products: ONNX Runtime")
    assert np.isfinite(session.run({"x": np.ones((6, WIDTH), np.float32)})["wide"]).all()


def test_they_are_used_only_without_instructions_for_bytes() -> None:
    from chiasm.targets.machine import machine

    compiled = _select.compiled
    assert compiled is not None
    gains = compiled.instructions() == "avx2" and "avx_vnni" not in machine().isa
    assert (_products.library() == compiled.__file__) is gains
    compiled.use_instructions("plain")
    try:
        assert _products.library() is None
    finally:
        compiled.use_instructions()
