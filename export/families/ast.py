"""Audio Spectrogram Transformer (Gong et al., 2021): a ViT over Kaldi's filter bank, 10.24 s at a time.

Its first two tokens, of class and of distillation, are read together. A sound is looked at for as long as the model is,
or for its last `seconds`; frames of zero stand behind a shorter one, as in training.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..extractors import extractor_of, sound_fields
from ..hub import HubFolder
from . import Ask, Classifier, Kind, Tower
from ._sound import answer, architecture, check_features, modality, plain, tower

__all__ = ["KINDS", "MODEL_TYPES", "OUTPUTS", "load"]

MODEL_TYPES = ("audio-spectrogram-transformer",)
KINDS: tuple[Kind, ...] = ("audio",)
OUTPUTS = ("pooled", "mean", "tokens")
"""The mean of the class and distillation tokens, which a classification head reads; the mean of the patches; them."""


class AstEncoder(nn.Module):
    """features (1, frames, mels) → tokens and embedding."""

    def __init__(self, model: Any, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.model(features).last_hidden_state
        return answer(hidden[:, :2] if self.output == "pooled" else hidden[:, 2:], self.output)


def load(folder: HubFolder, ask: Ask) -> Tower:
    """ASTModel, or ASTForAudioClassification with its head."""
    from transformers import ASTForAudioClassification, ASTModel

    output = ask.chosen(OUTPUTS)
    made = modality(ask, sound_fields(*extractor_of(folder, "ASTFeatureExtractor"), seconds=ask.seconds))
    classes = architecture(folder) == "ASTForAudioClassification"
    loaded: Any = folder.load(ASTForAudioClassification if classes else ASTModel)
    model = plain(loaded.audio_spectrogram_transformer if classes else loaded)
    shape = (1, model.config.max_length, model.config.num_mel_bins)
    check_features(folder, made, shape, "max_length and num_mel_bins")
    classifier = None
    if classes and output == "pooled":
        classifier = Classifier(loaded.classifier.eval(), folder.labels)
    return tower(AstEncoder(model, output), made, classifier)
