"""Words → tokens."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from bundles import tokenizer_json
from chiasm.runtime.errors import BundleError, InputError
from chiasm.runtime.manifest import TextModality
from chiasm.runtime.preprocess.text import TextPreparer
from tokenizers import Tokenizer

NOTE = TextModality(
    name="note",
    part="note",
    rate_hz=1.0,
    max_age_s=None,
    tokens=(8, 128),
    tokenizer="tokenizer.json",
    length=8,
    pad_id=7,
)


@pytest.fixture(scope="module")
def prepare() -> TextPreparer:
    return TextPreparer(tokenizer_json(), NOTE)


def test_ids_mask_and_padding(prepare: TextPreparer) -> None:
    ids, mask = prepare("The road is clear")
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape == mask.shape == (1, 8)
    known = Tokenizer.from_str(tokenizer_json().decode()).encode("The road is clear").ids
    assert ids[0].tolist() == known + [7] * (8 - len(known))
    assert mask[0].tolist() == [1] * len(known) + [0] * (8 - len(known))


def test_long_text_is_cut_and_keeps_its_special_tokens(prepare: TextPreparer) -> None:
    ids, mask = prepare("road " * 50)
    assert mask.all()
    assert ids[0, 0] == 1  # [CLS]
    assert len(set(ids[0, 1:].tolist())) == 1


def test_a_short_text_after_a_long_one_leaves_nothing_behind(prepare: TextPreparer) -> None:
    first = [array.copy() for array in prepare("road")]
    prepare("road " * 50)
    second = prepare("road")
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_cutting_and_padding_of_the_file_are_ignored() -> None:
    document = json.loads(tokenizer_json())
    document["truncation"] = {"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    document["padding"] = {
        "strategy": {"Fixed": 20}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip
    changed = TextPreparer(json.dumps(document).encode(), NOTE)("The road is clear")
    plain = TextPreparer(tokenizer_json(), NOTE)("The road is clear")
    assert all((a == b).all() for a, b in zip(changed, plain, strict=True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "note is empty"),
        (" \n\t ", "note is empty"),
        (b"road", "found bytes, expected str"),
        (None, "found NoneType"),
        (["road"], "found list"),
        ("\ud800", "cannot be tokenised"),
    ],
)
def test_what_is_no_text(prepare: TextPreparer, text: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        prepare(text)
    assert words in str(caught.value)


def test_text_without_a_known_token() -> None:
    document = json.loads(tokenizer_json())
    document["post_processor"] = None
    document["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "[^a-z]+"},
        "behavior": "Removed",
        "invert": False,
    }
    prepare = TextPreparer(json.dumps(document).encode(), NOTE)
    assert prepare("road")[1].sum() == 1
    with pytest.raises(InputError, match="no token"):
        prepare("123 456")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"not json", tokenizer_json()[:200]])
def test_what_is_no_tokenizer(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot be used"):
        TextPreparer(data, NOTE)


def test_length_too_short_for_the_special_tokens() -> None:
    prepare = TextPreparer(tokenizer_json(), msgspec.structs.replace(NOTE, length=1))
    assert prepare("road")[0].tolist() == [[1]]
