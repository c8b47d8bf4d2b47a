"""The pipeline against plain ONNX Runtime calls, its caching, its absent modalities, and its errors."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from bundles import KINDS, MODALITIES, WORDS, tiny_bundle, tiny_inputs
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import BackendError, HashError, InputError, NoModalityError, PrecisionError
from chiasm.runtime.pipeline import Pipeline, load
from chiasm.runtime.preprocess import Preparer
from chiasm.runtime.values import Packet, Snapshot

SUBSETS = [s for n in range(1, 5) for s in itertools.combinations(MODALITIES, n)]


@pytest.fixture
def pipeline(tiny: Path) -> Iterator[Pipeline]:
    with load(tiny, threads=1) as pipeline:
        yield pipeline


def _some(names: tuple[str, ...], seed: int = 0) -> dict[str, Any]:
    return {name: value for name, value in tiny_inputs(seed).items() if name in names}


def _plain(path: Path, values: dict[str, Any], ages: dict[str, float], kind: str = "adaptive") -> dict[str, Any]:
    """The same decision by sessions of our own, straight from the files."""

    def run(part: str, feeds: dict[str, Any]) -> dict[str, Any]:
        session = onnxruntime.InferenceSession(path / f"parts/{part}.fp32.onnx", providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))

    bundle = open_bundle(path)
    prepare = Preparer(bundle.manifest, bundle.read)
    feeds: dict[str, Any] = {}
    embeddings = {}
    for modality in bundle.manifest.modalities:
        name = modality.name
        feeds[name] = np.zeros((1, *modality.tokens), np.float32)
        if name in values:
            out = run(name, prepare(Packet(name, values[name])))
            feeds[name], embeddings[name] = out["tokens"], out["embedding"][0]
    feeds["presence"] = np.array([[float(n in values) for n in MODALITIES]], np.float32)
    feeds["age"] = np.array([[ages.get(n, 0.0) for n in MODALITIES]], np.float32)
    fused = run(f"fuse.{kind}", feeds)
    return fused | run("heads", {"state": fused["state"]}) | {"embeddings": embeddings}


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_every_set_of_modalities_gives_what_plain_sessions_give(
    pipeline: Pipeline, tiny: Path, names: tuple[str, ...]
) -> None:
    values = _some(names)
    result, plain = pipeline(**values), _plain(tiny, values, {})
    np.testing.assert_allclose(result.embedding, plain["embedding"][0], atol=1e-5)
    for name in names:
        np.testing.assert_allclose(result.embeddings[name], plain["embeddings"][name], atol=1e-5)
    for head in ("hazard", "weather", "object"):
        chances = plain[head][0]
        np.testing.assert_allclose(list(result.scores[head].values()), chances, atol=1e-5)
        labels = pipeline.manifest.heads[head].labels
        assert result.labels[head] == labels[int(chances.argmax())]
    assert list(result.weights.values()) == pytest.approx(plain["weights"][0][plain["weights"][0] > 0].tolist())
    assert result.present == names == tuple(result.weights) == result.encoded
    assert sum(result.weights.values()) == pytest.approx(1)


def test_an_absent_modalitys_encoder_does_not_run(pipeline: Pipeline) -> None:
    pipeline(**_some(("text", "radar")))
    assert pipeline.runs == {"image": 0, "text": 1, "audio": 0, "radar": 1, "fuse.adaptive": 1, "heads": 1}


def test_what_was_there_before_leaves_no_trace(pipeline: Pipeline, tiny: Path) -> None:
    pipeline(**tiny_inputs(seed=3))
    values = _some(("text",), seed=4)
    np.testing.assert_allclose(pipeline(**values).embedding, _plain(tiny, values, {})["embedding"][0], atol=1e-5)


def test_ages_go_into_the_graph(pipeline: Pipeline, tiny: Path) -> None:
    values = _some(("image", "radar"))
    packets = {"image": Packet("image", values["image"], 9.9), "radar": Packet("radar", values["radar"], 9.6)}
    result = pipeline(**packets, time_s=10.0)
    assert result.ages == pytest.approx({"image": 0.1, "radar": 0.4})
    plain = _plain(tiny, values, {"image": 0.1, "radar": 0.4})
    np.testing.assert_allclose(result.embedding, plain["embedding"][0], atol=1e-5)
    assert result.weights["image"] > result.weights["radar"]


def test_without_a_time_the_newest_packet_is_now(pipeline: Pipeline) -> None:
    values = _some(("image", "radar"))
    result = pipeline(image=Packet("image", values["image"], 5.0), radar=Packet("radar", values["radar"], 5.2))
    assert result.time_s == 5.2
    assert result.ages == pytest.approx({"image": 0.2, "radar": 0.0})


def test_a_stale_packet_counts_as_absent(pipeline: Pipeline, tiny: Path) -> None:
    values = _some(("image", "text"))
    result = pipeline(image=Packet("image", values["image"], 0.0), text=values["text"], time_s=0.6)
    assert result.present == ("text",)
    assert pipeline.runs["image"] == 0
    plain = _plain(tiny, {"text": values["text"]}, {})
    np.testing.assert_allclose(result.embedding, plain["embedding"][0], atol=1e-5)


def test_text_is_never_too_old(pipeline: Pipeline) -> None:
    assert pipeline(text=Packet("text", "red car", 0.0), time_s=1e6).ages == {"text": 1e6}


def test_when_all_are_stale_the_error_says_how_old(pipeline: Pipeline) -> None:
    image = Packet("image", tiny_inputs()["image"], 0.0)
    with pytest.raises(NoModalityError, match=r"image is 2 s old \(at most 0.5 s\)"):
        pipeline(image=image, time_s=2.0)


def test_nothing_present(pipeline: Pipeline) -> None:
    for call in (pipeline, pipeline.generate, pipeline.encode):
        with pytest.raises(NoModalityError, match="at least one of image, text, audio, radar"):
            call(image=None)
    with pytest.raises(NoModalityError):
        pipeline.step(Snapshot(0.0, {}, {}))


def test_none_is_absent(pipeline: Pipeline) -> None:
    assert pipeline(image=None, text="red car").present == ("text",)


def test_the_same_packet_is_encoded_once(pipeline: Pipeline) -> None:
    packets = {name: Packet(name, value, 1.0) for name, value in tiny_inputs().items()}
    first, second = pipeline(**packets), pipeline(**packets)
    assert first.encoded == MODALITIES
    assert second.encoded == ()
    np.testing.assert_array_equal(first.embedding, second.embedding)
    new = Packet("image", tiny_inputs(7)["image"], 1.1)
    third = pipeline(**packets | {"image": new})
    assert third.encoded == ("image",)
    assert not np.array_equal(third.embedding, second.embedding)
    assert pipeline.runs["text"] == 1
    assert pipeline.runs["image"] == 2


def test_what_was_ready_when_another_packet_failed_is_encoded_the_next_time(pipeline: Pipeline, tiny: Path) -> None:
    first, second = (tiny_inputs(seed) for seed in (0, 1))
    pipeline(image=Packet("image", first["image"]), text=first["text"])
    late = Packet("image", second["image"])
    with pytest.raises(InputError, match="text"):
        pipeline(image=late, text="")
    result = pipeline(image=late, text=first["text"])
    assert result.encoded == ("image",)
    with load(tiny, threads=1, cache=False) as fresh:
        wanted = fresh(image=late, text=first["text"])
    np.testing.assert_array_equal(result.embedding, wanted.embedding)
    with pytest.raises(InputError, match="text"):
        pipeline(image=Packet("image", first["image"]), text="")
    alone = pipeline(text=first["text"])
    with load(tiny, threads=1) as fresh:
        np.testing.assert_array_equal(alone.embedding, fresh(text=first["text"]).embedding)


def test_the_same_words_are_encoded_once(pipeline: Pipeline) -> None:
    assert pipeline(text="red car").encoded == ("text",)
    assert pipeline(text="red " + "car").encoded == ()
    assert pipeline(text="blue car").encoded == ("text",)


def test_a_raw_array_is_never_taken_for_unchanged(pipeline: Pipeline) -> None:
    image = tiny_inputs()["image"]
    before = pipeline(image=image).embedding
    image[...] = 255 - image
    result = pipeline(image=image)
    assert result.encoded == ("image",)
    assert not np.array_equal(before, result.embedding)


def test_without_cache_everything_is_encoded_and_the_answers_are_the_same(tiny: Path) -> None:
    packets = {name: Packet(name, value, 1.0) for name, value in tiny_inputs().items()}
    with load(tiny, threads=1) as kept, load(tiny, threads=1, cache=False) as fresh:
        for _ in range(3):
            ours, theirs = kept(**packets), fresh(**packets)
            np.testing.assert_array_equal(ours.embedding, theirs.embedding)
            assert theirs.encoded == MODALITIES
        assert kept.runs["image"] == 1
        assert fresh.runs["image"] == 3


def test_a_modality_that_comes_back_is_encoded_again(pipeline: Pipeline) -> None:
    packet = Packet("image", tiny_inputs()["image"], 0.0)
    first = pipeline(image=packet, text="red car")
    pipeline(text="red car")
    again = pipeline(image=packet, text="red car")
    assert again.encoded == ("image",)
    np.testing.assert_array_equal(first.embedding, again.embedding)


def test_results_do_not_change_afterwards(pipeline: Pipeline) -> None:
    first = pipeline(**tiny_inputs(1))
    fused, single = first.embedding.copy(), first.embeddings["image"].copy()
    pipeline(**tiny_inputs(2))
    np.testing.assert_array_equal(first.embedding, fused)
    np.testing.assert_array_equal(first.embeddings["image"], single)


def test_embeddings_have_unit_norm_and_timings_cover_the_stages(pipeline: Pipeline) -> None:
    result = pipeline(**tiny_inputs())
    for embedding in (result.embedding, *result.embeddings.values()):
        assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    stages = {f"{stage}.{name}" for stage in ("preprocess", "encode") for name in MODALITIES}
    assert set(result.timings) == stages | {"fuse", "heads", "total"}
    parts = sum(seconds for stage, seconds in result.timings.items() if stage != "total")
    assert 0 < parts <= result.timings["total"]


def test_encode_gives_each_modalitys_own_embedding(pipeline: Pipeline, tiny: Path) -> None:
    values = _some(("image", "audio"))
    found = pipeline.encode(**values)
    assert list(found) == ["image", "audio"]
    for name, embedding in _plain(tiny, values, {})["embeddings"].items():
        np.testing.assert_allclose(found[name], embedding, atol=1e-5)
    assert pipeline.runs["heads"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_fusion_kind(tiny: Path, kind: str) -> None:
    values = tiny_inputs()
    with load(tiny, threads=1, fusion=kind) as pipeline:
        assert pipeline.fusion == kind
        plain = _plain(tiny, values, {}, kind)
        np.testing.assert_allclose(pipeline(**values).embedding, plain["embedding"][0], atol=1e-5)


def test_only_what_is_needed_is_opened(tiny: Path) -> None:
    with load(tiny, threads=1, fusion="late") as pipeline:
        pipeline(**tiny_inputs())
        opened = {*MODALITIES, "fuse.late", "heads"}
        assert set(pipeline._sessions.opened) == opened
        list(pipeline.generate(text="red car", decoder="tiny"))
        assert set(pipeline._sessions.opened) == opened | {"denoiser", "picture.tiny"}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"imag": 0}, "Did you mean image"),
    ({"smell": 0}, "some of image, text, audio, radar"),
    ({"image": np.zeros((4, 4), np.uint8)}, "image"),
    ({"image": np.zeros((4, 4, 3), np.float32)}, "image"),
    ({"audio": (np.zeros(100, np.float32), 8000)}, "8000"),
    ({"audio": np.full(100, np.nan, np.float32)}, "NaN"),
    ({"audio": np.zeros(0, np.float32)}, "audio"),
    ({"text": "   "}, "text"),
    ({"text": 5}, "text"),
    ({"radar": np.zeros((32, 31), np.float32)}, "radar"),
    ({"image": Packet("radar", None)}, "a packet of image"),
    ({"text": Packet("text", "a", 3.0), "time_s": 2.0}, "future"),
    ({"text": Packet("text", "a", float("nan"))}, "future"),
    ({"text": "a", "time_s": float("inf"), "radar": Packet("radar", None)}, "future"),
]


@pytest.mark.parametrize(("values", "complaint"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_cannot_be_used_is_an_input_error(pipeline: Pipeline, values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        pipeline(**values)


def test_a_failed_call_leaves_the_pipeline_usable(pipeline: Pipeline, tiny: Path) -> None:
    with pytest.raises(InputError):
        pipeline(**tiny_inputs(1) | {"radar": np.zeros((2, 2), np.float32)})
    values = tiny_inputs(2)
    np.testing.assert_allclose(pipeline(**values).embedding, _plain(tiny, values, {})["embedding"][0], atol=1e-5)


def test_a_step_with_an_unknown_modality_is_refused(pipeline: Pipeline) -> None:
    packets = {"smell": Packet("smell", 1), "text": Packet("text", "red car")}
    with pytest.raises(InputError, match="smell"):
        pipeline.step(Snapshot(0.0, packets, {"smell": 0.0, "text": 0.0}))


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"backend": "tpu"}, BackendError, "null"),
        ({"precision": "fp8"}, PrecisionError, "No such precision: found fp8, expected one of auto, int8, fp32, fp16"),
        ({"precision": "int-8"}, PrecisionError, r"Did you mean int8\?"),
        ({"precision": {"heads": "fp8"}}, PrecisionError, "variants fp32"),
        ({"precision": "int8"}, PrecisionError, "int8"),
        ({"precision": {"nose": "fp32"}}, InputError, "nose"),
        ({"precision": {"heads": "fp16"}}, PrecisionError, "Part heads"),
        ({"fusion": "best"}, InputError, "early, middle"),
        ({"decoder": "huge"}, InputError, "full, tiny"),
        ({"threads": 0}, InputError, "threads"),
        ({"threads": 1.5}, InputError, "threads"),
    ],
    ids=str,
)
def test_what_cannot_be_loaded(tiny: Path, arguments: dict[str, Any], error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        load(tiny, **arguments)


def test_precisions(tmp_path: Path) -> None:
    path = tiny_bundle(
        tmp_path,
        precisions=("fp32", "fp16", "int8-cpu"),
        mutate=lambda m: m["parts"]["image"].update(preferred="int8-cpu"),
    )
    with load(path, threads=1) as auto:
        assert auto.precisions["image"] == "int8-cpu"
        assert auto.precisions["text"] == "fp32"
        assert auto(**tiny_inputs()).labels
    with load(path, precision="int8") as small:
        assert set(small.precisions.values()) == {"int8-cpu"}
    with load(path, precision={"heads": "fp16"}) as mixed:
        assert mixed.precisions["heads"] == "fp16"
        assert mixed.precisions["image"] == "int8-cpu"


def test_auto_falls_back_to_what_the_backend_runs(tmp_path: Path) -> None:
    def trt(manifest: dict[str, Any]) -> None:
        variant = dict(manifest["parts"]["image"]["variants"][0])
        variant.update(precision="int8-trt", file="parts/image.trt.onnx")
        manifest["parts"]["image"]["variants"].append(variant)
        manifest["parts"]["image"]["preferred"] = "int8-trt"

    path = tiny_bundle(tmp_path, mutate=trt)
    (path / "parts/image.trt.onnx").write_bytes((path / "parts/image.fp32.onnx").read_bytes())
    with load(path, backend="ort") as pipeline:
        assert pipeline.precisions["image"] == "fp32"
    with load(path, backend="null") as pipeline:
        assert pipeline.precisions["image"] == "int8-trt"
    with load(path, backend="null", precision="int8") as pipeline:  # the others have none, and run in FP32
        assert [pipeline.precisions[each] for each in ("image", "heads")] == ["int8-trt", "fp32"]
    with pytest.raises(PrecisionError, match="int8-trt"):
        load(path, backend="ort", precision={"image": "int8-trt"})


def test_a_damaged_encoder_is_found_when_loading(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path)
    file = path / "parts/audio.fp32.onnx"
    file.write_bytes(file.read_bytes()[::-1])
    with pytest.raises(HashError, match="audio"):
        load(path)


def test_a_head_that_gives_nan_is_an_error(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    session = pipeline._sessions.get("heads")
    monkeypatch.setattr(session, "run", lambda feeds: [each.fill(np.nan) for each in session.results.values()])
    with pytest.raises(BackendError, match="no probabilities"):
        pipeline(text="red car")


def test_what_comes_after_an_array_may_be_of_any_type(pipeline: Pipeline) -> None:
    """The kept packet is compared with the new one only where both are text."""
    inputs = tiny_inputs()
    pipeline(**inputs)
    for name, wrong in (("image", "frame.png"), ("audio", "sound.wav"), ("radar", "radar.npz")):
        with pytest.raises(InputError, match=name):
            pipeline(**{name: wrong})
    with pytest.raises(InputError, match="text is not text"):
        pipeline(text=inputs["image"])
    assert pipeline(**inputs).labels


@pytest.mark.parametrize("wrong", ["now", [1.0]])
def test_a_time_is_a_number(pipeline: Pipeline, wrong: Any) -> None:
    with pytest.raises(InputError, match="time_s is not a time"):
        pipeline(text="red car", time_s=wrong)
    assert pipeline(text="red car", time_s=np.float32(3.0)).time_s == 3.0


def test_a_way_to_build_that_is_none(tiny: Path) -> None:
    with pytest.raises(InputError, match="found always, expected never or missing"):
        load(tiny, build="always")  # type: ignore[arg-type]


def test_a_closed_pipeline_says_so(tiny: Path) -> None:
    pipeline = load(tiny)
    steps = pipeline.generate(text="red car")
    pipeline.close()
    pipeline.close()
    for call in (lambda: pipeline(text="red car"), lambda: pipeline.encode(text="a"), lambda: next(steps)):
        with pytest.raises(BackendError, match="closed"):
            call()


def test_calls_from_several_threads_do_not_mix(pipeline: Pipeline) -> None:
    texts = [f"{a} {b}" for a, b in itertools.pairwise(WORDS)][:12]
    alone = {text: pipeline(text=text).embedding.tolist() for text in texts}
    wrong: list[str] = []

    def work(mine: list[str]) -> None:
        wrong.extend(text for _ in range(20) for text in mine if pipeline(text=text).embedding.tolist() != alone[text])

    threads = [threading.Thread(target=work, args=(texts[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_pipelines_side_by_side(tiny: Path) -> None:
    with load(tiny, threads=1) as one, load(tiny, threads=2) as two:
        first = one(text="red car").embedding
        two(text="blue bus")
        np.testing.assert_array_equal(one(text="red car").embedding, first)
        np.testing.assert_allclose(two(text="red car").embedding, first, atol=1e-6)


def test_fewer_modalities_and_no_decoder(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, modalities=("audio", "image"), decoder=False, kinds=("late",))
    with load(path) as pipeline:
        assert pipeline.modalities == ("audio", "image")
        assert pipeline(image=tiny_inputs()["image"]).present == ("image",)
        with pytest.raises(InputError, match="cannot generate"):
            pipeline.generate(image=tiny_inputs()["image"])
    with pytest.raises(InputError, match="cannot generate"):
        load(path, decoder="tiny")
