"""A CNN over a mel spectrogram: our own audio encoder, its front end in the runtime instead of in the graph.

    config.json                {"model_type": "mel_cnn", "mels": 40, "channels": [80, 96, 112], "width": 128}, and
                               "id2label" where there is a classification head over the mean of the tokens
    preprocessor_config.json   feature_extractor_type "MelSpec": see `export/extractors.py`
    model.safetensors          the tensors of `AudioEncoder`, and classifier.weight and .bias

A CNN of another build is a module of the user's own, named in the recipe with the same description of its features.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from ...runtime.mel import sound_shape
from ..extractors import extractor_of, sound_fields
from ..hub import HubFolder
from ..modules.encoders import AudioEncoder
from ..weights import load_weights
from . import Ask, Classifier, Kind, Tower
from ._sound import check_features, modality, tower

__all__ = ["KINDS", "MODEL_TYPES", "OUTPUTS", "load"]

MODEL_TYPES = ("mel_cnn",)
KINDS: tuple[Kind, ...] = ("audio",)
OUTPUTS = ("tokens", "pooled")
"""A token for every few frames, whose mean a classification head reads; the embedding as the only token."""


class MelCnn(nn.Module):
    """features (1, mels, frames) → tokens and embedding."""

    def __init__(self, encoder: AudioEncoder, output: str) -> None:
        super().__init__()
        self.encoder, self.output = encoder, output

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        tokens, embedding = self.encoder.from_mel(features)
        return tokens if self.output == "tokens" else embedding[:, None], embedding


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder, with its head if it has labels."""
    output = ask.chosen(OUTPUTS)
    made = modality(ask, sound_fields(*extractor_of(folder, "MelSpec"), seconds=ask.seconds))
    encoder, mels = _build(folder)
    check_features(folder, made, (1, mels, sound_shape(made)[-1]), "mels")
    whole: Any = nn.Module()
    for name, module in encoder.named_children():
        whole.add_module(name, module)
    if folder.labels:
        whole.classifier = nn.Linear(encoder.readout.embed.out_features, len(folder.labels))
    _fill(folder, whole)
    classifier = Classifier(whole.classifier, folder.labels) if folder.labels and output == "tokens" else None
    return tower(MelCnn(encoder.eval(), output), made, classifier)


def _build(folder: HubFolder) -> tuple[AudioEncoder, int]:
    """The encoder without weights, and its number of mels."""
    config = folder.config
    try:
        channels, mels = tuple(int(each) for each in config["channels"]), int(config["mels"])
        return AudioEncoder((channels[0], channels[1], channels[2]), int(config["width"]), mels), mels
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"The CNN of {folder.path} cannot be built from config.json", found=f"{type(error).__name__}: {error}",
            expected="mels, width, and three channels",
        ) from error  # fmt: skip


def _fill(folder: HubFolder, module: nn.Module) -> None:
    """Weights from the file: all of them, and no others."""
    folder.check_weights()
    load_weights(module, folder.path / "model.safetensors", str(folder.path))
    module.float().eval()
