"""Names in a traced graph: those that are promised, short ones for the rest, and never one for two tensors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export package's extra")

from chiasm.export.interfaces import Interface
from chiasm.export.model import as_model
from chiasm.export.sessions import Runner
from chiasm.export.shelf import Shelf
from chiasm.export.to_onnx import _clean
from chiasm.runtime.values import TensorSpec
from graphs import model, normal


def test_a_folded_constant_is_not_taken_for_a_result() -> None:
    """The optimiser calls a folded constant relu_1; the second node, a Relu, must not get that name too."""
    lines = [("Mul", "in_x relu_1", "a"), ("Relu", "a", "b"), ("Add", "b relu_1", "out_y")]
    traced = as_model(model(lines, {"relu_1": normal(1, 4)}, {"in_x": (1, 4)}, {"out_y": (1, 4)}))
    interface = Interface("encoder", (TensorSpec("x", "float32", (1, 4)),), ("y",))
    x, constant = normal(2, 1, 4), normal(1, 4)
    made = Runner(Shelf().keep(_clean(traced, interface, "part")))({"x": x})["y"]
    np.testing.assert_allclose(made, np.maximum(x * constant, 0) + constant, rtol=1e-6)
