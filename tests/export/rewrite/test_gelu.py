"""GELU by its formula with tanh."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.graphs import serialise
from chiasm.export.rewrite.gelu import gelu_by_tanh
from chiasm.export.sessions import Runner
from graphs import model
from rewriting import rewritten


def test_the_two_formulas_are_close_everywhere_and_not_the_same() -> None:
    whole = model([("Gelu", "x", "y")], {}, {"x": (1, 20001)}, {"y": (1, 20001)})
    made, count = rewritten(whole, gelu_by_tanh)
    x = np.linspace(-10, 10, 20001, dtype=np.float32)[None]
    apart = np.abs(Runner(serialise(made))({"x": x})["y"] - Runner(serialise(whole))({"x": x})["y"]).max()
    assert count == 1
    assert 4e-4 < apart < 4.8e-4


def test_one_that_is_by_tanh_already_is_left_alone() -> None:
    whole = model([("Gelu", "x", "y", {"approximate": "tanh"})], {}, {"x": (1, 4)}, {"y": (1, 4)})
    assert rewritten(whole, gelu_by_tanh)[1] == 0
