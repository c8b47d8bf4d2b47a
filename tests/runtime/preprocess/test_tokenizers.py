"""Token ids and masks beside those of transformers: each kind of tokenizer, a thousand strings in many scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="the tokenizers are compared with its own")

from chiasm.bench.zoo import tokenizers, words
from chiasm.export.families import Ask
from chiasm.export.families._words import Words, modality, read_words
from chiasm.export.hub import HubFolder
from chiasm.runtime.preprocess.text import TextPreparer

KINDS = ("bert", "mpnet", "gpt2", "roberta", "clip", "t5", "xlm_roberta")
LENGTH = 32
STRINGS = words.strings(1000)


def _folder(path: Path, kind: str) -> HubFolder:
    getattr(tokenizers, kind)().save_pretrained(path)
    (path / "config.json").write_text(f'{{"model_type": "{kind.replace("_", "-")}"}}')
    return HubFolder(path)


def _theirs(folder: Path, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **settings)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    made = tokenizer(STRINGS, padding="max_length", truncation=True, max_length=LENGTH)
    return np.array(made["input_ids"]), np.array(made["attention_mask"])


def _ours(read: Words) -> tuple[np.ndarray, np.ndarray]:
    prepare = TextPreparer(read.file, modality(Ask("note", "text"), read, LENGTH, (1, 8)))
    made = [[array[0].copy() for array in prepare(text)] for text in STRINGS]
    return np.array([ids for ids, _ in made]), np.array([mask for _, mask in made])


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_masks_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    ours, theirs = _ours(read_words(_folder(tmp_path, kind))), _theirs(tmp_path)
    assert len(STRINGS) == 1000
    assert 0.1 < theirs[1].all(axis=1).mean() < 0.9, "some strings are cut, some are filled up"
    assert (ours[0] == theirs[0]).all()
    assert (ours[1] == theirs[1]).all()


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_sides_of_padding_and_cutting(tmp_path: Path, kind: str) -> None:
    folder = _folder(tmp_path, kind)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": "left", "truncation_side": "left"}))
    read = read_words(folder)
    assert (read.padding, read.truncation) == ("left", "left")
    ours, theirs = _ours(read), _theirs(tmp_path)
    assert (ours[0] == theirs[0]).all()
    assert (ours[1] == theirs[1]).all()
    assert not theirs[1][:, 0].all()
    assert theirs[1][:, -1].all()


def test_what_tokenizer_config_says_counts(tmp_path: Path) -> None:
    """transformers builds its tokenizer anew; the file alone would give other ids."""
    folder = _folder(tmp_path, "bert")
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": False}))
    read = read_words(folder)
    assert (_ours(read)[0] == _theirs(tmp_path)[0]).all()
    plain = Words((tmp_path / "tokenizer.json").read_bytes(), 0, "right", "right", None)
    assert (_ours(plain)[0] != _theirs(tmp_path)[0]).any()
