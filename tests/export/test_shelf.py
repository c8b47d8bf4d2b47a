"""Graphs that wait: small ones in memory, large ones in files that edited graphs refer to."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export import shelf as shelving
from chiasm.export.graphs import Graph
from chiasm.export.model import Mapped, as_model, serialise
from chiasm.export.quantise import candidates, dynamic_int8
from chiasm.export.sessions import Runner
from chiasm.export.shelf import Shelf, raw
from chiasm.runtime.errors import ExportError
from graphs import normal, perceptron

X = {"x": normal(1, 1, 4, 32)}


def _files(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_size for each in folder.iterdir()}


def test_small_graphs_stay_whole_and_nothing_is_written(tmp_path: Path) -> None:
    for shelf in (Shelf(), Shelf(tmp_path)):
        graph, model = shelf.settle(perceptron())
        assert (graph.folder, graph.outside) == (None, 0)
        assert graph.proto == serialise(perceptron())
        assert model.nbytes == as_model(perceptron()).nbytes
    assert _files(tmp_path) == {}


def test_a_large_graph_lies_in_a_file_and_its_heirs_refer_to_it(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, inline=0, least=1024)
    graph, model = shelf.settle(perceptron())
    assert graph.outside == 2 * 4096
    assert _files(tmp_path) == {"0.weights": 8192}
    assert [name for name, value in model.weights.items() if isinstance(value, Mapped) and value.place] == ["w1", "w2"]
    np.testing.assert_array_equal(Runner(graph)(X)["y"], Runner(serialise(perceptron()))(X)["y"])

    edited = Graph(model)
    edited.constants["b1"] = edited.constants["b1"] * 2
    heir = shelf.keep(edited.save())
    assert len(_files(tmp_path)) == 1, "no weight is written twice"
    assert not np.array_equal(Runner(heir)(X)["y"], Runner(graph)(X)["y"])

    half = shelf.keep(dynamic_int8(model, candidates(model, "dynamic")[:1]))
    assert _files(tmp_path) == {"0.weights": 8192, "2.weights": 1024}
    shelf.drop(half)
    shelf.drop(heir)
    assert _files(tmp_path) == {"0.weights": 8192}
    np.testing.assert_array_equal(Runner(heir)(X)["y"], Runner(heir)(X)["y"])


def test_weights_that_lie_turned_are_written_in_order(tmp_path: Path) -> None:
    turned = as_model(perceptron())
    weights: dict[str, Any] = {**turned.weights, "w1": np.ascontiguousarray(turned.weights["w1"].T).T}
    graph = Shelf(tmp_path, inline=0, least=1024).keep(type(turned)(turned.proto, weights))
    np.testing.assert_array_equal(Runner(graph)(X)["y"], Runner(serialise(turned))(X)["y"])
    assert bytes(raw(weights["w1"])) == turned.weights["w1"].tobytes()


def test_a_full_disk_is_one_line_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shelving, "write_weights", full)
    with pytest.raises(ExportError, match=r"No space left on device.*Make room in .*, or choose another --out"):
        Shelf(tmp_path, inline=0, least=64).keep(perceptron())
