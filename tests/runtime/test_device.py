"""Sessions on a pretended GPU: what is copied, what waits for what, what is replayed; and the answers are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the pretended GPU computes with ONNX Runtime")

import chiasm
import pretended_gpu
from bundles import MODALITIES, tiny_inputs
from chiasm.runtime.backends import _recording, open_backend
from chiasm.runtime.backends.base import Session, SessionOptions
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import BackendError
from chiasm.runtime.pipeline import Pipeline
from chiasm.runtime.sessions import open_sessions


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretended_gpu.install(monkeypatch)
    monkeypatch.setenv("CHIASM_ENGINES", str(tmp_path))


def _open(path: Path, backend: str = "rtx", **options: bool) -> Pipeline:
    bundle = open_bundle(path)
    sessions = open_sessions(bundle, backend, "fp32", SessionOptions(**options), strict=True)
    return Pipeline(bundle, sessions, fusion=None, decoder=None, cache=True)


def _agree(first: Any, second: Any) -> None:
    assert first.labels == second.labels
    assert np.abs(first.embedding - second.embedding).max() < 1e-5
    assert list(first.weights.values()) == pytest.approx(list(second.weights.values()), abs=1e-5)
    for name, embedding in first.embeddings.items():
        assert np.abs(embedding - second.embeddings[name]).max() < 1e-5


def _bytes(specs: Any) -> int:
    return sum(int(np.prod(each.shape)) * np.dtype(each.dtype).itemsize for each in specs)


def _moved(name: str) -> int:
    return sum(size for call, size in pretended_gpu.LOG if call == name)


def test_a_decision_copies_captures_in_and_answers_out_and_nothing_between(tiny: Path) -> None:
    pretended_gpu.make(tiny)
    parts = open_bundle(tiny).manifest.parts
    with _open(tiny) as pipeline:
        for seed in range(3):
            pretended_gpu.LOG.clear()
            pipeline(**tiny_inputs(seed))
        calls = pretended_gpu.calls()
        inputs = [each for name in MODALITIES for each in parts[name].inputs]
        told = [each for each in parts["fuse.adaptive"].inputs if each.name in ("presence", "age")]
        assert (calls["put"], _moved("put")) == (len(inputs) + 2, _bytes([*inputs, *told]))
        embeddings = [each for name in MODALITIES for each in parts[name].outputs if each.name == "embedding"]
        weights = [each for each in parts["fuse.adaptive"].outputs if each.name == "weights"]
        answers = [*embeddings, *weights, *parts["heads"].outputs]
        assert (calls["take"], _moved("take")) == (len(answers), _bytes(answers))
        assert calls["execute"] == 6


def test_each_encoder_has_a_stream_and_events_join_them(tiny: Path) -> None:
    pretended_gpu.make(tiny)
    with _open(tiny) as pipeline:
        for seed in range(2):
            pretended_gpu.LOG.clear()
            pipeline(**tiny_inputs(seed))
        streams = [handle for call, handle in pretended_gpu.LOG if call == "execute"]
        assert len(streams) == 6
        assert len(set(streams[:4])) == 4
        assert streams[4] == streams[5] not in streams[:4]
        waits = [handle for call, handle in pretended_gpu.LOG if call == "wait"]
        assert sorted(waits) == sorted([*streams[:4], *[streams[4]] * 4])  # for the reader before, and for the encoders
        order = [call for call, _ in pretended_gpu.LOG if call in ("execute", "synchronize")]
        assert order[:6] == ["execute"] * 6  # nobody waits before everything is under way


def test_without_overlap_there_is_one_stream_and_nothing_to_wait_for(tiny: Path) -> None:
    pretended_gpu.make(tiny)
    with _open(tiny, overlap=False) as pipeline, chiasm.load(tiny, "ort", "fp32") as graphs:
        for seed in range(3):
            _agree(pipeline(**tiny_inputs(seed)), graphs(**tiny_inputs(seed)))
        assert len(pretended_gpu.STREAMS) == 1
        assert pretended_gpu.calls()["wait"] == 0


def test_on_a_board_that_shares_its_memory_there_is_one_stream(tiny: Path) -> None:
    pretended_gpu.BOARD.append(True)
    pretended_gpu.make(tiny)
    with _open(tiny) as pipeline:
        pipeline(**tiny_inputs(0))
        assert len(pretended_gpu.STREAMS) == len(pretended_gpu.SCRATCH) == 1


@pytest.mark.parametrize("overlap", [True, False])
def test_senses_come_and_go_and_answers_are_those_of_the_graphs(tiny: Path, overlap: bool) -> None:
    pretended_gpu.make(tiny)
    steps: list[tuple[int, tuple[str, ...]]] = [
        (0, ("text",)), (1, MODALITIES), (2, ("image", "radar")), (2, ("image", "radar", "audio")), (3, MODALITIES),
    ]  # fmt: skip
    with _open(tiny, overlap=overlap) as pipeline, chiasm.load(tiny, "ort", "fp32") as graphs:
        for seed, names in steps:
            given = {name: value for name, value in tiny_inputs(seed).items() if name in names}
            _agree(pipeline(**given), graphs(**given))
        drawn = [list(each.generate(**given, steps=2, seed=3))[-1].latents for each in (pipeline, graphs)]
        assert np.abs(drawn[0] - drawn[1]).max() < 1e-4
        _agree(pipeline(**tiny_inputs(5)), graphs(**tiny_inputs(5)))


def test_a_sense_that_went_dark_is_cleared_on_the_gpu(tiny: Path) -> None:
    pretended_gpu.make(tiny)
    with _open(tiny) as pipeline:
        pipeline(**tiny_inputs(0))
        pretended_gpu.LOG.clear()
        pipeline(text=tiny_inputs(0)["text"])
        assert pretended_gpu.calls()["clear"] == 3
        pretended_gpu.LOG.clear()
        pipeline(text=tiny_inputs(0)["text"])
        assert pretended_gpu.calls()["clear"] == 0


def test_where_fusion_has_no_engine_the_tokens_are_brought_to_it(tiny: Path) -> None:
    pretended_gpu.make(tiny, without=("fuse.adaptive",))
    with chiasm.load(tiny, "rtx", "fp32") as pipeline, chiasm.load(tiny, "ort", "fp32") as graphs:
        assert (pipeline.backends["image"], pipeline.backends["fuse.adaptive"]) == ("rtx", "ort")
        for seed in range(4):
            _agree(pipeline(**tiny_inputs(seed)), graphs(**tiny_inputs(seed)))
        _agree(pipeline(text="a red truck"), graphs(text="a red truck"))


def test_where_an_encoder_has_no_engine_its_tokens_are_copied_in(tiny: Path) -> None:
    pretended_gpu.make(tiny, without=("image",))
    with chiasm.load(tiny, "rtx", "fp32") as pipeline, chiasm.load(tiny, "ort", "fp32") as graphs:
        for seed in range(3):
            _agree(pipeline(**tiny_inputs(seed)), graphs(**tiny_inputs(seed)))


def test_what_is_closed_holds_no_memory(tiny: Path) -> None:
    pretended_gpu.make(tiny)
    before = set(pretended_gpu.HELD)
    pipeline = _open(tiny)
    pipeline(**tiny_inputs(0))
    assert len(pretended_gpu.HELD - before) > 20
    pipeline.close()
    assert pretended_gpu.HELD - before == set()


# CUDA graphs


def test_what_has_run_once_is_recorded_and_replayed(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pretended_gpu.Library()
    monkeypatch.setattr(_recording, "open_library", lambda: library)
    pretended_gpu.make(tiny, vendor="tensorrt")
    with _open(tiny, "trt") as pipeline, chiasm.load(tiny, "ort", "fp32") as graphs:
        for seed in range(3):
            pretended_gpu.LOG.clear()
            _agree(pipeline(**tiny_inputs(seed)), graphs(**tiny_inputs(seed)))
        assert (pretended_gpu.calls()["replay"], pretended_gpu.calls()["execute"]) == (6, 0)
        list(pipeline.generate(**tiny_inputs(3), steps=2))  # the denoiser needs more scratch: it moves
        pretended_gpu.LOG.clear()
        _agree(pipeline(**tiny_inputs(4)), graphs(**tiny_inputs(4)))
        calls = pretended_gpu.calls()
        assert (calls["replay"], calls["execute"]) == (4, 2)  # fusion and heads are run anew, then recorded anew
    assert not any(library.graphs.values())  # all were freed


@pytest.mark.parametrize(("refuses", "graphs"), [(True, True), (False, False)])
def test_where_nothing_can_or_shall_be_recorded(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, refuses: bool, graphs: bool
) -> None:
    library = pretended_gpu.Library(refuses=refuses)
    monkeypatch.setattr(_recording, "open_library", lambda: library)
    pretended_gpu.make(tiny)
    with _open(tiny, graphs=graphs) as pipeline, chiasm.load(tiny, "ort", "fp32") as other:
        for seed in range(3):
            _agree(pipeline(**tiny_inputs(seed)), other(**tiny_inputs(seed)))
        assert pretended_gpu.calls()["replay"] == 0


# one session


def _session(tiny: Path, part: str) -> Session:
    pretended_gpu.make(tiny)
    opened = open_bundle(tiny)
    spec = opened.manifest.parts[part]
    return open_backend("rtx").open(opened.graph(part, "fp32"), spec.inputs, spec.outputs)


def test_a_constant_array_is_copied_once(tiny: Path) -> None:
    session = _session(tiny, "heads")
    (spec,) = session.inputs
    state = np.ones(spec.shape, np.float32)
    for writeable, copies in ((True, 3), (False, 1)):
        state.setflags(write=writeable)
        pretended_gpu.LOG.clear()
        for _ in range(3):
            session.run({"state": state})
        assert pretended_gpu.calls()["put"] == copies
    first = session.results["hazard"].copy()
    session.run({"state": np.zeros(spec.shape, np.float32)})
    session.run({"state": state})
    np.testing.assert_array_equal(session.results["hazard"], first)


def test_outputs_are_brought_once_and_those_of_one_call_together(tiny: Path) -> None:
    session = _session(tiny, "heads")
    session.run({"state": np.ones(session.inputs[0].shape, np.float32)})
    kept = {name: session.results[name] for name in ("hazard", "weather")}
    before = {name: value.copy() for name, value in kept.items()}
    pretended_gpu.LOG.clear()
    session.run({"state": np.full(session.inputs[0].shape, -1.0, np.float32)})
    assert session.bring is not None
    session.bring(("hazard", "weather"))
    assert all(np.abs(kept[name] - before[name]).max() > 1e-6 for name in kept)
    assert all(session.results[name] is kept[name] for name in kept)
    assert (pretended_gpu.calls()["take"], pretended_gpu.calls()["synchronize"]) == (2, 1)
    assert list(session.results) == [each.name for each in session.outputs]
    with pytest.raises(KeyError):
        _ = session.results["nothing"]


def test_a_second_run_overwrites_nothing_that_is_still_read(tiny: Path) -> None:
    pretended_gpu.make(tiny)
    opened, backends = open_bundle(tiny), [open_backend(name) for name in ("rtx", "ort")]
    states = []
    for backend, again in zip(backends, (True, False), strict=True):
        image, fuse = (
            backend.open(opened.graph(part, "fp32"), spec.inputs, spec.outputs)
            for part, spec in opened.manifest.parts.items() if part in ("image", "fuse.adaptive")
        )  # fmt: skip
        feeds: dict[str, Any] = {each.name: np.ones(each.shape, np.float32) for each in fuse.inputs}
        shape = image.inputs[0].shape
        image.run({"pixels": np.full(shape, 0.5, np.float32)})
        fuse.run(feeds | {"image": image.values["tokens"]})
        if again:  # and looked up, before anybody has waited for the first
            _ = image.run({"pixels": np.full(shape, -0.5, np.float32)})["tokens"]
        states.append(fuse.results["state"].copy())
    assert np.abs(states[0] - states[1]).max() < 1e-5


def test_a_value_says_what_it_is_and_dies_with_its_session(tiny: Path) -> None:
    session = _session(tiny, "heads")
    value: Any = session.values["hazard"]
    session.run({"state": np.ones(session.inputs[0].shape, np.float32)})
    assert (value.shape, value.dtype) == (value.numpy().shape, np.float32)
    assert value.numpy() is session.results["hazard"]
    with pytest.raises(BackendError, match="can only be cleared: found 1"):
        value.fill(1.0)
    value.fill(0.0)
    assert not value.numpy().any()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        value.numpy()
