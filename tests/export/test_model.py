"""Graphs apart from their weights: the same bytes as before, references to files, inference without the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export import model as modelling
from chiasm.export.graphs import FLOAT, Graph
from chiasm.export.model import Mapped, Model, Place, as_model, check, in_place, infer, mapped, parse, refer, serialise
from chiasm.export.sessions import Runner
from chiasm.runtime.errors import BackendError, ExportError
from chiasm.runtime.values import OnnxGraph
from graphs import model, normal, perceptron


def test_a_model_taken_apart_and_put_together_is_the_same_bytes() -> None:
    whole = perceptron()
    apart = as_model(whole)
    assert not apart.proto.graph.initializer
    assert len(whole.graph.initializer) == 5, "the original stays as it is"
    assert serialise(apart) == whole.SerializeToString(deterministic=True)
    assert serialise(parse(serialise(apart))) == serialise(apart)


def test_editing_shares_the_weights_it_does_not_change() -> None:
    whole = as_model(perceptron())
    graph = Graph(whole)
    graph.constants["b1"] = graph.constants["b1"] + 1
    edited = graph.save()
    assert all(edited.weights[name] is whole.weights[name] for name in ("w1", "w2", "g", "b"))
    assert edited.weights["b1"][0] == whole.weights["b1"][0] + 1
    assert [node.name for node in edited.graph.node] == [node.name for node in whole.graph.node]


def _laid_out(folder: Path) -> tuple[Model, dict[str, Place]]:
    """The weights of a perceptron in one file, mapped."""
    whole = as_model(perceptron())
    data = b"".join(np.asarray(value).tobytes() for value in whole.weights.values())
    (folder / "w").write_bytes(data)
    found, at, places = {}, 0, {}
    view = np.memmap(folder / "w", np.uint8, "r")
    for name, value in whole.weights.items():
        places[name] = Place(folder, "w", at)
        found[name] = mapped(view, places[name], value.dtype, value.shape)
        at += value.nbytes
    return Model(whole.proto, found), places


def test_references_lead_to_the_same_answers(tmp_path: Path) -> None:
    there, places = _laid_out(tmp_path)
    graph = OnnxGraph(refer(there, places), tmp_path, there.nbytes)
    assert len(graph.proto) < 1500
    assert graph.nbytes == len(graph.proto) + there.nbytes
    x = {"x": normal(1, 1, 4, 32)}
    np.testing.assert_array_equal(Runner(graph)(x)["y"], Runner(serialise(there))(x)["y"])
    again = parse(graph)
    for name, value in again.weights.items():
        assert isinstance(value, Mapped)
        assert value.place == places[name]
        np.testing.assert_array_equal(value, there.weights[name])
    (tmp_path / "w").unlink()
    with pytest.raises(BackendError, match="cannot open"):
        Runner(graph)


def test_what_is_made_of_a_mapped_weight_has_no_place(tmp_path: Path) -> None:
    there, places = _laid_out(tmp_path)
    weight: Any = there.weights["w1"]
    assert weight.place == places["w1"]
    assert all(getattr(each, "place", None) is None for each in (weight[:2], weight.T, weight + 1, weight.copy()))


def test_in_place_leaves_weights_of_that_folder_only(tmp_path: Path) -> None:
    there, _ = _laid_out(tmp_path)
    mixed = Model(there.proto, {**there.weights, "b1": np.zeros(32, np.float32)})
    graph = in_place(mixed, tmp_path)
    assert graph.outside == there.nbytes - 128
    assert in_place(mixed, tmp_path / "elsewhere").folder is None
    x = {"x": normal(1, 1, 4, 32)}
    np.testing.assert_array_equal(Runner(graph)(x)["y"], Runner(serialise(mixed))(x)["y"])


def test_types_and_validity_are_inferred_without_large_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelling, "_KNOWN", 64)
    found = infer(perceptron())
    assert found["w1"] == (*found["m1"][:1], (32, 32))
    assert found["m1"] == (FLOAT, (1, 4, 32))
    check(perceptron(), "test")
    wrong = model([("MatMul", "x w", "y")], {"w": normal(1, 31, 32)}, {"x": (1, 32)}, {"y": (1, 32)})
    with pytest.raises(ExportError, match="not valid ONNX"):
        check(wrong, "test")


def test_what_protobuf_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelling, "_LARGEST", 8000)
    with pytest.raises(ExportError, match="too large for one piece: found 8"):
        serialise(perceptron())


def test_outside_weights_need_their_folder(tmp_path: Path) -> None:
    there, places = _laid_out(tmp_path)
    with pytest.raises(ExportError, match="weights in other files"):
        parse(refer(there, places))
