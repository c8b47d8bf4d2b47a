"""Text conditioning: every prompt's outputs under the denoiser's names, kept until other words push them out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from chiasm.runtime.backends import SessionOptions, open_backend
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import InputError
from chiasm.runtime.manifest import DiffusionDecoder
from chiasm.runtime.prompts import Prompts
from chiasm.runtime.sessions import Sessions
from drawing_bundles import prompt_bundle

WANTED = {"latents", "timestep", "clip.tokens", "clip.pooled", "t5.tokens"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prompt_bundle(tmp_path_factory.mktemp("prompts"))


@pytest.fixture
def prompts(path: Path) -> Iterator[Prompts]:
    bundle = open_bundle(path)
    decoder, sessions = bundle.manifest.decoder, Sessions(bundle, open_backend("ort", SessionOptions()), "auto")
    assert isinstance(decoder, DiffusionDecoder)
    yield Prompts(decoder.prompts, bundle.manifest.parts, WANTED, bundle.read, sessions.get)
    sessions.close()


def test_the_outputs_are_named_after_their_prompt(prompts: Prompts, path: Path) -> None:
    condition = prompts("a red bus")
    assert set(condition) == {"clip.tokens", "clip.pooled", "t5.tokens"}
    # [CLS] 1, then "a" 3, "red" 12, "bus" 17 of the word list.
    from bundle_graphs import WORDS

    tokens = [1, *(3 + WORDS.index(word) for word in ("a", "red", "bus"))]
    ids = np.array([tokens + [0] * 6], np.int64)
    session = onnxruntime.InferenceSession(path / "parts/t5.fp32.onnx", providers=["CPUExecutionProvider"])
    mask = (ids > 0).astype(np.int64)
    (expected,) = session.run(["tokens"], {"input_ids": ids, "attention_mask": mask})
    np.testing.assert_array_equal(condition["t5.tokens"], expected)


def test_a_text_is_encoded_once(prompts: Prompts) -> None:
    first = prompts("a red bus")
    assert prompts("") is not first
    assert prompts("a red bus") is first
    assert prompts.runs == {"clip": 2, "t5": 2}
    for word in ("car", "truck", "rain", "fog"):
        prompts(word)
    assert prompts("fog") is not first
    assert prompts.runs["clip"] == 6
    prompts("a red bus")  # pushed out
    assert prompts.runs["clip"] == 7


def test_an_empty_text_is_a_prompt_too(prompts: Prompts) -> None:
    assert not np.array_equal(prompts("")["clip.pooled"], prompts("a red bus")["clip.pooled"])
    assert prompts("  ")["t5.tokens"].shape == (1, 10, 4)


def test_zeros_have_the_shapes_of_the_condition(prompts: Prompts) -> None:
    condition, zeros = prompts("a bus"), prompts.zeros()
    assert {name: value.shape for name, value in zeros.items()} == {name: v.shape for name, v in condition.items()}
    assert all(value.dtype == np.float32 and not value.any() for value in zeros.values())


@pytest.mark.parametrize("text", [5, None, b"bus", "\ud800"])
def test_what_is_no_text(prompts: Prompts, text: object) -> None:
    with pytest.raises(InputError, match="text"):
        prompts(text)
