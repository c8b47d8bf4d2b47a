"""Graphs that peers run: dynamic INT8 stays near FP32, and each is made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from chiasm.bench.peers import eager, plain_ort_int8
from chiasm.bench.peers.parts import graph, input_names
from chiasm.bench.peers.race import agreement
from chiasm.bench.peers.works import WORKS, captures

WORK = WORKS["vit-b32"]


def test_dynamic_int8_answers_nearly_as_fp32(place: Path) -> None:
    truth, other = eager.open_racer(WORK, place, 1), plain_ort_int8.open_racer(WORK, place, 1)
    found = agreement([other], captures(WORK, 3, "tiny"), truth)[other.name]
    assert 0.99 <= found["cosine"] < 1.0
    before = graph(WORK, "image", place).stat().st_mtime_ns
    assert graph(WORK, "image", place).stat().st_mtime_ns == before


def test_openvino_answers_as_fp32(place: Path) -> None:
    pytest.importorskip("openvino")
    from chiasm.bench.peers import with_openvino

    truth, other = eager.open_racer(WORK, place, 1), with_openvino.open_racer(WORK, place, 1)
    assert agreement([other], captures(WORK, 2, "tiny"), truth)[other.name]["agrees"]


def test_inputs_are_named_in_order() -> None:
    assert input_names(WORKS["fused"], "text") == ("input_ids", "attention_mask")
    assert input_names(WORKS["fused"], "head") == ("image", "text", "audio")
