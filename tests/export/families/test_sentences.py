"""Chains of sentence-transformers, word vectors, and folders that cannot be read."""

from __future__ import annotations

import json
import shutil
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
from chiasm.export.families import Ask, Tower, families, family_of
from chiasm.export.hub import HubFolder
from chiasm.runtime.errors import ChiasmError
from chiasm.runtime.preprocess.text import TextPreparer
from chiasm.runtime.values import Array

LENGTH = 24
TEXT = "Rue fermée à gauche; автобус едет медленно"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of transformer, pooling, dense layer and normalisation."""
    folder = tmp_path_factory.mktemp("hub") / "chain"
    zoo.MODELS["sentence-transformers"].make(folder, "tiny")
    return folder


@pytest.fixture
def copy(chain: Path, tmp_path: Path) -> Path:
    """One that a test may change."""
    return Path(shutil.copytree(chain, tmp_path / "chain"))


def _tower(path: Path, output: str | None = None) -> Tower:
    hub = HubFolder(path)
    return family_of(hub)[1].load(hub, Ask("note", "text", output, length=LENGTH))


def _run(tower: Tower, text: str) -> tuple[Array, Array]:
    modality: Any = tower.modality
    feeds = TextPreparer(tower.files[modality.tokenizer], modality)(text)
    with torch.inference_mode():
        tokens, embedding = tower.module(*map(torch.from_numpy, feeds))
    return tokens.numpy(), embedding.numpy()


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _states(folder: Path, text: str) -> Array:
    """Hidden states (n, D) of the tokens of a text, by transformers."""
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        return transformers.AutoModel.from_pretrained(folder).eval()(**inputs).last_hidden_state[0].numpy()


REFERENCE: dict[str, Callable[[Array], Array]] = {
    "pooling_mode_cls_token": lambda x: x[0],
    "pooling_mode_max_tokens": lambda x: x.max(0),
    "pooling_mode_mean_tokens": lambda x: x.mean(0),
    "pooling_mode_mean_sqrt_len_tokens": lambda x: x.sum(0) / np.sqrt(len(x)),
    "pooling_mode_weightedmean_tokens": lambda x: np.average(x, 0, np.arange(1, len(x) + 1)),
    "pooling_mode_lasttoken": lambda x: x[-1],
}
"""Key of the pooling's config → what it means, in the order in which several are joined."""


def test_the_whole_chain(chain: Path) -> None:
    from safetensors.numpy import load_file

    layer = load_file(chain / "2_Dense" / "model.safetensors")
    made = np.tanh(_states(chain, TEXT).mean(0) @ layer["linear.weight"].T + layer["linear.bias"])
    tower = _tower(chain)
    tokens, embedding = _run(tower, TEXT)
    assert tower.modality.tokens == (1, 16)
    assert np.abs(embedding[0] - made / np.linalg.norm(made)).max() <= 1e-6
    assert (tokens[0, 0] == embedding[0]).all()
    each = _tower(chain, "tokens")
    assert each.modality.tokens == (LENGTH, 32)
    assert np.abs(_run(each, TEXT)[0][0, :3] - _states(chain, TEXT)[:3]).max() <= 1e-5


@pytest.mark.parametrize("keys", [[key] for key in REFERENCE] + [list(REFERENCE)], ids=lambda keys: str(len(keys)))
def test_every_pooling(copy: Path, keys: list[str]) -> None:
    (copy / "modules.json").write_text(json.dumps(json.loads((copy / "modules.json").read_text())[:2]))
    _edit(copy / "1_Pooling" / "config.json", **{key: key in keys for key in REFERENCE})
    tower = _tower(copy)
    wanted = np.concatenate([REFERENCE[key](_states(copy, TEXT)) for key in keys])
    assert tower.modality.tokens == (1, 32 * len(keys))
    assert np.abs(_run(tower, TEXT)[1][0] - wanted).max() <= 1e-5


def test_the_newer_word_for_pooling_and_the_older_places(copy: Path) -> None:
    """Poolings are named by one word since 2025; the transformer had a folder of its own before 2020."""
    before = _run(_tower(copy), TEXT)[1]
    (copy / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 32, "pooling_mode": "mean"}')
    inner = copy / "0_Transformer"
    inner.mkdir()
    for path in [each for each in copy.iterdir() if each.is_file() and each.name != "modules.json"]:
        path.rename(inner / path.name)
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (copy / "modules.json").write_text(json.dumps(modules))
    assert (_run(_tower(copy), TEXT)[1] == before).all()


def test_small_letters_where_the_chain_says_so(copy: Path) -> None:
    _edit(copy / "tokenizer_config.json", do_lower_case=False)
    assert (_run(_tower(copy), "RUE")[1] != _run(_tower(copy), "rue")[1]).any()
    _edit(copy / "sentence_bert_config.json", do_lower_case=True)
    assert (_run(_tower(copy), "RUE")[1] == _run(_tower(copy), "rue")[1]).all()


def test_beside_sentence_transformers_itself(chain: Path) -> None:
    package = pytest.importorskip("sentence_transformers", reason="only a machine that has it can compare")
    wanted = package.SentenceTransformer(str(chain), device="cpu").encode([TEXT])[0]
    assert np.abs(_run(_tower(chain), TEXT)[1][0] - wanted).max() <= 1e-6


