"""OpenVINO gives what ONNX Runtime gives, over the same arrays, and refuses what ONNX Runtime refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import tiny_bundle
from chiasm.export.calibrate import part_feeds, prepare
from chiasm.export.captures import without_captures
from chiasm.runtime.backends import available, open_backend, openvino
from chiasm.runtime.backends.base import Session, SessionOptions
from chiasm.runtime.bundle import Bundle, open_bundle, resolve_bundle
from chiasm.runtime.errors import BackendError
from chiasm.runtime.values import Array, OnnxGraph, TensorSpec
from graphs import perceptron

# importorskip would import it as a whole, and so tell its makers
pytestmark = pytest.mark.skipif(openvino.why_not() is not None, reason="needs the extra openvino")


def _open(bundle: Bundle, part: str, precision: str = "fp32", backend: str = "openvino") -> Session:
    spec = bundle.manifest.parts[part]
    opened = open_backend(backend, SessionOptions(threads=1))
    return opened.open(bundle.graph(part, precision), spec.inputs, spec.outputs)


def _cosine(a: Array, b: Array) -> float:
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-cpu"])
def test_the_reference_answers_as_with_onnx_runtime(precision: str) -> None:
    """Every part of the default path and of the decoder, on feeds that it would meet."""
    bundle = open_bundle(resolve_bundle("reference"))
    manifest = bundle.manifest
    made = without_captures(manifest.modalities, 2)
    encoders = {name: prepare(manifest, bundle.read, packets) for name, packets in made.sets.items()}
    feeds = part_feeds(manifest, {name: bundle.graph(name, "fp32") for name in manifest.parts}, encoders, 2)
    least = {"fp32": 0.999999, "fp16": 0.9999, "int8-cpu": 0.999}[precision]
    for part in ("image", "text", "audio", "radar", "fuse.gated", "heads", "denoiser", "picture", "picture.tiny"):
        ours, theirs = _open(bundle, part, precision), _open(bundle, part, precision, "ort")
        for feed in feeds[part]:
            answer, expected = ours.run(feed), theirs.run(feed)
            for name in expected:
                assert _cosine(answer[name], expected[name]) > least, (part, name)


def test_int8_for_tensorrt_is_not_run(tiny: Path) -> None:
    """Its products of signed bytes saturate on a CPU without VNNI: another answer than anywhere else."""
    assert open_backend("openvino").precisions() == ("int8-cpu", "fp32", "fp16")


def test_every_precision_runs_and_differs(tmp_path: Path) -> None:
    bundle = open_bundle(tiny_bundle(tmp_path, precisions=("fp32", "fp16", "int8-cpu")))
    state = {"state": np.random.default_rng(1).random((1, 24), np.float32)}
    answers = {each: _open(bundle, "heads", each).run(state)["hazard"] for each in ("fp32", "fp16", "int8-cpu")}
    assert 0 < np.abs(answers["fp16"] - answers["fp32"]).max() < 0.01
    assert 0 < np.abs(answers["int8-cpu"] - answers["fp32"]).max() < 0.2


def test_arrays_are_shared_and_read_in_place(tiny: Path) -> None:
    session = _open(open_bundle(tiny), "heads")
    state = np.random.default_rng(0).random((1, 24), np.float32)
    first = session.run({"state": state})["hazard"]
    kept = first.copy()
    session.run({"state": state})  # from now on it is read where it lies
    state[...] = 0.0
    session.run({"state": state})
    assert first is session.results["hazard"]
    assert not np.array_equal(first, kept)
    rows = np.random.default_rng(2).random((1, 48), np.float32)[:, ::2]
    strided = session.run({"state": rows})["hazard"].copy()
    np.testing.assert_array_equal(session.run({"state": rows.copy()})["hazard"], strided)


@pytest.mark.parametrize(
    ("feeds", "complaint"),
    [
        ({}, "Wrong inputs"),
        ({"states": np.zeros((1, 24), np.float32)}, "Input state"),
        ({"state": np.zeros((1, 23), np.float32)}, r"found float32 \(1, 23\)"),
        ({"state": np.zeros((1, 24))}, "found float64"),
    ],
    ids=["none", "name", "shape", "dtype"],
)
def test_wrong_feeds_are_refused(tiny: Path, feeds: dict[str, Array], complaint: str) -> None:
    with pytest.raises(BackendError, match=complaint):
        _open(open_bundle(tiny), "heads").run(feeds)


def test_what_is_not_a_graph_is_refused_in_one_line() -> None:
    for graph in (b"", b"nonsense"):
        with pytest.raises(BackendError, match="OpenVINO cannot open") as caught:
            open_backend("openvino").open(OnnxGraph(graph), (), ())
        assert "\n" not in str(caught.value)


def test_an_operator_that_openvino_does_not_know_is_named() -> None:
    model = perceptron()
    model.graph.node[0].op_type, model.graph.node[0].domain = "Wonder", "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    shape = TensorSpec("x", "float32", (1, 4, 32)), TensorSpec("y", "float32", (1, 4, 32))
    with pytest.raises(BackendError, match="Wonder"):
        open_backend("openvino").open(OnnxGraph(model.SerializeToString()), shape[:1], shape[1:])


def test_a_graph_that_is_not_the_promised_one_is_refused(tiny: Path) -> None:
    bundle = open_bundle(tiny)
    spec, graph = bundle.manifest.parts["heads"], bundle.graph("heads", "fp32")
    backend = open_backend("openvino")
    with pytest.raises(BackendError, match="inputs are not those"):
        backend.open(graph, (TensorSpec("state", "float32", (1, 25)),), spec.outputs)
    with pytest.raises(BackendError, match="outputs are not those"):
        backend.open(graph, spec.inputs, spec.outputs[:-1])


@pytest.mark.parametrize("writable", [True, False])
def test_weights_in_files_are_found_though_the_graph_is_not_the_one_in_the_folder(
    tmp_path: Path, writable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that may not be written to they are put inside the graph (root may write anywhere, so it is told)."""
    if not writable:
        monkeypatch.setattr(openvino.os, "access", lambda *_: False)
        monkeypatch.setattr(
            openvino.tempfile, "mkstemp", lambda **_: pytest.fail("this folder is not to be written to")
        )
    whole = perceptron().SerializeToString()
    onnx.save_model(onnx.load_from_string(whole), tmp_path / "part.onnx", save_as_external_data=True,
                    location="part.weights", size_threshold=0)  # fmt: skip
    proto = (tmp_path / "part.onnx").read_bytes()
    (tmp_path / "part.onnx").write_bytes(b"not this one")
    shape = TensorSpec("x", "float32", (1, 4, 32)), TensorSpec("y", "float32", (1, 4, 32))
    feed = {"x": np.random.default_rng(0).random((1, 4, 32), np.float32)}
    backend = open_backend("openvino")
    outside = backend.open(OnnxGraph(proto, tmp_path, 8192), shape[:1], shape[1:]).run(feed)["y"]
    np.testing.assert_allclose(outside, backend.open(OnnxGraph(whole), shape[:1], shape[1:]).run(feed)["y"], rtol=1e-6)


def test_closing_twice_and_running_after(tiny: Path) -> None:
    session = _open(open_bundle(tiny), "heads")
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run({"state": np.zeros((1, 24), np.float32)})


def test_nothing_is_told_to_its_makers() -> None:
    """`import openvino` alone would send an event, through openvino_telemetry."""
    code = (
        "import sys; from chiasm.runtime.backends import open_backend; open_backend('openvino');"
        "import openvino; print([m for m in sys.modules if 'telemetry' in m or m == 'openvino.tools.ovc'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_openvino_the_reason_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino.importlib.util, "find_spec", lambda name: None)
    assert "chiasm[openvino]" in (available()["openvino"] or "")
    with pytest.raises(BackendError, match=r"chiasm\[openvino\]"):
        open_backend("openvino")
