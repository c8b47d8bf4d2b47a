"""The backend ort:cuda on a pretended GPU: its options, what it copies, when it waits, and what serves without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the pretended GPU computes with ONNX Runtime")

import chiasm
import pretended_cuda
from bundles import tiny_inputs
from chiasm.runtime.backends import _ort_cuda, devices, open_backend
from chiasm.runtime.backends.base import SessionOptions
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import BackendError, EngineError
from chiasm.runtime.pipeline import Pipeline
from chiasm.runtime.sessions import open_sessions
from pretended_cuda import CALLS, OPENED

BOTH = [(True, True), (True, False), (False, True), (False, False)]


def _open(path: Path, **options: bool) -> Pipeline:
    bundle = open_bundle(path)
    sessions = open_sessions(bundle, "ort:cuda", "fp32", SessionOptions(**options), strict=True)
    return Pipeline(bundle, sessions, fusion=None, decoder=None, cache=True)


def _agree(first: Any, second: Any) -> None:
    assert first.labels == second.labels
    assert np.abs(first.embedding - second.embedding).max() < 1e-5
    assert list(first.weights.values()) == pytest.approx(list(second.weights.values()), abs=1e-5)


@pytest.mark.parametrize(("graphs", "overlap"), BOTH)
def test_answers_are_those_of_the_cpu(tiny: Path, monkeypatch: pytest.MonkeyPatch, graphs: bool, overlap: bool) -> None:
    module = pretended_cuda.install(monkeypatch)
    with _open(tiny, graphs=graphs, overlap=overlap) as pipeline, chiasm.load(tiny, "ort", "fp32") as cpu:
        assert pipeline.backends["image"] == pipeline.backend == "ort:cuda"
        for seed, names in ((0, ("text",)), (1, None), (2, ("image", "radar")), (3, None)):
            given = {name: value for name, value in tiny_inputs(seed).items() if names is None or name in names}
            _agree(pipeline(**given), cpu(**given))
        drawn = [list(each.generate(**tiny_inputs(4), steps=2, seed=3))[-1].latents for each in (pipeline, cpu)]
        assert np.abs(drawn[0] - drawn[1]).max() < 1e-4
    assert {each["enable_cuda_graph"] for each in OPENED} == {"1" if graphs else "0"}
    assert len(module.arenas) == (0 if graphs or overlap else 1)


@pytest.mark.parametrize("overlap", [True, False])
def test_a_decision_copies_captures_in_and_answers_out(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, overlap: bool
) -> None:
    pretended_cuda.install(monkeypatch)
    parts = open_bundle(tiny).manifest.parts
    with _open(tiny, overlap=overlap) as pipeline:
        for seed in range(2):
            CALLS.clear()
            pipeline(**tiny_inputs(seed))
        inputs = sum(len(parts[name].inputs) for name in ("image", "text", "audio", "radar"))
        answers = 4 + 1 + len(parts["heads"].outputs)  # embeddings, weights
        # An encoder that runs beside others is waited for once: by fusion.
        assert dict(CALLS) == {"in": inputs + 2, "out": answers} | ({"wait": 4} if overlap else {})


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _ort_cuda.provider_options(SessionOptions(graphs=False)) == {
        "device_id": "0", "arena_extend_strategy": "kSameAsRequested", "enable_cuda_graph": "0",
    }  # fmt: skip
    assert _ort_cuda.provider_options(SessionOptions())["enable_cuda_graph"] == "1"
    shared = {
        (graphs, overlap): _ort_cuda.shares_arena(SessionOptions(graphs=graphs, overlap=overlap))
        for graphs, overlap in BOTH
    }
    assert [key for key, value in shared.items() if value] == [(False, False)]
    assert not _ort_cuda.shares_arena(SessionOptions(graphs=False, overlap=False, arena=False))


@pytest.mark.parametrize(
    ("outcome", "words", "tries"),
    [
        ("cpu", r"CUDA provider did not start: .*onnxruntime-gpu\[cuda,cudnn\]", 1),
        ("refused", r"does not open part image on the GPU: found CUDA failure 35: .*insufficient$", 6),
    ],
)
def test_where_the_gpu_does_not_answer_the_cpu_serves_and_says_why(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, outcome: str, words: str, tries: int
) -> None:
    pretended_cuda.install(monkeypatch, outcome)
    with pytest.raises(EngineError, match=words):
        chiasm.load(tiny, "ort:cuda", strict=True)
    OPENED.clear()
    with chiasm.load(tiny, "ort:cuda") as pipeline, chiasm.load(tiny, "ort", "fp32") as cpu:
        _agree(pipeline(**tiny_inputs(0)), cpu(**tiny_inputs(0)))
        assert {pipeline.backends[part] for part in pipeline.runs} == {"ort"}
        assert pipeline.notes["image"].startswith("runs in fp32 on ort: ONNX Runtime")
    assert len(OPENED) == tries


def test_an_onnxruntime_without_the_provider_says_so(tiny: Path) -> None:
    import onnxruntime

    if _ort_cuda.PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    with pytest.raises(BackendError, match=r"ort:cuda cannot run here: .* has no CUDA provider, .* onnxruntime-gpu"):
        chiasm.load(tiny, "ort:cuda")
    assert "no CUDA provider" in (devices()["ort:cuda"] or "")
    with pytest.raises(BackendError, match="ort has no such device: found tpu, expected ort, or ort:cuda"):
        open_backend("ort:tpu")
    with pytest.raises(BackendError, match=r"null has no such device: found cuda, expected null$"):
        open_backend("null:cuda")


def test_one_session(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended_cuda.install(monkeypatch)
    opened, backend = open_bundle(tiny), open_backend("ort:cuda")
    fuse, heads = (
        backend.open(opened.graph(part, "fp32"), spec.inputs, spec.outputs)
        for part, spec in opened.manifest.parts.items() if part in ("fuse.adaptive", "heads")
    )  # fmt: skip
    value: Any = fuse.values["state"]
    fuse.run({each.name: np.ones(each.shape, np.float32) for each in fuse.inputs})
    heads.run({"state": value})
    hazard = heads.results["hazard"].copy()
    with pytest.raises(BackendError, match="Input state was recorded as an output of another session"):
        heads.run({"state": value.numpy()})
    value.fill(0.5)
    assert (value.numpy() == 0.5).all()
    assert np.abs(heads.run({"state": value})["hazard"] - hazard).max() > 1e-6
    with pytest.raises(BackendError, match="Wrong inputs"):
        heads.run({})
    spec = opened.manifest.parts["image"]
    image = backend.open(opened.graph("image", "fp32"), spec.inputs, spec.outputs)
    image.run({"pixels": np.ones(spec.inputs[0].shape, np.float32)})  # which nobody waits for
    tokens: Any = image.values["tokens"]
    tokens.fill(0.0)
    image.wait()
    assert not tokens.there.numpy().any()
    heads.close()
    heads.close()
    for use in (lambda: heads.run({"state": value}), lambda: heads.results["hazard"]):
        with pytest.raises(BackendError, match="closed"):
            use()
    assert heads.results.keys() == {each.name for each in heads.outputs}
