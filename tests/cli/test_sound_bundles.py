"""Public sound checkpoints all the way: `chiasm export FOLDER`, then `chiasm run` on files of other sample rates."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="exporting starts from torch modules (pip install 'chiasm[export]')")
pytest.importorskip("transformers", reason="the models are those of transformers")
pytest.importorskip("av", reason="sound of another sample rate is converted by PyAV")

import chiasm as package
import torch
import transformers
from chiasm.bench.zoo import audio, pairs_audio

ZOO = audio.MODELS | pairs_audio.MODELS


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for name in ("clap-htsat-unfused", "wav2vec2-large-lv60"):
        ZOO[name].make(folder / name, "tiny")
    return folder


def _wav(path: Path, rate: int, seconds: float) -> Path:
    time = np.arange(int(rate * seconds)) / rate
    samples = 0.4 * np.sin(2 * np.pi * (300 * time + 200 * time**2))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def _tone(rate: int, seconds: float) -> Any:
    time = np.arange(int(rate * seconds), dtype=np.float32) / rate
    return (0.4 * np.sin(2 * np.pi * 500 * time)).astype(np.float32)


def _unit(x: torch.Tensor) -> Any:
    return torch.nn.functional.normalize(x, dim=-1)[0].numpy()


def test_clap_from_the_hub_to_a_stream(chiasm: Callable, checkpoints: Path, tmp_path: Path) -> None:
    """48 kHz, and words; the bundle's embeddings are those of the model."""
    source, bundle = checkpoints / "clap-htsat-unfused", tmp_path / "clap.chiasm"
    outcome = chiasm("export", source, "--out", bundle, "--precision", "fp32")
    assert outcome.code == 0, outcome.err
    assert "No captures were given" in outcome.out
    report = json.loads((bundle / "verify.json").read_text())
    assert all(part["variants"]["fp32"]["outputs"]["tokens"]["max_relative_error"] <= 1e-4
               for name, part in report["parts"].items() if name in ("audio", "text"))  # fmt: skip
    outcome = chiasm("run", bundle, "--audio", _wav(tmp_path / "a.wav", 44100, 1.2), "--text", "a siren", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    *results, last = map(json.loads, outcome.out.splitlines())
    assert len(results) >= 10
    assert last["summary"]["encoded"] == {"audio": len(results), "text": 1}
    model = transformers.ClapModel.from_pretrained(source).eval()
    processor = transformers.ClapProcessor.from_pretrained(source)
    sound = _tone(48000, 0.7)
    with package.load(bundle) as pipeline, torch.inference_mode():
        made = pipeline.encode(audio=sound, text="rain today")
        heard = processor(audio=sound, sampling_rate=48000, return_tensors="pt")
        read = processor(text=["rain today"], return_tensors="pt")
        wanted = {
            "audio": _unit(model.audio_projection(model.audio_model(**heard).pooler_output)),
            "text": _unit(model.text_projection(model.text_model(**read).pooler_output)),
        }
    for name, vector in wanted.items():
        assert np.abs(made[name] - vector).max() <= 1e-4


def test_an_encoder_with_a_mask_runs_on_a_short_sound(chiasm: Callable, checkpoints: Path, tmp_path: Path) -> None:
    source, bundle = checkpoints / "wav2vec2-large-lv60", tmp_path / "speech.chiasm"
    assert chiasm("export", source, "--out", bundle, "--precision", "fp32").code == 0
    outcome = chiasm("run", bundle, "--audio", _wav(tmp_path / "a.wav", 8000, 0.4), "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert len(outcome.out.splitlines()) >= 4
    extractor = transformers.AutoFeatureExtractor.from_pretrained(source)
    model = transformers.Wav2Vec2Model.from_pretrained(source).eval()
    sound = _tone(16000, 0.4)
    settings = {"padding": "max_length", "max_length": 16000}
    with package.load(bundle) as pipeline, torch.inference_mode():
        made = pipeline.encode(audio=sound)["audio"]
        hidden = model(**extractor(sound, sampling_rate=16000, return_tensors="pt", **settings)).last_hidden_state
    count = int(model._get_feat_extract_output_lengths(torch.tensor(len(sound))))
    assert np.abs(made - _unit(hidden[:, :count].mean(dim=1))).max() <= 1e-4
