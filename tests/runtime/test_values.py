"""Values are frozen, and a result turns into plain JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from chiasm.runtime.values import Generation, Packet, Result, Snapshot


def _result() -> Result:
    snapshot = Snapshot(1.5, {"text": Packet("text", "hello", 1.0)}, {"text": 0.5})
    unit = np.array([0.6, 0.8], np.float32)
    scores = {"hazard": {"clear": 0.25, "siren": 0.75}}
    return Result(1.5, unit, {"text": unit}, scores, {"hazard": "siren"}, {"text": 1.0}, {"text": 0.5},
                  {"total": 0.001}, ("text",), snapshot)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (Packet("text", "hello"), "data"),
        (Snapshot(0.0, {}, {}), "time_s"),
        (_result(), "labels"),
        (Generation(1, 4, np.zeros((8, 8, 8), np.float32)), "step"),
    ],
)
def test_values_are_frozen(value: object, field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(value, field, None)


def test_a_result_is_plain_json() -> None:
    document = json.loads(json.dumps(_result().to_dict()))
    assert document["labels"] == {"hazard": "siren"}
    assert document["scores"]["hazard"] == {"clear": 0.25, "siren": 0.75}
    assert document["encoded"] == ["text"]
    assert "embedding" not in document


def test_the_embedding_comes_when_asked_for() -> None:
    document = json.loads(json.dumps(_result().to_dict(embedding=True)))
    assert document["embedding"] == pytest.approx([0.6, 0.8])


def test_present_is_what_has_an_age() -> None:
    assert _result().present == ("text",)
