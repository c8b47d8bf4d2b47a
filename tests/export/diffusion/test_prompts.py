"""Text encoders of pipelines: the token ids and the states are those of diffusers."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("diffusers", reason="its pipelines are what is compared with")

import torch
from chiasm.bench.zoo.diffusion import MODELS
from chiasm.bench.zoo.words import strings
from chiasm.export.diffusion.folder import PipelineFolder
from chiasm.export.diffusion.prompts import clip_words, t5_words
from chiasm.runtime.preprocess.text import TextPreparer
from drawn_twice import WARNINGS, original

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS]


class _Words:
    name, padding, truncation = "text", "right", "right"

    def __init__(self, prompt: Any) -> None:
        self.tokenizer, self.length, self.pad_id = prompt.tokenizer, prompt.length, prompt.pad_id


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> PipelineFolder:
    path = tmp_path_factory.mktemp("prompts") / "sd3"
    MODELS["sd3"].make(path, "tiny")
    return PipelineFolder(path)


def test_ids_are_those_of_transformers_in_many_scripts(folder: PipelineFolder) -> None:
    import transformers

    for number, kind in (("", "CLIPTokenizer"), ("_2", "CLIPTokenizer"), ("_3", "T5Tokenizer")):
        if number == "_3":
            words = t5_words(folder, "t5", number, 77)
        else:
            words = clip_words(folder, "clip", number, penultimate=True, pooled=True)
        prepare = TextPreparer(words.tokenizer, _Words(words.prompt), empty=True)
        theirs = getattr(transformers, kind).from_pretrained(folder.path / f"tokenizer{number}")
        for text in ["", "wow! a bus!!", "x " * 100, *strings(200)]:
            expected = theirs(text, padding="max_length", max_length=77, truncation=True).input_ids
            assert prepare(text)[0][0].tolist() == expected, text


def test_states_are_those_of_the_pipeline(folder: PipelineFolder) -> None:
    pipeline = original("StableDiffusion3Pipeline", folder.path)
    text = "a red bus, rain"
    parts = {
        "": clip_words(folder, "clip", "", penultimate=True, pooled=True),
        "_2": clip_words(folder, "clip_2", "_2", penultimate=True, pooled=True),
        "_3": t5_words(folder, "t5", "_3", None),
    }
    made = {}
    with torch.inference_mode():
        states, _, pooled, _ = pipeline.encode_prompt(text, None, None, do_classifier_free_guidance=False)
        for number, words in parts.items():
            ids = TextPreparer(words.tokenizer, _Words(words.prompt), empty=True)(text)[0]
            made[number] = words.source.load()(torch.from_numpy(ids))
    tokens = torch.cat([made[""][0], made["_2"][0]], dim=-1)
    torch.testing.assert_close(tokens, states[:, :77, : tokens.shape[-1]], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat([made[""][1], made["_2"][1]], dim=-1), pooled, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made["_3"], states[:, 77:], rtol=1e-5, atol=1e-5)
