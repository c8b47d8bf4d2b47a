"""Text models: checkpoint folder → tower → ONNX Runtime, beside transformers called as its own documentation says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="reading a checkpoint needs it")
pytest.importorskip("transformers", reason="reading a checkpoint needs it")

import torch
import transformers
from chiasm.bench.zoo import text as zoo
from chiasm.export import interfaces
from chiasm.export.families import Ask, Tower, family_of
from chiasm.export.graphs import serialise
from chiasm.export.hub import HubFolder
from chiasm.export.sessions import Runner
from chiasm.export.to_onnx import run_torch, to_onnx
from chiasm.runtime.errors import ChiasmError
from chiasm.runtime.preprocess.text import TextPreparer
from chiasm.runtime.values import Array

LENGTH = 24
TEXTS = (
    "The left exit is blocked.",
    "Rue fermée à gauche, très près; автобус едет медленно " * 8,
    "街道左边 🚌!",
)
BARE = ("bert", "distilbert", "mpnet", "roberta", "xlm-roberta", "t5", "gpt2")
POOLED = {"class": lambda out, mask: out[:, 0], "last": lambda out, mask: out[:, mask[0].nonzero()[-1, 0]]}
UNWELCOME = {"If", "Loop", "Scan", "NonZero", "CumSum", "Einsum", "GatherND", "ScatterND", "Where", "IsNaN"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders by the name of the model, each made once; `<Class>!` is a classifier."""
    root, made = tmp_path_factory.mktemp("hub"), {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = root / name.strip("!")
            if name.endswith("!"):
                zoo.classifier(name[:-1], made[name], "tiny", seed=3)
            else:
                zoo.MODELS[name].make(made[name], "tiny", seed=3)
        return made[name]

    return folder


def _tower(folder: Path, output: str | None = None, length: int = LENGTH) -> Tower:
    hub = HubFolder(folder)
    return family_of(hub)[1].load(hub, Ask("note", "text", output, length=length))


def _feeds(tower: Tower, text: str) -> dict[str, Array]:
    modality: Any = tower.modality
    ids, mask = TextPreparer(tower.files[modality.tokenizer], modality)(text)
    return {"ids": ids, "mask": mask}


def _original(folder: Path, text: str) -> tuple[Any, Any]:
    """Output of the bare model on a text, and the attention mask."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    inputs = tokenizer(text, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    is_t5 = transformers.AutoConfig.from_pretrained(folder).model_type == "t5"
    kind = transformers.T5EncoderModel if is_t5 else transformers.AutoModel
    with torch.inference_mode():
        return kind.from_pretrained(folder).eval()(**inputs), inputs["attention_mask"]


def _expected(out: Any, mask: Any, output: str) -> Array:
    if output == "pooled":
        return out.pooler_output.numpy()
    if output in POOLED:
        return POOLED[output](out.last_hidden_state, mask).numpy()
    here = mask[:, :, None].float()
    return ((out.last_hidden_state * here).sum(1) / here.sum(1)).numpy()


def _error(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max() / np.abs(a).max())


@pytest.mark.parametrize("name", BARE)
def test_every_output_is_that_of_the_original(folders: Callable[[str], Path], name: str) -> None:
    folder = folders(name)
    outputs = family_of(HubFolder(folder))[1].OUTPUTS
    originals = [_original(folder, text) for text in TEXTS]
    for output in outputs:
        tower = _tower(folder, output)
        assert tower.modality.tokens == ((LENGTH if output == "tokens" else 1), 32)
        for text, (out, mask) in zip(TEXTS, originals, strict=True):
            made = run_torch(tower.module, interfaces.encoder(tower.modality), _feeds(tower, text))
            assert _error(_expected(out, mask, output), made["embedding"]) <= 1e-5
            if output == "tokens":
                states = (out.last_hidden_state * mask[:, :, None]).numpy()
                assert _error(states, made["tokens"]) <= 1e-5
            else:
                assert (made["tokens"][:, 0] == made["embedding"]).all()


@pytest.mark.parametrize("name", ["bert", "distilbert", "mpnet", "roberta", "t5", "gpt2", "sentence-transformers",
                                  "word-vectors"])  # fmt: skip
def test_the_graph_is_the_tower(folders: Callable[[str], Path], name: str) -> None:
    tower = _tower(folders(name))
    interface = interfaces.encoder(tower.modality)
    model = to_onnx(tower.module, interface, "note")
    assert not {node.op_type for node in model.graph.node} & UNWELCOME
    run = Runner(serialise(model))
    for text in TEXTS:
        feeds = _feeds(tower, text)
        wanted, made = run_torch(tower.module, interface, feeds), run(feeds)
        if name in BARE:
            wanted["embedding"] = _expected(*_original(folders(name), text), tower_output(name))
        assert {key: _error(wanted[key], made[key]) <= 1e-4 for key in wanted} == dict.fromkeys(wanted, True)


def tower_output(name: str) -> str:
    """What a bare model gives unless asked otherwise."""
    return "last" if name == "gpt2" else "mean"


@pytest.mark.parametrize("name", ["Bert", "DistilBert", "MPNet", "Roberta", "GPT2"])
def test_a_sequence_classifier_brings_its_head(folders: Callable[[str], Path], name: str) -> None:
    folder = folders(f"{name}!")
    tower = _tower(folder)
    assert tower.classifier is not None
    assert tower.classifier.labels == ("clear", "closing", "siren")
    original = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        with torch.inference_mode():
            inputs = tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt")
            wanted = original(**inputs).logits.numpy()
            _, embedding = tower.module(*map(torch.from_numpy, _feeds(tower, text).values()))
            assert _error(wanted, tower.classifier.module(embedding).numpy()) <= 1e-5
    assert _tower(folder, "mean").classifier is None


def test_a_pretraining_head_is_left_out(tmp_path: Path) -> None:
    """A hub's BERT is a masked language model without a pooler: no pooled output, but all the others."""
    config = transformers.BertConfig(vocab_size=900, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=32)  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    zoo._TOKENIZERS["Bert"]().save_pretrained(tmp_path)
    assert _tower(tmp_path).modality.tokens == (1, 32)
    with pytest.raises(ChiasmError, match=r"lacks weights: found 2: pooler\.dense\.bias"):
        _tower(tmp_path, "pooled")


def test_length_is_short_unless_asked(folders: Callable[[str], Path], tmp_path: Path) -> None:
    hub = HubFolder(folders("bert"))
    load = family_of(hub)[1].load
    modality: Any = load(hub, Ask("note", "text")).modality
    assert modality.length == 64, "the model's own limit"
    hub = HubFolder(folders("t5"))
    modality = family_of(hub)[1].load(hub, Ask("note", "text", rate_hz=3.0, max_age_s=9.0)).modality
    assert (modality.length, modality.rate_hz, modality.max_age_s) == (128, 3.0, 9.0)


@pytest.mark.parametrize(
    ("name", "ask", "words"),
    [
        ("bert", Ask("note", "text", "patch"), "found patch, expected one of mean, class, pooled, tokens"),
        ("distilbert", Ask("note", "text", "pooled"), "expected one of mean, class, tokens"),
        ("roberta", Ask("note", "text", length=65), "found length 65, expected 2 to 64 tokens"),
        ("gpt2", Ask("note", "text", length=1), "found length 1, expected 2 to 64 tokens"),
        ("sentence-transformers", Ask("note", "text", length=60), "found length 60, expected at most 48 tokens"),
    ],
)  # fmt: skip
def test_what_a_family_cannot_give(folders: Callable[[str], Path], name: str, ask: Ask, words: str) -> None:
    hub = HubFolder(folders(name))
    with pytest.raises(ChiasmError) as caught:
        family_of(hub)[1].load(hub, ask)
    assert words in str(caught.value)
