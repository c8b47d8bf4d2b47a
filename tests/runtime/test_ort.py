"""ONNX Runtime through bound buffers gives what `InferenceSession.run` gives, and refuses what it cannot use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from bundles import tiny_bundle
from chiasm.runtime.backends import available, open_backend, ort
from chiasm.runtime.backends.base import Session, SessionOptions
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.errors import BackendError
from chiasm.runtime.values import Array, OnnxGraph, TensorSpec


def _open(bundle: Bundle, part: str, precision: str = "fp32", options: SessionOptions | None = None) -> Session:
    spec = bundle.manifest.parts[part]
    return open_backend("ort", options).open(bundle.graph(part, precision), spec.inputs, spec.outputs)


def _feeds(session: Session, seed: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {spec.name: random.integers(0, 2, spec.shape).astype(spec.dtype) if spec.dtype == "int64"
            else random.random(spec.shape, np.float32) for spec in session.inputs}  # fmt: skip


@pytest.mark.parametrize("part", ["image", "text", "audio", "radar", "fuse.adaptive", "heads", "denoiser", "picture"])
def test_the_answer_is_that_of_a_plain_run(tiny: Path, part: str) -> None:
    bundle = open_bundle(tiny)
    session = _open(bundle, part)
    plain = onnxruntime.InferenceSession(bundle.graph(part, "fp32").proto, providers=["CPUExecutionProvider"])
    for seed in range(3):
        feeds = _feeds(session, seed)
        ours = session.run(feeds)
        names = [node.name for node in plain.get_outputs()]
        for name, theirs in zip(names, plain.run(names, feeds), strict=True):
            np.testing.assert_allclose(ours[name], theirs, rtol=1e-5, atol=1e-6)


def test_every_precision_runs_and_differs(tmp_path: Path) -> None:
    bundle = open_bundle(tiny_bundle(tmp_path, precisions=("fp32", "fp16", "int8-cpu")))
    answers = {}
    for precision in ("fp32", "fp16", "int8-cpu"):
        session = _open(bundle, "heads", precision)
        answers[precision] = session.run(_feeds(session, 1))["hazard"].copy()
    assert 0 < np.abs(answers["fp16"] - answers["fp32"]).max() < 0.01
    assert 0 < np.abs(answers["int8-cpu"] - answers["fp32"]).max() < 0.2


def test_outputs_are_views_that_the_next_run_overwrites(tiny: Path) -> None:
    session = _open(open_bundle(tiny), "heads")
    first = session.run(_feeds(session, 1))["hazard"]
    kept = first.copy()
    session.run(_feeds(session, 2))
    assert not np.array_equal(first, kept)


def test_two_sessions_do_not_share_buffers(tiny: Path) -> None:
    bundle = open_bundle(tiny)
    one, two = _open(bundle, "heads"), _open(bundle, "heads")
    answer = one.run(_feeds(one, 1))["hazard"]
    kept = answer.copy()
    two.run(_feeds(two, 2))
    np.testing.assert_array_equal(answer, kept)


def test_feeds_that_are_not_contiguous_are_copied_right(tiny: Path) -> None:
    session = _open(open_bundle(tiny), "radar")
    rows = np.random.default_rng(0).random((1, 32, 64), np.float32)[:, :, ::2]
    strided = session.run({"series": rows})["tokens"].copy()
    np.testing.assert_array_equal(session.run({"series": rows.copy()})["tokens"], strided)


@pytest.mark.parametrize(
    ("feeds", "complaint"),
    [
        ({}, "Wrong inputs"),
        ({"states": np.zeros((1, 24), np.float32)}, "Input state"),
        ({"state": np.zeros((1, 23), np.float32)}, r"found float32 \(1, 23\)"),
        ({"state": np.zeros((1, 1), np.float32)}, r"found float32 \(1, 1\)"),
        ({"state": np.zeros((1, 24))}, "found float64"),
    ],
    ids=["none", "name", "shape", "broadcast", "dtype"],
)
def test_wrong_feeds_are_refused(tiny: Path, feeds: dict[str, Array], complaint: str) -> None:
    with pytest.raises(BackendError, match=complaint):
        _open(open_bundle(tiny), "heads").run(feeds)


@pytest.mark.parametrize("graph", [b"", b"nonsense", b"ORTM" * 100], ids=["empty", "noise", "other format"])
def test_what_is_not_a_graph_is_refused_in_one_line(graph: bytes) -> None:
    with pytest.raises(BackendError, match="cannot open") as caught:
        open_backend("ort").open(OnnxGraph(graph), (), ())
    assert "\n" not in str(caught.value)


def test_a_graph_that_is_not_the_promised_one_is_refused(tiny: Path) -> None:
    bundle = open_bundle(tiny)
    spec = bundle.manifest.parts["heads"]
    backend = open_backend("ort")
    with pytest.raises(BackendError, match="inputs are not those"):
        backend.open(bundle.graph("heads", "fp32"), (TensorSpec("state", "float32", (1, 25)),), spec.outputs)
    with pytest.raises(BackendError, match="outputs are not those"):
        backend.open(bundle.graph("heads", "fp32"), spec.inputs, spec.outputs[:-1])


def test_closing_twice_and_running_after(tiny: Path) -> None:
    session = _open(open_bundle(tiny), "heads")
    feeds = _feeds(session, 0)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run(feeds)


def test_threads_are_those_asked_for_else_one_for_small_graphs() -> None:
    small, large = 10, ort.SMALL_GRAPH
    assert ort.threads_for(small, 3) == ort.threads_for(large, 3) == 3
    assert ort.threads_for(small, None) == 1
    assert ort.threads_for(large, None) == len(os.sched_getaffinity(0))


def test_without_onnxruntime_the_reason_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort.importlib.util, "find_spec", lambda name: None)
    assert "chiasm[cpu]" in (available()["ort"] or "")
    with pytest.raises(BackendError, match=r"chiasm\[cpu\]"):
        open_backend("ort")
    with pytest.raises(BackendError, match="No inference backend"):
        open_backend("auto")
