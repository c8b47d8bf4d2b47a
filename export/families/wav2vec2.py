"""wav2vec 2.0 (Baevski et al., 2020): the raw waveform, a window of one second unless `seconds` asks for another."""

from __future__ import annotations

from ..hub import HubFolder
from . import Ask, Kind, Tower

__all__ = ["KINDS", "MODEL_TYPES", "OUTPUTS", "load"]

MODEL_TYPES = ("wav2vec2",)
KINDS: tuple[Kind, ...] = ("audio",)
OUTPUTS = ("mean", "tokens")
"""The mean over time, or a token for every 20 ms. A classification head reads the mean."""


def load(folder: HubFolder, ask: Ask) -> Tower:
    """Wav2Vec2Model, or …ForSequenceClassification with its head; the heads of other tasks are left out."""
    from transformers import Wav2Vec2ForSequenceClassification, Wav2Vec2Model

    from ._speech import load_speech

    return load_speech(folder, ask, Wav2Vec2Model, Wav2Vec2ForSequenceClassification, "wav2vec2")
