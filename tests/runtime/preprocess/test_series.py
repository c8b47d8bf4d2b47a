"""Sensor rows → window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.runtime.errors import InputError
from chiasm.runtime.manifest import SeriesModality
from chiasm.runtime.preprocess.series import series_tensor

ECHO = SeriesModality(
    name="echo", part="echo", rate_hz=20.0, max_age_s=0.5, tokens=(8, 128), frames=6, channels=4, sample_rate=20.0,
    mean=0.5, std=2.0,
)  # fmt: skip


def rows(count: int, channels: int = 4, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).normal(size=(count, channels)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 5, 6, 7, 50])
def test_last_rows_normalised_with_zeros_before(count: int, dtype: Any) -> None:
    series = rows(count, dtype=dtype)
    out = series_tensor(series, ECHO)
    assert out.shape == (1, 6, 4)
    assert out.dtype == np.float32
    kept = min(count, 6)
    assert (out[0, : 6 - kept] == 0).all()
    assert np.allclose(out[0, 6 - kept :], (series[-kept:].astype(np.float64) - 0.5) / 2.0, rtol=1e-3, atol=1e-3)


def test_exact_in_float32() -> None:
    series = rows(6)
    assert (series_tensor(series, ECHO)[0] == (series - np.float32(0.5)) / np.float32(2.0)).all()


def test_buffer_is_written_whole() -> None:
    out = np.full((1, 6, 4), 9.0, np.float32)
    assert series_tensor(rows(2), ECHO, out=out) is out
    assert (out == series_tensor(rows(2), ECHO)).all()


def test_input_is_not_changed() -> None:
    series = rows(6)
    series.flags.writeable = False
    series_tensor(series, ECHO)
    assert (series == rows(6)).all()


def test_rate_that_fits() -> None:
    series_tensor(rows(6), ECHO, sample_rate=20)


def spoiled(value: float) -> np.ndarray[Any, Any]:
    series = rows(6)
    series[2, 1] = value
    return series


@pytest.mark.parametrize(
    ("series", "rate", "words"),
    [
        (rows(6, 5), None, "wrong shape: found float32 of shape (6, 5), expected float32 of shape (T, 4)"),
        (rows(9, 4).T, None, "series.T"),
        (rows(6)[None], None, "series[0]"),
        (rows(1)[0], None, "series.reshape(-1, 4)"),
        (rows(6).astype(np.int32), None, "series.astype(np.float32)"),
        (rows(0), None, "echo is empty"),
        (rows(6), 25.0, "found 25 Hz, expected 20 Hz"),
        (spoiled(np.nan), None, "NaN or infinite values: found 1 of 24"),
        (spoiled(-np.inf), None, "NaN or infinite"),
        (np.full((6, 4), 1e300), None, "found 24 of 24"),  # does not fit float32
        ("radar.npz", None, "found str"),
    ],
)
def test_what_is_no_series(series: Any, rate: float | None, words: str) -> None:
    with pytest.raises(InputError) as caught:
        series_tensor(series, ECHO, sample_rate=rate)
    assert words in str(caught.value)
