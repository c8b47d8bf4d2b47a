"""Instance normalisations inside the weights of thin convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.rewrite.moments import normalise_by_moments
from graphs import model, normal
from rewriting import farthest, kinds, rewritten

SIZE = 400


def _layer(taps: int = 10, step: int = 5, channels: int = 64, taken: int = 1, *, tail: Any = None, **more: Any) -> Any:
    """x (2, C, T) → conv with a bias, reshape to the same shape, normalisation, GELU → y."""
    pads = more.get("pads", [0, 0])
    apart = more.get("dilations", [1])[0]
    length = (SIZE + sum(pads) - (taps - 1) * apart - 1) // step + 1
    lines = [
        ("Conv", "x w b", "m", {"strides": [step], **more}), ("Reshape", "m shape", "n"),
        ("InstanceNormalization", "n g h", "o", {"epsilon": 1e-5}), *(tail or [("Gelu", "o", "y")]),
    ]  # fmt: skip
    constants = {
        "w": normal(1, channels, taken, taps), "b": normal(2, channels), "shape": np.array([0, channels, -1]),
        "g": normal(3, channels), "h": normal(4, channels),
    }  # fmt: skip
    return model(lines, constants, {"x": (2, taken, SIZE)}, {"y": (2, channels, length)})


@pytest.mark.parametrize(
    ("taps", "step", "taken", "more"),
    [(10, 5, 1, {}), (3, 1, 2, {"pads": [1, 1]}), (4, 3, 3, {"dilations": [2]}), (1, 1, 1, {})],
)
def test_the_answers_are_the_same(taps: int, step: int, taken: int, more: dict[str, Any]) -> None:
    whole = _layer(taps, step, taken=taken, **more)
    made, count = rewritten(whole, normalise_by_moments)
    assert count == 1
    assert "InstanceNormalization" not in kinds(made)
    assert kinds(made)[-2:] == ["Gelu", "Transpose"]
    assert farthest(whole, made, {"x": normal(5, 2, taken, SIZE)}) < 1e-5


def test_a_low_sound_whose_windows_hardly_differ_is_normalised_as_well() -> None:
    """Nearly all of wᵀ Cov w cancels out for weights that sum to nought."""
    whole = _layer(10, 5)
    weight = normal(1, 64, 1, 10)
    weight -= weight.mean(axis=2, keepdims=True)
    whole.graph.initializer[0].raw_data = weight.tobytes()
    made, _ = rewritten(whole, normalise_by_moments)
    sound = np.sin(2 * np.pi * 60 * np.arange(SIZE) / 16000 + np.arange(2)[:, None])[:, None].astype(np.float32)
    assert farthest(whole, made, {"x": sound}) < 1e-4


@pytest.mark.parametrize(
    "whole",
    [
        _layer(16),  # a wide window
        _layer(10, channels=32),  # the windows are not small beside the result
        _layer(tail=[("Add", "o m", "y")]),  # another reader of what is not normalised
        model(
            [("Conv", "x w", "m", {"group": 2}), ("InstanceNormalization", "m g g", "y")],
            {"w": normal(1, 64, 1, 4), "g": normal(2, 64)}, {"x": (1, 2, 9)}, {"y": (1, 64, 6)},
        ),  # groups
        model([("Conv", "x w", "y")], {"w": normal(1, 64, 1, 4)}, {"x": (1, 1, 9)}, {"y": (1, 64, 6)}),
    ],
)  # fmt: skip
def test_others_are_left_alone(whole: Any) -> None:
    assert rewritten(whole, normalise_by_moments)[1] == 0
