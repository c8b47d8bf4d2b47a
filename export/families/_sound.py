"""What the sound families share: the modality of a tower, its tokens, and models made ready to be traced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...runtime.errors import CheckpointError
from ...runtime.manifest import AudioModality
from ...runtime.mel import sound_shape
from ..hub import HubFolder
from . import Ask, Classifier, Similarity, Tower

__all__ = ["answer", "architecture", "check_features", "layer_weights", "modality", "plain", "tower"]

_RATE_HZ = 2.0


def modality(ask: Ask, fields: Mapping[str, Any], tokens: tuple[int, int] = (1, 1)) -> AudioModality:
    """The modality of an encoder; `fields` are those of `export/extractors.py`.

    Unless the recipe says otherwise it is heard twice a second.
    """
    return AudioModality(
        name=ask.name, part=ask.name, rate_hz=ask.rate_hz or _RATE_HZ, max_age_s=ask.max_age_s, tokens=tokens, **fields
    )


def tower(
    module: nn.Module,
    made: AudioModality,
    classifier: Classifier | None = None,
    shared: str | None = None,
    similarity: Similarity | None = None,
) -> Tower:
    """The tower of a module in eval mode; its tokens are counted by running it once."""
    shape = sound_shape(made)
    feeds = [torch.zeros(shape)] + ([torch.ones(shape, dtype=torch.int64)] if made.mask else [])
    with torch.inference_mode():
        tokens = module.eval()(*feeds)[0]
    made = msgspec.structs.replace(made, tokens=(tokens.shape[1], tokens.shape[2]))
    return Tower(module, made, classifier=classifier, shared=shared, similarity=similarity)


def architecture(folder: HubFolder) -> str:
    """The class that wrote the checkpoint; empty where config.json does not say."""
    return str((folder.config.get("architectures") or [""])[0])


def check_features(folder: HubFolder, made: AudioModality, shape: tuple[int, ...], keys: str) -> None:
    """`CheckpointError` unless the extractor makes a mel spectrogram of `shape`, as `keys` of config.json ask."""
    found = sound_shape(made)
    if made.mel is None or found != shape:
        raise CheckpointError(
            f"The feature extractor of {folder.path} does not fit its model",
            found=f"{'a waveform' if made.mel is None else 'features'} of shape {found}",
            expected=f"features of shape {shape}, by {keys} in config.json",
            fix="config.json and preprocessor_config.json must belong together",
        )


def layer_weights(model: Any) -> Tensor | None:
    """The shares of all layers in what a classification head reads; None where it reads the last one."""
    if not model.config.use_weighted_layer_sum:
        return None
    return torch.softmax(model.layer_weights.detach(), dim=-1)


def plain(model: Any) -> Any:
    """The model with its parametrisations (weight norm) computed into plain weights, and attention as matrix products:
    torch's fused one brings NaN guards into the graph that a mask which leaves something open never needs."""
    for module in model.modules():
        for name in list(getattr(module, "parametrizations", {})):
            parametrize.remove_parametrizations(module, name)
    model.set_attn_implementation("eager")
    return model


def answer(tokens: Tensor, output: str, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Tokens (B, N, D) → what a tower gives: all of them for "tokens", else their mean as the only one; and that mean.

    `valid` (B, N, 1): 1 for the tokens that count, 0 for the others, which are zeroed.
    """
    if valid is None:
        mean = tokens.mean(dim=1)
    else:
        tokens = tokens * valid
        mean = tokens.sum(dim=1) / valid.sum(dim=1)
    return tokens if output == "tokens" else mean[:, None], mean