@pytest.mark.parametrize("head", ["", "6 3\n"], ids=["GloVe", "word2vec"])
def test_word_vectors(tmp_path: Path, head: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(head + "red 1 0 0\nbus 0 1 0\nd'or 0 0 9\n. . . 0 0 1\nred 5 5 5\n, 0 0 0.5 \n", "utf-8")
    for place in (tmp_path, path):
        tower = _tower(place)
        assert tower.modality.tokens == (1, 3)
        assert _run(tower, "Red BUS")[1].tolist() == [[0.5, 0.5, 0.0]]
        assert _run(tower, "red, zebra, bus")[1].tolist() == [[0.25, 0.25, 0.25]], "an unknown word does not count"
        assert _run(tower, "zebra")[1].tolist() == [[0.0, 0.0, 0.0]]
    tokens = _run(_tower(tmp_path, "tokens"), "red zebra bus")[0]
    assert tokens[0, :4].tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_word_vectors_with_capitals_and_an_unknown_word_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "vectors.vec"
    path.write_text("Bus 1 0\nbus 0 1\n<unk> 4 4\n", "utf-8")
    tower = _tower(path)
    assert _run(tower, "Bus")[1].tolist() == [[1, 0]]
    assert _run(tower, "bus zebra")[1].tolist() == [[2, 2.5]], "its vector stands for every unknown word"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("red 1 2\nbus 3\n", "found 1 numbers, expected a word and 2 numbers"),
        ("red 1 2\nbus 3 4\nleft 1\n", "Line 3 of"),
        ("red 1 2\nbus 3 4\nleft 1 x\n", "is no word vector"),
        ("red 1 2\nbus 3 nan\n", "numbers that are not finite"),
    ],
)
def test_what_is_no_file_of_vectors(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(text)
    with pytest.raises(ChiasmError) as caught:
        _tower(path)
    assert words in str(caught.value)


def _no_modules(folder: Path) -> None:
    (folder / "modules.json").unlink()


def _weights(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        _no_modules(folder)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return edit


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickles only": (_pickled, "in a format that can run code, which chiasm never opens: found pytorch_model.bin"),
    "no weights": (lambda path: (path / "model.safetensors").unlink(), "has no weights: expected model.safetensors"),
    "missing tensor": (_weights(lambda each: each.pop("encoder.layer.0.output.dense.bias")),
                       "lacks weights: found 1: encoder.layer.0.output.dense.bias"),
    "unexpected tensor": (_weights(lambda each: each.update(adapter=torch.zeros(2))),
                          "has weights that its model has no place for: found 1: adapter"),
    "wrong shape": (_weights(lambda each: each.update({"embeddings.LayerNorm.bias": torch.zeros(7)})),
                    "embeddings.LayerNorm.bias"),
    "no tokenizer.json": (lambda path: (path / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "broken tokenizer": (lambda path: (path / "tokenizer.json").write_text("{}"), "cannot be read"),
    "remote code": (lambda path: _edit(path / "config.json", auto_map={"AutoModel": "x.Y"}),
                    "asks for code of its own to be run: found auto_map in config.json"),
    "remote tokenizer": (lambda path: _edit(path / "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}),
                         "asks for code of its own to be run: found auto_map in tokenizer_config.json"),
    "unknown family": (lambda path: (_no_modules(path), _edit(path / "config.json", model_type="distilbart")),
                       "found model_type 'distilbart', expected one of"),
    "unknown module": (lambda path: (path / "modules.json").write_text('[{"type": "x.CLIPModel", "path": "0_CLIP"}]'),
                       "found CLIPModel, expected Transformer, Pooling, then any of Dense, Normalize, Dropout."),
    "broken modules": (lambda path: (path / "modules.json").write_text('{"a": 1}'), "is not a list of modules"),
    "a way out": (lambda path: (path / "modules.json").write_text((path / "modules.json").read_text().replace(
        "2_Dense", "../2_Dense")), "names a place outside the folder: found '../2_Dense'"),
    "unknown pooling": (lambda path: _edit(path / "1_Pooling" / "config.json", pooling_mode=["mean", "median"]),
                        "pools in a way that chiasm does not know: found median, expected cls, max, mean"),
    "unknown activation": (lambda path: _edit(path / "2_Dense" / "config.json", activation_function="os.system"),
                           "is not a dense layer that chiasm reads"),
    "dense pickles": (lambda path: (path / "2_Dense" / "model.safetensors").rename(
        path / "2_Dense" / "pytorch_model.bin"), "in a format that can run code"),
    "a prompt": (lambda path: (path / "config_sentence_transformers.json").write_text(
        '{"prompts": {"query": "query: "}, "default_prompt_name": "query"}'), "puts a prompt before every text"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_one_line(copy: Path, case: str) -> None:
    spoil, words = BAD[case]
    spoil(copy)
    with pytest.raises(ChiasmError) as caught:
        _tower(copy)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_nearest_family_is_named(copy: Path) -> None:
    _no_modules(copy)
    _edit(copy / "config.json", model_type="distil-bert")
    with pytest.raises(ChiasmError, match="Did you mean distilbert"):
        _tower(copy)


def test_every_family_is_what_a_family_has() -> None:
    for name, family in families().items():
        assert family.MODEL_TYPES, name
        assert set(family.KINDS) <= {"image", "audio", "text", "series"}
        assert len(set(family.OUTPUTS)) == len(family.OUTPUTS) > 0
        assert callable(family.load)
