"""Weights once: what is shared lies in one file, with its users' names nowhere but in the graphs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export.graphs import Graph
from chiasm.export.model import parse, serialise
from chiasm.export.precision import compress, to_fp16
from chiasm.export.sessions import Runner
from chiasm.export.share import Shared, share
from chiasm.export.shelf import Shelf
from chiasm.runtime.values import OnnxGraph
from graphs import normal, perceptron

X = {"x": normal(1, 1, 4, 32)}


def _changed(name: str) -> Any:
    """A perceptron that differs in one weight."""
    graph = Graph(perceptron())
    graph.constants[name] = graph.constants[name] + np.float32(1)
    return graph.save()


def _share(models: dict[str, Any], folder: Path, **limits: int) -> Shared:
    return share({name: OnnxGraph(serialise(each)) for name, each in models.items()}, folder, least=1024, **limits)


def _run(shared: Shared, name: str, folder: Path) -> Any:
    return Runner(OnnxGraph(shared.graphs[name], folder))(X)["y"]


def test_two_parts_with_a_common_encoder_cost_it_once(tmp_path: Path) -> None:
    models = {"parts/a.onnx": perceptron(), "parts/b.onnx": _changed("w2"), "parts/c.onnx": perceptron(16)}
    shared = _share(models, tmp_path, worth=4096)
    assert len(shared.files) == 1
    ((name, path),) = shared.files.items()
    data = path.read_bytes()
    assert name == f"parts/{hashlib.sha256(data).hexdigest()[:16]}.weights"
    assert data == parse(serialise(perceptron())).weights["w1"].tobytes()
    (entry,) = shared.external["parts/a.onnx"]
    assert shared.external["parts/b.onnx"] == (entry,)
    assert (entry.file, entry.sha256, entry.bytes) == (name, hashlib.sha256(data).hexdigest(), 4096)
    assert shared.external["parts/c.onnx"] == ()
    assert shared.graphs["parts/c.onnx"] == serialise(perceptron(16))
    for graph, model in list(models.items())[:2]:
        np.testing.assert_array_equal(_run(shared, graph, tmp_path), Runner(serialise(model))(X)["y"])


def test_a_small_bundle_gains_nothing_and_stays_simple(tmp_path: Path) -> None:
    models = {"parts/a.onnx": perceptron(), "parts/b.onnx": _changed("w2")}
    shared = _share(models, tmp_path, worth=4097)
    assert shared == Shared({name: serialise(model) for name, model in models.items()})
    assert list(tmp_path.iterdir()) == []


def test_fp32_weights_that_are_halves_cost_fp16_nothing(tmp_path: Path) -> None:
    whole = perceptron()
    shared = _share({"parts/x.fp32.onnx": compress(whole), "parts/x.fp16.onnx": to_fp16(whole)}, tmp_path, worth=1)
    assert shared.external["parts/x.fp32.onnx"] == shared.external["parts/x.fp16.onnx"]
    assert sum(path.stat().st_size for path in shared.files.values()) == 2 * 2 * 32 * 32 + 2048
    np.testing.assert_array_equal(_run(shared, "parts/x.fp32.onnx", tmp_path), Runner(serialise(whole))(X)["y"])


def test_a_large_graph_lies_outside_in_files_by_their_users(tmp_path: Path) -> None:
    """Its own weights in one file, those of several graphs in another: a device reads what it runs."""
    shelf = Shelf(tmp_path, inline=0, least=1024)
    graph, model = shelf.settle(perceptron())
    other = Graph(model)
    other.constants["w2"] = other.constants["w2"] * 2
    shared = share({"parts/a.onnx": graph, "parts/b.onnx": shelf.keep(other.save())}, tmp_path, inline=0, least=1024)
    sizes = {name: [entry.bytes for entry in entries] for name, entries in shared.external.items()}
    assert sizes == {"parts/a.onnx": [4096, 4096], "parts/b.onnx": [4096, 4096]}
    first, second = ({entry.file for entry in shared.external[name]} for name in ("parts/a.onnx", "parts/b.onnx"))
    assert len(first & second) == 1
    assert len(shared.files) == 3
    np.testing.assert_array_equal(_run(shared, "parts/a.onnx", tmp_path), Runner(graph)(X)["y"])


def test_the_same_bundle_again_is_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shared = _share({"parts/a.onnx": perceptron(), "parts/b.onnx": _changed("g")}, tmp_path / name, inline=0)
        found.append((dict(shared.graphs), {file: path.read_bytes() for file, path in shared.files.items()}))
    assert found[0] == found[1]
