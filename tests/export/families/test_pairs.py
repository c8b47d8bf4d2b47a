"""CLIP, SigLIP and ALIGN: both towers against the original pair called the usual way, and the space they share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from chiasm.bench.zoo.pairs import MODELS
from chiasm.export.families import Ask, Tower, family_of, kinds_of
from chiasm.export.graphs import Graph, serialise
from chiasm.export.hub import HubFolder
from chiasm.export.interfaces import encoder
from chiasm.export.measure import compare
from chiasm.export.sessions import Runner
from chiasm.export.to_onnx import run_torch, to_onnx
from chiasm.runtime.errors import CheckpointError, ExportError
from chiasm.runtime.manifest import ImageModality, TextModality
from chiasm.runtime.preprocess.image import image_tensor
from chiasm.runtime.preprocess.text import TextPreparer

PAIRS = ("clip", "siglip", "align")
TEXTS = ("a photo of a red bus", "rain", "An ambulance, ahead; in the rain!")
Checkpoints = Callable[[str], HubFolder]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Name of a zoo model → its tiny checkpoint, made once."""

    @cache
    def made(name: str) -> HubFolder:
        folder = tmp_path_factory.mktemp(name) / name
        MODELS[name].make(folder, "tiny")
        return HubFolder(folder)

    return made


def load(folder: HubFolder, kind: Literal["image", "text"], output: str | None = None) -> Tower:
    return family_of(folder)[1].load(folder, Ask(kind, kind, output))


def pictures() -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, size, dtype=np.uint8) for size in ((50, 71, 3), (40, 40, 3), (90, 33, 3))]


def run(tower: Tower, capture: Any) -> dict[str, Any]:
    """One capture through the runtime's preprocessing and the tower."""
    return run_torch(tower.module, encoder(tower.modality), feeds(tower, capture))


def feeds(tower: Tower, capture: Any) -> dict[str, Any]:
    modality = tower.modality
    if isinstance(modality, ImageModality):
        return {"pixels": image_tensor(capture, modality)}
    assert isinstance(modality, TextModality)
    ids, mask = TextPreparer(tower.files[modality.tokenizer], modality)(capture)
    return {"ids": ids.copy(), "mask": mask.copy()}


