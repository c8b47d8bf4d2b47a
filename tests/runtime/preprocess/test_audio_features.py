"""The features of sound against the extractors of transformers, on twenty sounds of odd lengths each."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="some extractors of transformers compute with it")
pytest.importorskip("transformers", reason="its extractors are the reference")

import transformers
from chiasm.export.extractors import sound_fields
from chiasm.runtime.manifest import AudioModality
from chiasm.runtime.mel import sound_shape
from chiasm.runtime.preprocess.audio import waveform_tensor
from chiasm.runtime.preprocess.features import mel_tensor
from chiasm.runtime.values import Array

LIMIT = 1e-4
"""Of full scale: the span of the reference's values."""


def sounds(rate: int, length: int, count: int = 20) -> Iterator[Array]:
    """Noise, tones, chirps, clicks, and sound after silence; from one frame to well beyond the model's length."""
    draw = np.random.default_rng(5)
    sizes = [401, 1023, rate // 3 + 1, length - 1, length, length + 1, length + 479, length + 481, int(length * 1.7)]
    sizes += [int(size) for size in draw.integers(401, int(length * 1.5), count - len(sizes))]
    makers: list[Callable[[Array], Array]] = [
        lambda time: draw.standard_normal(len(time)) * 0.1,
        lambda time: 0.9 * np.sin(2 * np.pi * 440 * time),
        lambda time: 0.3 * np.sin(2 * np.pi * (200 * time + 900 * time**2)) + draw.standard_normal(len(time)) * 1e-3,
        lambda time: draw.uniform(-1, 1, len(time)) * (draw.random(len(time)) < 0.01),
        lambda time: np.where(time < time[-1] / 2, 0.0, draw.standard_normal(len(time)) * 0.2),
    ]
    for index, size in enumerate(sizes):
        yield np.clip(makers[index % 5](np.arange(size) / rate), -1, 1).astype(np.float32)


def modality(extractor: Any, seconds: float | None = None) -> AudioModality:
    fields = sound_fields(json.loads(extractor.to_json_string()), "preprocessor_config.json", seconds)
    return AudioModality(name="ear", part="ear", rate_hz=1.0, max_age_s=None, tokens=(1, 1), **fields)


def difference(
    extractor: Any, seconds: float | None = None, reference: Callable[[Array], Array] | None = None
) -> float:
    """The largest over all sounds, each cut to its window as the runtime cuts it."""
    ear = modality(extractor, seconds)
    shape, worst = sound_shape(ear), 0.0
    settings: dict[str, Any] = {"sampling_rate": ear.sample_rate, "return_tensors": "np"}
    if ear.mel is None:
        settings |= {"padding": "max_length", "max_length": ear.samples, "truncation": True}
    for sound in sounds(ear.sample_rate, ear.length or ear.samples):
        given = extractor(sound[-ear.samples :], **settings)
        wanted = np.asarray(given.get("input_features", given.get("input_values")))
        if reference is not None:
            wanted = reference(sound[-ear.samples :])
        mask = np.zeros(shape, np.int64) if ear.mask else None
        made = waveform_tensor(sound, None, ear, mask=mask) if ear.mel is None else mel_tensor(sound, None, ear)
        assert made.shape == wanted.shape == shape
        assert made.dtype == np.float32
        worst = max(worst, float(np.abs(made - wanted).max() / (wanted.max() - wanted.min() or 1.0)))
        if mask is not None:
            assert (mask == given["attention_mask"]).all()
    return worst


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_wav2vec2(normalise: bool, mask: bool) -> None:
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=mask)
    assert difference(extractor) == 0.0
    assert difference(extractor, seconds=0.31) == 0.0


@pytest.mark.parametrize(("mels", "seconds"), [(80, 2), (128, 3)])
def test_whisper(mels: int, seconds: int) -> None:
    """The class computes in single precision, which shows beneath a pure tone; its NumPy twin does not."""
    extractor = transformers.WhisperFeatureExtractor(feature_size=mels, chunk_length=seconds)

    def double(sound: Array) -> Array:
        padded = np.pad(sound, (0, seconds * 16000 - len(sound)))
        return np.asarray(extractor._np_extract_fbank_features([padded], "cpu"))

    assert difference(extractor) <= LIMIT
    assert difference(extractor, reference=double) <= 1e-6


def test_whisper_at_its_published_length() -> None:
    extractor = transformers.WhisperFeatureExtractor()
    ear = modality(extractor)
    assert sound_shape(ear) == (1, 80, 3000)
    for sound in sounds(16000, 480000, 10):
        wanted = extractor(sound[-480000:], sampling_rate=16000, return_tensors="np").input_features
        assert np.abs(mel_tensor(sound, None, ear) - wanted).max() <= LIMIT * (wanted.max() - wanted.min())


@pytest.mark.parametrize("settings", [{}, {"num_mel_bins": 64, "max_length": 128, "do_normalize": False}], ids=str)
def test_ast(settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the published front end has a filter without a bin, and its class says so
        extractor = transformers.ASTFeatureExtractor(**settings)
    assert difference(extractor) <= 1e-6
    assert difference(extractor, seconds=0.5) <= 1e-6


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_clap(truncation: str, padding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the class draws by chance is the newest part here; with fusion, the middle of each third."""
    monkeypatch.setattr(np.random, "randint", lambda low, high: high - 1)
    monkeypatch.setattr(np.random, "choice", lambda starts: starts[len(starts) // 2])
    extractor = transformers.ClapFeatureExtractor(
        truncation=truncation, padding=padding, max_length_s=1, frequency_min=50
    )
    assert difference(extractor) <= 1e-6
    if truncation == "fusion":
        assert difference(extractor, seconds=1.6) <= LIMIT  # the squeeze is in single precision there


def test_clap_at_its_published_length() -> None:
    extractor = transformers.ClapFeatureExtractor()
    ear = modality(extractor)
    assert sound_shape(ear) == (1, 4, 1001, 64)
    sound = next(sounds(48000, 480000))
    wanted = extractor(sound, sampling_rate=48000, return_tensors="np").input_features
    assert np.abs(mel_tensor(sound, None, ear) - wanted).max() <= 1e-6 * (wanted.max() - wanted.min())
