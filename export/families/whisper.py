"""The encoder of Whisper (Radford et al., 2022) over the log-mel of 30 s, or of what its extractor says.

The encoder takes no other length: `seconds` is how much of a sound is looked at, and zeros stand behind it, as the
extractor pads. A window costs the same however short it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..extractors import extractor_of, sound_fields
from ..hub import HubFolder
from . import Ask, Classifier, Kind, Tower
from ._sound import answer, architecture, check_features, layer_weights, modality, plain, tower

__all__ = ["KINDS", "MODEL_TYPES", "OUTPUTS", "load"]

MODEL_TYPES = ("whisper",)
KINDS: tuple[Kind, ...] = ("audio",)
OUTPUTS = ("mean", "tokens")
"""The mean over time, which a classification head reads, or a token for every 20 ms."""


class WhisperTower(nn.Module):
    """features (1, mels, frames) → tokens and embedding. `layers`: shares of all layers, None: the last one alone."""

    def __init__(self, encoder: Any, output: str, layers: Tensor | None) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output
        self.layers: Tensor | None
        self.register_buffer("layers", layers, persistent=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        encoder: Any = self.encoder
        hidden = torch.nn.functional.gelu(encoder.conv1(features))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2) + encoder.embed_positions.weight
        states = [hidden]
        for layer in encoder.layers:
            states.append(layer(states[-1], None))
        states[-1] = encoder.layer_norm(states[-1])
        tokens = states[-1]
        if self.layers is not None:
            tokens = (torch.stack(states, dim=1) * self.layers.view(-1, 1, 1)).sum(dim=1)
        return answer(tokens, self.output)


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder of WhisperModel (the decoder is left out), or WhisperForAudioClassification with its head."""
    from transformers import WhisperForAudioClassification, WhisperModel

    output = ask.chosen(OUTPUTS)
    made = modality(ask, sound_fields(*extractor_of(folder, "WhisperFeatureExtractor"), seconds=ask.seconds))
    classes = architecture(folder) == "WhisperForAudioClassification"
    loaded: Any = folder.load(WhisperForAudioClassification if classes else WhisperModel, unused=("proj_out.",))
    encoder = plain(loaded).encoder
    shape = (1, encoder.config.num_mel_bins, 2 * encoder.config.max_source_positions)
    check_features(folder, made, shape, "num_mel_bins and max_source_positions")
    classifier = None
    if classes:
        classifier = Classifier(nn.Sequential(loaded.projector, loaded.classifier).eval(), folder.labels)
    return tower(WhisperTower(encoder, output, layer_weights(loaded) if classes else None), made, classifier)
