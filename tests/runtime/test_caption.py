"""Captions by hand-made graphs: what the caches hold, what is asked for, what is refused."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import edit_manifest, tiny_inputs
from caption_bundles import BOS, END, LENGTH, VOCABULARY, caption_bundle
from chiasm.runtime import BackendError, BundleError, InputError, ManifestError, Pipeline, load, open_bundle

pytest.importorskip("onnxruntime", reason="captions run graphs")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return caption_bundle(tmp_path_factory.mktemp("words"))


def picture(seed: int = 0) -> Any:
    return tiny_inputs(seed)["image"]


def by_hand(pipeline: Pipeline, seed: int, prompt: list[int], count: int) -> list[int]:
    """The likeliest token each time, every step with caches that are filled anew from the first token on."""
    sessions, own = pipeline._sessions, pipeline.manifest.captioner
    assert own is not None
    pipeline.encode(image=picture(seed))
    tokens = pipeline._senses.tokens("image").copy()
    seen = {name: each.copy() for name, each in sessions.get(own.prefill).run({"tokens": tokens}).items()}
    text = [own.bos_id, *prompt]
    while len(text) < 1 + len(prompt) + count and text[-1] != own.eos_id:
        keys, values = (np.full((*own.cache[:2], own.length, own.cache[2]), 7.0, np.float32) for _ in range(2))
        for position, token in enumerate(text):
            whole = {"token": np.array([[token]]), "position": np.array([[position]])}
            answer = sessions.get(own.step).run({**whole, "keys": keys, "values": values, **seen})
            keys[:, :, position], values[:, :, position] = answer["key"][:, :, 0], answer["value"][:, :, 0]
        text.append(int(answer["logits"][0].argmax()))
    return text


def test_greedy_captions_follow_from_the_graphs(path: Path) -> None:
    with load(path) as pipeline:
        for seed in range(6):
            assert list(pipeline.caption(image=picture(seed)).tokens) == by_hand(pipeline, seed, [], 8)
        told = {pipeline.caption(image=picture(seed)).tokens for seed in range(12)}
        assert len(told) > 3
        assert pipeline.runs["caption.prefill"] == 18


def test_a_prompt_comes_first_and_without_the_tokenizers_end(path: Path) -> None:
    with load(path) as pipeline:
        found = pipeline.caption(image=picture(), prompt="a red bus", max_tokens=5)
        words = pipeline._captions._tokenizer.encode("a red bus").ids[1:-1]
        assert list(found.tokens) == by_hand(pipeline, 0, words, 5)
        assert found.text.startswith("a red bus")
        assert set(found.timings) == {"preprocess.image", "encode.image", "prefill", "steps", "total"}


def test_beams_find_what_is_likelier(path: Path) -> None:
    with load(path) as pipeline:
        better = 0
        for seed in range(8):
            one = pipeline.caption(image=picture(seed), length_penalty=0.0, max_tokens=6)
            many = pipeline.caption(image=picture(seed), length_penalty=0.0, max_tokens=6, beams=10)
            assert many.score >= one.score - 1e-5
            better += many.tokens != one.tokens
        assert better, "ten beams find other captions than one"


def test_a_caption_leaves_the_next_one_alone(path: Path) -> None:
    with load(path) as pipeline:
        first = [pipeline.caption(image=picture(seed), beams=beams) for seed, beams in ((0, 1), (1, 4), (0, 1), (1, 4))]
    assert [each.tokens for each in first[:2]] == [each.tokens for each in first[2:]]


def test_what_the_manifest_says_holds_unless_asked_otherwise(tmp_path: Path, path: Path) -> None:
    asked = {"prompt": "a", "max_tokens": 3, "beams": 3, "length_penalty": -1.0, "early_stopping": True}
    with load(caption_bundle(tmp_path, **asked)) as told, load(path) as plain:
        assert told.caption(image=picture()).tokens == plain.caption(image=picture(), **asked).tokens
        assert told.caption(image=picture(), prompt="", beams=1, max_tokens=8).tokens[0] == BOS


def test_decisions_go_on_while_a_caption_is_made(path: Path) -> None:
    with load(path) as pipeline:
        expected = pipeline.caption(image=picture(1), beams=8).tokens
        found: list[tuple[int, ...]] = []
        thread = threading.Thread(target=lambda: found.append(pipeline.caption(image=picture(1), beams=8).tokens))
        thread.start()
        results = [pipeline(image=picture(seed)) for seed in range(20)]
        thread.join()
        assert found == [expected]
        assert len({result.embedding.tobytes() for result in results}) == 20


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"beams": 0}, "Not a number of beams"),
        ({"beams": VOCABULARY}, "Not a number of beams"),
        ({"beams": True}, "Not a number of beams"),
        ({"max_tokens": LENGTH}, "Not a number of max_tokens: found 12, expected a whole number from 1 to 11"),
        ({"prompt": "a " * LENGTH}, "The prompt is too long: found 13 tokens"),
        ({"prompt": 3}, "The prompt is not text"),
        ({"prompt": "\ud800"}, "The prompt cannot be tokenised"),
        ({"length_penalty": float("nan")}, "Not a length penalty"),
        ({"early_stopping": "perhaps"}, "Not a way of stopping"),
        ({"sound": 1}, "sound"),
    ],
)
def test_what_cannot_be_asked_for(path: Path, asked: dict[str, Any], complaint: str) -> None:
    with load(path) as pipeline, pytest.raises(InputError, match=complaint):
        pipeline.caption(image=picture(), **asked)


def test_bundles_that_cannot(tiny: Path, tmp_path: Path) -> None:
    with load(tiny) as pipeline, pytest.raises(InputError, match="does not describe pictures"):
        pipeline.caption(image=picture())
    path = caption_bundle(tmp_path)
    (path / "words.json").write_bytes(b"{}")
    with load(path) as pipeline, pytest.raises(BundleError, match="is damaged"):
        pipeline.caption(image=picture(), prompt="a")


def test_numbers_that_are_not_finite_are_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load(path) as pipeline:
        session = pipeline._sessions.get("caption.step")
        run = session.run
        monkeypatch.setattr(
            session, "run", lambda feeds: {**run(feeds), "logits": np.full((1, VOCABULARY), np.nan, np.float32)}
        )
        with pytest.raises(BackendError, match="not finite"):
            pipeline.caption(image=picture())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"modality": "sound"}, "captioner.modality"),
        ({"tokenizer": "other.json"}, "captioner.tokenizer"),
        ({"prefill": "nothing"}, "captioner.prefill"),
        ({"step": "caption.prefill"}, "captioner.step"),
        ({"eos_id": VOCABULARY}, "captioner.eos_id"),
        ({"cache": [1, 2, 5]}, "captioner.prefill, outputs"),
        ({"length": 1}, "captioner.length"),
        ({"beams": VOCABULARY}, "captioner.beams"),
        ({"vocabulary": VOCABULARY + 1}, "captioner.step, outputs"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_promises_of_the_manifest(path: Path, tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    import shutil

    shutil.copytree(path, tmp_path / "b")
    edit_manifest(tmp_path / "b", lambda manifest: manifest["captioner"].update(changes))
    with pytest.raises(ManifestError, match=complaint):
        open_bundle(tmp_path / "b")
    assert END < VOCABULARY
