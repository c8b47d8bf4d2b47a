"""What tensors are like: sampled where they are large, exact at their ends, held no longer than needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export import ranges
from chiasm.export.ranges import _prime, observe, peaks, survey
from chiasm.runtime.errors import ExportError
from graphs import model, normal, perceptron, residual


def _wide(size: int = 4096) -> Any:
    """x (1, 4, S) → 3x, then a bend → y."""
    return model([("Mul", "x c", "m"), ("Tanh", "m", "y")], {"c": np.float32(3)}, {"x": (1, 4, size)},
                 {"y": (1, 4, size)})  # fmt: skip


def test_a_sample_of_a_large_tensor_gives_nearly_the_range_of_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = [{"x": normal(seed, 1, 4, 4096)} for seed in range(3)]
    whole = observe(_wide(), ["m", "x"], feeds)
    monkeypatch.setattr(ranges, "_MOST", 3000)
    monkeypatch.setattr(ranges, "_FEWEST", 3000)
    sampled = observe(_wide(), ["m", "x"], feeds)
    assert sampled["m"] == pytest.approx(whole["m"], rel=0.2)


def test_the_ends_of_a_sampled_tensor_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """One value of 16 384 reaches far: a sample would not meet it, but it must not be a surprise."""
    x = np.zeros((1, 4, 4096), np.float32)
    x[0, 1, 77] = 50.0
    monkeypatch.setattr(ranges, "_MOST", 100)
    monkeypatch.setattr(ranges, "_FEWEST", 100)
    seen = ranges._Watch(_wide(), ["m"], ranges.Shelf(), {"m": 1})({"x": x})["m"]
    assert (seen.low, seen.high) == (0.0, 150.0)
    assert 50 <= len(seen.values) <= 100
    np.testing.assert_allclose(seen.squares, [0, 150.0**2 / 4096, 0, 0])
    with pytest.raises(ExportError, match="not finite"):
        observe(_wide(), ["m"], [{"x": np.full((1, 4, 4096), np.inf, np.float32)}])


def test_values_that_are_too_many_to_hold_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = [{"x": normal(seed, 1, 3, 8, 8)} for seed in range(4)]
    held = survey(residual(), ["x", "c0", "r0"], feeds)
    monkeypatch.setattr(ranges, "_HELD", 4)
    monkeypatch.setattr(ranges, "_FEWEST", 2**18)
    assert survey(residual(), ["x", "c0", "r0"], feeds) == held


def test_noise_is_what_256_levels_cost() -> None:
    """Uniform values: step²/12 over a third of the square of the range."""
    x = np.linspace(0, 1, 4 * 4096, dtype=np.float32).reshape(1, 4, 4096)
    seen = survey(_wide(), ["x"], [{"x": x}])["x"]
    assert seen.noise == pytest.approx((1 / 255) ** 2 / 12, rel=0.01)
    assert seen.dynamic == pytest.approx(seen.noise)
    outlier = x.copy()
    outlier[0, 0, 0] = 20.0
    far = survey(_wide(), ["x"], [{"x": outlier}])["x"]
    assert far.noise < far.dynamic


def test_channels_are_the_same_from_a_sample_and_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = [{"x": normal(seed, 1, 3, 8, 8)} for seed in range(3)]
    axes = {"x": 1, "c0": -3}
    whole = survey(residual(), ["x", "c0"], feeds, axes=axes)
    expected = np.mean([np.square(each["x"]).mean(axis=(0, 2, 3)) for each in feeds], axis=0)
    np.testing.assert_allclose(whole["x"].channels, expected, rtol=1e-5)
    monkeypatch.setattr(ranges, "_MOST", 16)
    monkeypatch.setattr(ranges, "_FEWEST", 16)
    sampled = survey(residual(), ["x", "c0"], feeds, axes=axes)
    np.testing.assert_allclose(sampled["c0"].channels, whole["c0"].channels, rtol=1e-4)


def test_peaks_are_the_largest_magnitudes_of_every_tensor() -> None:
    feeds = [{"x": normal(seed, 1, 4, 32)} for seed in range(3)]
    found = peaks(perceptron(), feeds)
    assert set(found) == {"m1", "a1", "r1", "m2", "y"}
    assert found["r1"] <= found["a1"]
    far = peaks(_wide(), [{"x": np.full((1, 4, 4096), 1e38, np.float32)}])
    assert far["m"] == pytest.approx(3e38, rel=1e-6)
    beyond = peaks(_wide(), [{"x": np.full((1, 4, 4096), 2e38, np.float32)}])
    assert beyond["m"] == float("inf")


def test_steps_are_prime() -> None:
    assert [_prime(least) for least in (1, 2, 4, 9, 24, 90)] == [2, 2, 5, 11, 29, 97]
