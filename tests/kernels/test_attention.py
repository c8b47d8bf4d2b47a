"""Attention: from C++ in every instruction set what NumPy gives in float64, but for rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import reference
from kernel_twins import instruction_sets, using

Array = np.ndarray[Any, Any]


def _close(out: Array, expected: Array, queries: Array, keys: Array, values: Array, scale: float) -> None:
    """A result is a mean of values. Scores are rounded, by their size, and a score's error is its share's relative one:
    2e-6 of the largest value, and one rounding more for each of the largest score."""
    largest = scale * np.linalg.norm(queries, axis=-1).max() * np.linalg.norm(keys, axis=-1).max()
    assert np.abs(out - expected).max() <= (2e-6 + 1.2e-7 * largest) * np.abs(values).max()


@pytest.mark.parametrize("name", instruction_sets())
def test_compiled_is_the_reference(name: str) -> None:
    """1,000 random ones: sharp and flat softmaxes, masks that hide keys softly, nearly, and for good."""
    with using(name) as compiled:
        for seed in range(1000):
            rng = np.random.default_rng(seed)
            batch, heads, eighths = (int(n) for n in rng.integers(1, [3, 4, 9]))
            rows, keys = (int(n) for n in rng.integers(1, [10, 70]))
            queries, known, values = (
                (rng.normal(0, 10 ** rng.uniform(-2, 0.5), (batch, length, heads * 8 * eighths))).astype(np.float32)
                for length in (rows, keys, keys)
            )
            mask = None
            if seed % 2:
                hidden = (-1.0, -1e4, np.finfo(np.float32).min, -np.inf)[seed // 2 % 4]
                mask = np.where(rng.random((batch, heads, rows, keys)) < 0.3, hidden, 0).astype(np.float32)
                mask[..., 0] = 0  # a row of which all is hidden has no answer
            out, expected = np.empty_like(queries), np.empty_like(queries)
            scale = float(rng.uniform(0.05, 1))
            compiled.attention(queries, known, values, mask, heads, scale, out, seed % 3 + 1)
            reference.attention(queries, known, values, mask, heads, scale, expected, 1)
            _close(out, expected, queries, known, values, scale)


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("shape", [(50, 50, 12, 64), (197, 197, 4, 64), (300, 77, 2, 40), (1, 577, 2, 32)])
def test_the_sizes_of_networks(name: str, shape: tuple[int, int, int, int]) -> None:
    rows, keys, heads, depth = shape
    rng = np.random.default_rng(3)
    queries, known, values = (
        rng.normal(0, 1, (1, length, heads * depth)).astype(np.float32) for length in (rows, keys, keys)
    )
    out, expected = np.empty_like(queries), np.empty_like(queries)
    reference.attention(queries, known, values, None, heads, depth**-0.5, expected, 1)
    with using(name) as compiled:
        for threads in (1, 3):
            out.fill(np.nan)
            compiled.attention(queries, known, values, None, heads, depth**-0.5, out, threads)
            _close(out, expected, queries, known, values, depth**-0.5)


@pytest.mark.parametrize("name", instruction_sets())
def test_scores_of_any_size_stay_finite(name: str) -> None:
    """The largest score of a row is taken off before the exponential."""
    queries = np.full((1, 2, 8), 30.0, np.float32)
    keys = np.stack([np.full(8, 30.0), np.full(8, -30.0)]).astype(np.float32)[None]
    values = np.stack([np.full(8, 2.0), np.full(8, 5.0)]).astype(np.float32)[None]
    out = np.empty_like(queries)
    with using(name) as compiled:
        compiled.attention(queries, keys, values, None, 1, 1.0, out, 1)
    np.testing.assert_array_equal(out, np.full_like(out, 2.0))


@pytest.mark.parametrize("name", instruction_sets())
def test_what_does_not_fit_is_refused(name: str) -> None:
    good = {"queries": np.zeros((1, 3, 16), np.float32), "keys": np.zeros((1, 5, 16), np.float32)}
    good |= {"values": good["keys"].copy(), "mask": np.zeros((1, 2, 3, 5), np.float32), "out": good["queries"].copy()}
    bad: list[dict[str, Any]] = [
        {"heads": 0}, {"heads": 3}, {"heads": 4}, {"keys": np.zeros((1, 4, 16), np.float32)},
        {"keys": np.zeros((1, 0, 16), np.float32), "values": np.zeros((1, 0, 16), np.float32)},
        {"out": np.zeros((1, 2, 16), np.float32)}, {"mask": np.zeros((1, 2, 3, 4), np.float32)},
    ]  # fmt: skip
    with using(name) as compiled:
        compiled.attention(**good, heads=2, scale=1.0, threads=1)
        for change in bad:
            with pytest.raises(ValueError, match="not fit"):
                compiled.attention(**{**good, "heads": 2, "scale": 1.0, "threads": 1, **change})
