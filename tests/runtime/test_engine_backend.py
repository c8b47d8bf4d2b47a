"""Backends of engines, on a pretended GPU: what is opened, what is refused and why, and what serves in its place."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the pretended GPU computes with ONNX Runtime")

import chiasm
import pretended_gpu
from chiasm.runtime import backends
from chiasm.runtime.backends import _builder, _engines, rtx, trt
from chiasm.runtime.backends._builder import Built
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.engines import Key
from chiasm.runtime.errors import BackendError, EngineError
from chiasm.runtime.values import OnnxGraph

REFERENCE = Path(__file__).parents[2] / "reference" / "bundle"
NOTE = {"text": "Dispatch: the left exit is blocked."}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REFERENCE, tmp_path / "street"))


@pytest.fixture
def small(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "small"))


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretended_gpu.install(monkeypatch)


def _same(first: Any, second: Any) -> None:
    assert first.labels == second.labels
    assert np.abs(first.embedding - second.embedding).max() < 1e-5


def test_a_bundle_runs_on_its_engines(bundle: Path) -> None:
    pretended_gpu.make(bundle)
    with (
        chiasm.load(bundle, backend="rtx", precision="fp32", strict=True) as engines,
        chiasm.load(bundle, precision="fp32") as graphs,
    ):
        assert engines.backend == "rtx"
        for text in (NOTE["text"], "A truck ahead.", NOTE["text"]):
            _same(engines(text=text), graphs(text=text))
        assert dict(engines.notes) == {}
        steps = [list(each.generate(text="A bus.", steps=2, seed=3))[-1].picture for each in (engines, graphs)]
        assert np.abs(steps[0].astype(int) - steps[1].astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda key: msgspec.structs.replace(key, version="1.6.0"), "version 1.6.0, here 1.7.1"),
        (lambda key: msgspec.structs.replace(key, capabilities=("12.0",)), "compute capability 12.0, here 8.9"),
        (lambda key: msgspec.structs.replace(key, graph="ab" * 32), "another graph"),
        (lambda key: msgspec.structs.replace(key, vendor="tensorrt"), "vendor tensorrt, here tensorrt_rtx"),
    ],
)
def test_an_engine_made_for_something_else_is_never_loaded(
    bundle: Path, change: Callable[[Key], Key], words: str
) -> None:
    pretended_gpu.make(bundle, change)
    with pytest.raises(EngineError, match=rf"No engine of part \S+ for Pretended RTX: .*{words}.*chiasm compile"):
        chiasm.load(bundle, backend="rtx", precision="fp32", strict=True)
    with chiasm.load(bundle, backend="rtx", precision="fp32") as pipeline, chiasm.load(bundle) as graphs:
        _same(pipeline(**NOTE), graphs(**NOTE))
        assert words in pipeline.notes["text"]
        assert "runs in int8-cpu on ort" in pipeline.notes["text"]
        assert pipeline.precisions["text"] == "int8-cpu"


def test_an_engine_that_is_cut_off(bundle: Path) -> None:
    pretended_gpu.make(bundle)
    for file in (bundle / "engines").glob("*/engine.bin"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(EngineError, match=r"cut off: \d+ of \d+ bytes"):
        chiasm.load(bundle, backend="rtx", precision="fp32", strict=True)


def test_an_engine_that_the_vendor_does_not_take(bundle: Path) -> None:
    pretended_gpu.make(bundle, mark=b"OLD:")
    with pytest.raises(EngineError, match="tensorrt_rtx does not take the engine of part"):
        chiasm.load(bundle, backend="rtx", precision="fp32", strict=True)


def test_nothing_is_built_unless_asked_and_then_while_loading(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(vendor: str, order: Any, told: Any) -> Built:
        built.append(order.part)
        return Built(pretended_gpu.MARK + order.graph.proto, 1.0, 1.0)

    monkeypatch.setattr(_builder, "build_apart", build)
    with chiasm.load(bundle, backend="rtx", precision="fp32") as pipeline:
        pipeline(**NOTE)
    assert built == []
    assert not (bundle / "engines").exists()
    with chiasm.load(bundle, backend="rtx", precision="fp32", build="missing", strict=True) as pipeline:
        assert sorted(built) == sorted(pipeline.manifest.parts)
        pipeline(**NOTE)
        list(pipeline.generate(**NOTE, steps=1))
    assert len(built) == len(set(built))


# stripped engines


def _stripped(key: Key) -> Key:
    return msgspec.structs.replace(key, flags={"strip": "true"})


def test_a_stripped_engine_is_given_the_weights_of_the_bundle(small: Path) -> None:
    pretended_gpu.make(small, _stripped, mark=pretended_gpu.BARE)
    with (
        chiasm.load(small, backend="rtx", precision="fp32", strict=True) as engines,
        chiasm.load(small, precision="fp32") as graphs,
    ):
        _same(engines(**NOTE), graphs(**NOTE))


def test_a_stripped_engine_that_cannot_be_refitted_says_what_to_do(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended_gpu.make(small, _stripped, mark=pretended_gpu.BARE)
    without = pretended_gpu.vendor()
    del without.OnnxParserRefitter
    refuses = pretended_gpu.vendor()
    refuses.OnnxParserRefitter = type(
        "Parser", (refuses.OnnxParserRefitter,), {"refit_from_bytes": lambda self, proto: False}
    )
    for sdk, words in (
        (pretended_gpu.vendor(lacks=("w1", "w2", "w3", "w4")), "the graph does not have: w1, w2, w3 and 1 more"),
        (refuses, "found a node was renamed"), (without, "pretended 1.7.1 has no refitter that reads ONNX"),
    ):  # fmt: skip
        monkeypatch.setattr(_engines, "load_vendor", lambda name, sdk=sdk: sdk)
        with pytest.raises(EngineError, match=rf"stripped engine of part \S+ cannot .*{words}.*without --strip"):
            chiasm.load(small, backend="rtx", precision="fp32", strict=True)
    with chiasm.load(small, backend="rtx", precision="fp32") as pipeline:
        pipeline(**NOTE)
        assert pipeline.backends["text"] == "ort"
        assert "without --strip" in pipeline.notes["text"]


# what TensorRT-RTX compiles at run time


@pytest.fixture
def rtx_engines(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_engines, "load_vendor", lambda name: pretended_gpu.rtx_vendor())
    pretended_gpu.make(small)
    return small


def _compiled(small: Path) -> tuple[int, dict[str, str]]:
    """(How much was compiled for a decision, what is said of it)."""
    pretended_gpu.LOG.clear()
    with chiasm.load(small, backend="rtx", precision="fp32", strict=True) as pipeline:
        pipeline(**NOTE)
        notes = dict(pipeline.notes)
    return pretended_gpu.calls()["compile"], notes


def test_what_was_compiled_is_kept_beside_the_engine(rtx_engines: Path) -> None:
    assert _compiled(rtx_engines) == (3, {})  # text, fusion, heads
    assert pretended_gpu.calls()["strategy whole"] == 6
    kept = sorted((rtx_engines / "engines").glob("*/runtime-pretended-rtx.cache"))
    assert len(kept) == 6
    before = [path.stat().st_mtime_ns for path in kept]
    assert _compiled(rtx_engines) == (0, {})
    assert [path.stat().st_mtime_ns for path in kept] == before  # nothing new, nothing written
    assert list((rtx_engines / "engines").glob("*/*.new")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "is damaged"),
        (lambda data: b"", "is damaged"),
        (lambda data: hashlib.sha256(b"RTC 1.6:").digest() + b"RTC 1.6:", "is of another version, GPU or driver"),
    ],
)
def test_a_cache_that_does_not_fit_is_named_and_written_anew(
    rtx_engines: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    _compiled(rtx_engines)
    for path in (rtx_engines / "engines").glob("*/*.cache"):
        path.write_bytes(change(path.read_bytes()))
    compiled, notes = _compiled(rtx_engines)
    assert compiled == 3
    assert words in notes["text"]
    assert "compiled anew" in notes["text"]
    assert _compiled(rtx_engines) == (0, {})


def test_where_no_cache_can_be_written_everything_runs(rtx_engines: Path) -> None:
    for place in (rtx_engines / "engines").iterdir():
        if place.is_dir():
            (place / "runtime-pretended-rtx.new").mkdir()
    assert _compiled(rtx_engines) == (3, {})
    assert list((rtx_engines / "engines").glob("*/*.cache")) == []


# one session


def test_wrong_feeds_and_a_closed_session(bundle: Path) -> None:
    pretended_gpu.make(bundle)
    opened = open_bundle(bundle)
    spec = opened.manifest.parts["heads"]
    backend = backends.open_backend("rtx")
    session = backend.open(opened.graph("heads", "fp32"), spec.inputs, spec.outputs)
    with pytest.raises(BackendError, match="Wrong inputs"):
        session.run({})
    with pytest.raises(BackendError, match=r"Input state: found float64 \(1, 2\)"):
        session.run({"state": np.zeros((1, 2))})
    assert all(np.isfinite(each).all() for each in session.run({"state": np.ones((1, 256), np.float32)}).values())
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run({"state": np.ones((1, 256), np.float32)})
    backend.close()


def test_tensors_that_are_not_the_manifests(bundle: Path) -> None:
    pretended_gpu.make(bundle)
    opened = open_bundle(bundle)
    spec = opened.manifest.parts["heads"]
    backend = backends.open_backend("rtx")
    with pytest.raises(EngineError, match="tensors are not those of the manifest"):
        backend.open(opened.graph("heads", "fp32"), spec.inputs, spec.outputs[:1])
    with pytest.raises(EngineError, match="Only a graph of a bundle"):
        backend.open(OnnxGraph(b""), spec.inputs, spec.outputs)


def test_where_nothing_of_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for module, name in ((rtx, "tensorrt_rtx"), (trt, "tensorrt")):
        monkeypatch.setattr(_engines.importlib.util, "find_spec", lambda asked, name=name: None)
        assert name in str(module.why_not())
    assert {"rtx", "trt"} <= set(backends.available())
    with pytest.raises(BackendError, match="backend rtx cannot run here"):
        backends.open_backend("rtx")
