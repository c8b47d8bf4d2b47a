"""HuBERT (Hsu et al., 2021): the encoder of wav2vec 2.0, trained on hidden units."""

from __future__ import annotations

from ..hub import HubFolder
from . import Ask, Kind, Tower

__all__ = ["KINDS", "MODEL_TYPES", "OUTPUTS", "load"]

MODEL_TYPES = ("hubert",)
KINDS: tuple[Kind, ...] = ("audio",)
OUTPUTS = ("mean", "tokens")
"""The mean over time, or a token for every 20 ms. A classification head reads the mean."""


def load(folder: HubFolder, ask: Ask) -> Tower:
    """HubertModel, or …ForSequenceClassification with its head; the heads of other tasks are left out."""
    from transformers import HubertForSequenceClassification, HubertModel

    from ._speech import load_speech

    return load_speech(folder, ask, HubertModel, HubertForSequenceClassification, "hubert")
