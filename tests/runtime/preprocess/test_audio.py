"""Sound → waveform window."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from chiasm.runtime.errors import InputError
from chiasm.runtime.manifest import AudioModality, Mel
from chiasm.runtime.mel import sound_shape
from chiasm.runtime.preprocess.audio import waveform_tensor
from chiasm.runtime.preprocess.features import mel_tensor
from hypothesis import given
from hypothesis import strategies as st

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


def ear(**fields: Any) -> AudioModality:
    return msgspec.structs.replace(EAR, **fields)


@given(size=st.integers(1, 100), pad=st.sampled_from(["before", "after", "repeat", "repeat-whole"]))
def test_padding(size: int, pad: Any) -> None:
    wave = sound(size)
    out = np.full((1, 130), 9.0, np.float32)
    waveform_tensor(wave, None, ear(length=130, pad=pad), out=out)
    expected = {
        "before": lambda: np.pad(wave, (130 - size, 0)),
        "after": lambda: np.pad(wave, (0, 130 - size)),
        "repeat": lambda: np.resize(wave, 130),
        "repeat-whole": lambda: np.pad(np.tile(wave, 130 // size), (0, 130 % size)),
    }[pad]()
    assert (out[0] == expected).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_zero_mean_and_unit_variance(dtype: Any) -> None:
    wave = sound(60, dtype) * np.dtype(dtype).type(0.1) + np.dtype(dtype).type(0.3)
    whole = waveform_tensor(wave, None, ear(pad="after", normalise="length"))
    assert whole.dtype == np.float32
    assert whole.mean() == pytest.approx(0.0, abs=1e-6)
    assert whole.std() == pytest.approx(1.0, abs=1e-4)
    assert (whole[0, 60:] == whole[0, 60]).all()
    assert whole[0, 60] < 0
    alone = waveform_tensor(wave, None, ear(pad="after", normalise="sound"))
    assert alone[0, :60].mean() == pytest.approx(0.0, abs=1e-6)
    assert alone[0, :60].std() == pytest.approx(1.0, abs=1e-4)
    assert not alone[0, 60:].any()


def test_silence_stays_silence() -> None:
    assert not waveform_tensor(np.zeros(100, np.float32), None, ear(normalise="length")).any()


def test_the_mask_is_written_whole() -> None:
    mask = np.full((1, 100), 7, np.int64)
    waveform_tensor(sound(30), None, ear(pad="after", mask=True), mask=mask)
    assert mask[0].tolist() == [1] * 30 + [0] * 70
    waveform_tensor(sound(300), None, ear(pad="after", mask=True), mask=mask)
    assert mask.all()


MEL = Mel(frame_length=20, hop=10, fft_size=20, n_mels=4, centre=False, mean=-3.0, std=2.0)


@pytest.mark.parametrize("layout", ["frames-first", "mels-first"])
def test_frames_of_zero_behind_a_short_sound(layout: Any) -> None:
    """They are zero before mean and std, as the extractor of AST pads."""
    modality = ear(mel=msgspec.structs.replace(MEL, layout=layout), pad="frames", length=120)
    assert sound_shape(modality) == ((1, 11, 4) if layout == "frames-first" else (1, 4, 11))
    out = np.full(sound_shape(modality), 9.0, np.float32)
    mel_tensor(sound(45), None, modality, out=out)
    frames = out[0] if layout == "frames-first" else out[0].T
    assert (frames[3:] == 1.5).all()
    whole = mel_tensor(sound(45), None, ear(mel=MEL, samples=45))
    assert (frames[:3] == whole[0]).all()
    mel_tensor(sound(19), None, modality, out=out)
    assert (out == 1.5).all()


def test_crops_of_a_long_sound() -> None:
    """The middle of each third of where a crop can begin; all of it squeezed comes first."""
    modality = ear(mel=MEL, crops=4, samples=400, length=100)
    assert sound_shape(modality) == (1, 4, 9, 4)
    wave = sound(320)
    frames = mel_tensor(wave, None, ear(mel=MEL, samples=320))[0]
    assert len(frames) == 31
    made = mel_tensor(wave, None, modality)[0]
    for crop, start in zip(made[1:], (4, 12, 19), strict=True):
        assert (crop == frames[start : start + 9]).all()
    place = (np.arange(9) + 0.5) * 31 / 9 - 0.5
    for mel in range(4):
        expected = np.interp(place, np.arange(31), frames[:, mel])
        np.testing.assert_allclose(made[0][:, mel], expected, atol=1e-5)


def test_a_sound_as_long_as_the_model_or_a_little_longer_is_there_four_times() -> None:
    modality = ear(mel=MEL, crops=4, samples=400, length=100)
    for size in (40, 100, 109):
        made = mel_tensor(sound(size), None, modality)[0]
        assert all((made[index] == made[0]).all() for index in range(4))


def test_features_are_refused_what_the_waveform_is() -> None:
    with pytest.raises(InputError, match="NaN or infinite samples"):
        mel_tensor(spoiled(np.nan), None, ear(mel=MEL))
    with pytest.raises(InputError, match="found 8000 Hz, expected 16000 Hz"):
        mel_tensor(sound(100), 8000, ear(mel=MEL))
