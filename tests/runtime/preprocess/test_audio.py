"""Sound → waveform window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.runtime.errors import InputError
from chiasm.runtime.manifest import AudioModality
from chiasm.runtime.preprocess.audio import waveform_tensor

EAR = AudioModality(
    name="ear", part="ear", rate_hz=10.0, max_age_s=1.0, tokens=(8, 128), sample_rate=16000, samples=100
)


def sound(size: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(2).uniform(-1, 1, size).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("size", [1, 99, 100, 101, 1000])
def test_last_samples_with_zeros_before(size: int, dtype: Any) -> None:
    wave = sound(size, dtype)
    out = waveform_tensor(wave, 16000, EAR)
    assert out.shape == (1, 100)
    assert out.dtype == np.float32
    kept = min(size, 100)
    assert (out[0, : 100 - kept] == 0).all()
    assert (out[0, 100 - kept :] == wave[-kept:].astype(np.float32)).all()


def test_buffer_is_written_whole() -> None:
    out = np.full((1, 100), 9.0, np.float32)
    assert waveform_tensor(sound(30), None, EAR, out=out) is out
    assert (out == waveform_tensor(sound(30), None, EAR)).all()


def test_a_little_overshoot_is_fine() -> None:
    wave = sound(100)
    wave[3] = 1.4
    assert waveform_tensor(wave, None, EAR).max() == np.float32(1.4)


def test_only_the_window_is_judged() -> None:
    wave = sound(200)
    wave[:100] = np.nan
    assert np.isfinite(waveform_tensor(wave, None, EAR)).all()


def spoiled(value: float) -> np.ndarray[Any, Any]:
    wave = sound(100)
    wave[50] = value
    return wave


@pytest.mark.parametrize(
    ("wave", "rate", "words"),
    [
        ((sound(100) * 30000).astype(np.int16), 16000, "astype(np.float32) / 32768"),
        ((sound(100) * 100).astype(np.int8), 16000, "/ 128"),
        (sound(100) * np.float32(30000), 16000, "divide it by 32768"),
        (np.stack([sound(100)] * 2, axis=1), 16000, "waveform.mean(axis=1)"),
        (np.stack([sound(100)] * 2), 16000, "waveform.mean(axis=0)"),
        (sound(100), 44100, "found 44100 Hz, expected 16000 Hz. Resample"),
        (sound(0), 16000, "ear is empty"),
        (spoiled(np.nan), 16000, "NaN or infinite samples: found 1 of 100"),
        (spoiled(np.inf), 16000, "NaN or infinite samples"),
        (spoiled(-1.6), 16000, "outside the range"),
        (np.float32(0.5), 16000, "not one channel"),
        (sound(100).astype(np.complex64), 16000, "not an array of numbers"),
        ("bell.wav", 16000, "found str"),
    ],
)
def test_what_is_no_waveform(wave: Any, rate: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        waveform_tensor(wave, rate, EAR)
    assert words in str(caught.value)