def original(folder: HubFolder) -> tuple[Any, Any, Any]:
    """The pair, its picture processor, and its tokenizer with the padding that the model is used with."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, PreTrainedTokenizerFast

    model = AutoModel.from_pretrained(folder.path).eval()
    if folder.model_type == "siglip":  # its own class needs sentencepiece: `said` does what that does in Python
        words: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder.path / "tokenizer.json"), pad_token="</s>")
    else:
        words = AutoTokenizer.from_pretrained(folder.path)
    return model, AutoImageProcessor.from_pretrained(folder.path), words


def said(folder: HubFolder, words: Any, text: str) -> Any:
    if folder.model_type == "siglip":
        plain = "".join(each for each in text.lower() if each.isalnum() or each == " ")
        return {"input_ids": words(plain, padding="max_length", max_length=32, return_tensors="pt")["input_ids"]}
    return words(text, return_tensors="pt")


@pytest.mark.parametrize("name", PAIRS)
def test_probabilities_are_those_of_the_original(name: str, checkpoint: Checkpoints) -> None:
    """From picture files' bytes and words to logits: processor, tokenizer, towers, scale and bias at once."""
    import torch

    folder = checkpoint(name)
    model, processor, words = original(folder)
    image, text = load(folder, "image"), load(folder, "text")
    assert image.shared == text.shared == name
    assert image.similarity == text.similarity
    assert image.similarity is not None
    for picture in pictures():
        pixels = processor(picture, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        seen = run(image, picture)["embedding"][0]
        for sentence in TEXTS:
            with torch.inference_mode():
                answer = model(**said(folder, words, sentence), pixel_values=pixels)
            read = run(text, sentence)["embedding"][0]
            assert abs(seen - answer.image_embeds[0].numpy()).max() <= 1e-5
            assert abs(read - answer.text_embeds[0].numpy()).max() <= 1e-5
            logit = image.similarity.scale * float(seen @ read) + image.similarity.bias
            assert logit == pytest.approx(float(answer.logits_per_image), abs=2e-4)


@pytest.mark.parametrize("name", PAIRS)
def test_other_outputs_are_the_model_s_states(name: str, checkpoint: Checkpoints) -> None:
    import torch

    folder = checkpoint(name)
    model, processor, words = original(folder)
    picture, sentence = pictures()[0], TEXTS[0]
    with torch.inference_mode():
        pixels = processor(picture, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        last = model.vision_model(pixels).last_hidden_state.numpy()
        spoken = said(folder, words, sentence)
        states = model.text_model(**spoken).last_hidden_state.numpy()
    patches = last.reshape(1, last.shape[1], -1).transpose(0, 2, 1) if name == "align" else last[:, name == "clip" :]
    assert abs(run(load(folder, "image", "patches"), picture)["tokens"] - patches).max() <= 2e-5
    mean = run(load(folder, "image", "mean"), picture)["tokens"][:, 0]
    assert abs(mean - patches.mean(axis=1)).max() <= 2e-5
    count = states.shape[1] if name != "siglip" else int((spoken["input_ids"] != 1).sum()) + 1
    tokens = run(load(folder, "text", "tokens"), sentence)["tokens"]
    assert abs(tokens[:, :count] - states[:, :count]).max() <= 2e-5
    assert not tokens[:, count:].any()
    mean = run(load(folder, "text", "mean"), sentence)["tokens"][:, 0]
    assert abs(mean - states[:, :count].mean(axis=1)).max() <= 2e-5
    assert load(folder, "text", "mean").shared is None, "what is not projected is in no shared space"


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_graph_gives_what_the_tower_gives(
    name: str, kind: Literal["image", "text"], checkpoint: Checkpoints
) -> None:
    tower = load(checkpoint(name), kind)
    interface = encoder(tower.modality)
    graph = to_onnx(tower.module, interface, kind)
    taken = [feeds(tower, each) for each in (pictures() if kind == "image" else TEXTS)]
    runner = Runner(serialise(graph))
    found = compare([run_torch(tower.module, interface, each) for each in taken], [runner(each) for each in taken])
    assert max(each.max_relative_error for each in found.values()) <= 1e-4
    largest = max(abs(value).max() for value in Graph(graph).constants.values() if value.size)
    assert largest < 65504, "a number that FP16 cannot hold"
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {"If", "Loop", "Scan", "Einsum", "GridSample", "IsNaN", "Resize", "NonZero", "GatherND"}


def test_one_tower_of_clip_alone(checkpoint: Checkpoints) -> None:
    import torch
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    image, text = load(checkpoint("clip-image"), "image"), load(checkpoint("clip-text"), "text")
    seen, read = run(image, pictures()[0]), run(text, TEXTS[0])
    model: Any = CLIPVisionModelWithProjection.from_pretrained(checkpoint("clip-image").path).eval()
    with torch.inference_mode():
        embeds = model(torch.from_numpy(feeds(image, pictures()[0])["pixels"])).image_embeds.numpy()
    assert abs(seen["tokens"][:, 0] - embeds).max() <= 1e-5
    model = CLIPTextModelWithProjection.from_pretrained(checkpoint("clip-text").path).eval()
    with torch.inference_mode():
        embeds = model(torch.from_numpy(feeds(text, TEXTS[0])["ids"])).text_embeds.numpy()
    assert abs(read["tokens"][:, 0] - embeds).max() <= 1e-5
    assert image.shared is None
    with pytest.raises(CheckpointError, match="no tower for 'text': found model_type 'clip_vision_model'"):
        load(checkpoint("clip-image"), "text")


def test_which_towers_a_checkpoint_has(checkpoint: Checkpoints) -> None:
    assert [kinds_of(checkpoint(name)) for name in PAIRS] == [("image", "text")] * 3
    for name in ("clip-image", "clip-classes", "siglip-classes"):
        assert kinds_of(checkpoint(name)) == ("image",)
    assert kinds_of(checkpoint("clip-text")) == ("text",)


@pytest.mark.parametrize("name", ["clip-classes", "siglip-classes"])
def test_the_classifier_over_the_pictures(name: str, checkpoint: Checkpoints) -> None:
    import torch
    from transformers import AutoModelForImageClassification

    folder = checkpoint(name)
    model = AutoModelForImageClassification.from_pretrained(folder.path).eval()
    for output in (None, "patches"):
        tower = load(folder, "image", output)
        assert tower.classifier is not None
        taken = feeds(tower, pictures()[0])
        with torch.inference_mode():
            tokens, _ = tower.module(torch.from_numpy(taken["pixels"]))
            logits = tower.classifier.module(tokens.mean(dim=1))
            expected = model(torch.from_numpy(taken["pixels"])).logits
        assert abs(logits - expected).max() <= 1e-5


def test_old_clip_files_mean_the_highest_token_by_two(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("clip")
    path = Path(shutil.copytree(folder.path, tmp_path / "clip"))
    text = folder.config["text_config"] | {"eos_token_id": 2}
    (path / "config.json").write_text(json.dumps(folder.config | {"text_config": text}))
    old, new = load(HubFolder(path), "text"), load(folder, "text")
    for sentence in TEXTS:
        assert abs(run(old, sentence)["embedding"] - run(new, sentence)["embedding"]).max() <= 1e-6


def test_siglip_reads_without_case_and_punctuation(checkpoint: Checkpoints) -> None:
    tower = load(checkpoint("siglip"), "text")
    plain = run(tower, "a photo of a red bus")["embedding"]
    assert (run(tower, " A photo,  of a: red-Bus".replace("-", " - ") + "!?")["embedding"] == plain).all()
    assert (run(tower, "a photo of a blue bus")["embedding"] != plain).any()


def test_lengths_that_can_be_and_cannot(checkpoint: Checkpoints) -> None:
    folder = checkpoint("clip")
    family = family_of(folder)[1]
    short = family.load(folder, Ask("words", "text", length=9))
    assert short.modality.length == 9  # type: ignore[union-attr]
    assert tuple(short.files) == ("words.tokenizer.json",)
    for length in (1, 33):
        with pytest.raises(ExportError, match=f"found length {length}, expected 2 to 32 tokens"):
            family.load(folder, Ask("words", "text", length=length))


def test_what_a_pair_cannot_do(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("clip")
    with pytest.raises(CheckpointError, match="a modality of kind image or text, not audio"):
        family_of(folder)[1].load(folder, Ask("sound", "audio"))
    with pytest.raises(ExportError, match="found patches, expected one of pooled, class, mean, tokens"):
        load(folder, "text", "patches")
    path = Path(shutil.copytree(folder.path, tmp_path / "clip"))
    (path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        load(HubFolder(path), "text")
