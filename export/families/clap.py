"""CLAP (Wu et al., 2023): sound and text in one space; the sound through HTSAT, a Swin transformer over a mel image.

The modules are those of transformers. Around them is written out what has no place in a static graph: the bicubic
stretch of the mel becomes four gathers with constant weights, batch normalisation a product and a sum, and the fusion
of a long sound's crops runs always, because the extractor marks a sound that comes alone as long, whatever its length.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from ...runtime.manifest import AudioModality
from ...runtime.mel import sound_shape
from ..extractors import extractor_of, sound_fields
from ..hub import HubFolder
from . import Ask, Kind, Similarity, Tower
from ._pairs import BLOCKED, WORDS, Reading, must_have, text_tower
from ._sound import answer, check_features, modality, plain, tower
from ._words import read_words

__all__ = ["KINDS", "MODEL_TYPES", "OUTPUTS", "load"]

MODEL_TYPES = ("clap",)
KINDS: tuple[Kind, ...] = ("audio", "text")
OUTPUTS = ("pooled", "class", "mean", "tokens")
"""`pooled`: the vector in the shared space; of a sound also `mean`, before the projection, and `tokens`."""
_HEARD = ("pooled", "mean", "tokens")
_LENGTH = 77
"""Tokens of a text unless asked otherwise: what CLAP was trained with."""


class Stretch(nn.Module):
    """Cubic convolution (Keys, 1981; a = −0.75) along one axis, first and last place kept: what torch's bicubic
    interpolation with aligned corners does where the other axis keeps its size. Places are in FP32, as there: their
    last digits show in what a jump of many decibels becomes."""

    def __init__(self, source: int, target: int, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.index: Tensor
        self.weights: Tensor
        place = torch.arange(target, dtype=torch.float32) * ((source - 1) / max(target - 1, 1))
        low = place.floor()
        share = place - low
        index = low.to(torch.int64)[None] + torch.arange(-1, 3)[:, None]
        self.register_buffer("index", index.clamp(0, source - 1), persistent=False)
        weights = torch.stack([_far(share + 1), _near(share), _near(1 - share), _far(2 - share)])
        shape = [-1 if each == axis else 1 for each in range(4)]
        self.register_buffer("weights", weights.reshape(4, *shape), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        taps = [torch.index_select(x, self.axis, self.index[tap]) * self.weights[tap] for tap in range(4)]
        return taps[0] + taps[1] + taps[2] + taps[3]


def _near(x: Tensor, a: float = -0.75) -> Tensor:
    return ((a + 2) * x - (a + 3)) * x * x + 1


def _far(x: Tensor, a: float = -0.75) -> Tensor:
    return ((x - 5) * x + 8) * a * x - 4 * a


def _as_it_is(hidden: Tensor, height: int, width: int) -> tuple[Tensor, tuple[int, ...]]:
    """In place of a block's padding where its windows fit: padding by nothing would stay in the graph."""
    return hidden, (0, 0, 0, 0, 0, 0)


class ClapSound(nn.Module):
    """features (1, 1 or 4, frames, mels) → tokens and embedding. `frames`: how many the extractor makes."""

    def __init__(self, model: Any, output: str, frames: int) -> None:
        super().__init__()
        self.encoder, self.projection = model.audio_model.audio_encoder, model.audio_projection
        self.output = output
        self.scale: Tensor
        self.shift: Tensor
        encoder = self.encoder
        norm = encoder.batch_norm
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.register_buffer("scale", scale.detach(), persistent=False)
        self.register_buffer("shift", (norm.bias - norm.running_mean * scale).detach(), persistent=False)
        ratio, side, mels = encoder.freq_ratio, encoder.spec_size, encoder.config.num_mel_bins
        width, height = int(side * ratio), side // ratio
        self.wide = Stretch(frames, width, 2) if frames < width else nn.Identity()
        self.high = Stretch(mels, height, 3) if mels < height else nn.Identity()
        for stage, size in zip(encoder.layers, encoder.input_resolutions, strict=True):
            for block in stage.blocks:
                if all(each % min(block.window_size, *size) == 0 for each in size):
                    block.maybe_pad = _as_it_is

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = self.high(self.wide(features * self.scale + self.shift))
        hidden = self._patches(self._as_image(x))
        encoder = self.encoder
        for layer, size in zip(encoder.layers, encoder.input_resolutions, strict=True):
            hidden = layer(hidden, size)[0]
        tokens, mean = answer(self._in_order(encoder.norm(hidden)), self.output)
        if self.output == "pooled":
            mean = self.projection(mean)
            return mean[:, None], mean
        return tokens, mean

    def _as_image(self, x: Tensor) -> Tensor:
        """(1, C, time, mels) → (1, C, side, side): time cut into `freq_ratio` strips, which lie one above the other."""
        ratio = self.encoder.freq_ratio
        batch, channels, time, mels = x.shape
        strips = x.reshape(batch, channels, ratio, time // ratio, mels).transpose(3, 4)
        return strips.reshape(batch, channels, ratio * mels, time // ratio)

    def _patches(self, image: Tensor) -> Tensor:
        patch = self.encoder.patch_embed
        hidden = patch.proj(image[:, :1] if patch.enable_fusion else image)
        if patch.enable_fusion:
            crops = patch.mel_conv2d(image[0, 1:, None])
            beside = torch.cat((crops[0:1], crops[1:2], crops[2:3]), dim=-1)
            hidden = patch.fusion_model(hidden, nn.functional.pad(beside, (0, hidden.shape[-1] - beside.shape[-1])))
        return cast(Tensor, patch.norm(hidden.flatten(2).transpose(1, 2)))

    def _in_order(self, hidden: Tensor) -> Tensor:
        """(1, N, D): the strips one behind the other again, as the model's last hidden state has them."""
        if self.output != "tokens":
            return hidden
        encoder = self.encoder
        rows, columns = (size // 2 ** (len(encoder.depths) - 1) for size in encoder.patch_embed.grid_size)
        bins = rows // encoder.freq_ratio
        batch, _, width = hidden.shape
        strips = hidden.reshape(batch, rows // bins, bins, columns, width)
        return strips.transpose(1, 2).reshape(batch, rows * columns, width)


class ClapText(Reading):
    """RoBERTa; its first state through the pooler, and from there into the shared space."""

    masked = True

    def __init__(self, model: Any, output: str) -> None:
        super().__init__(model.text_model, output)
        self.projection = model.text_projection

    def states(self, ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        assert mask is not None
        model: Any = self.model
        first = model.embeddings.padding_idx + 1
        places = torch.arange(first, first + ids.shape[1])[None]
        there = (1.0 - mask.to(torch.float32))[:, None, None, :] * BLOCKED
        made = model(input_ids=ids, attention_mask=there, position_ids=places, token_type_ids=torch.zeros_like(ids))
        return made.last_hidden_state, made.pooler_output

    def project(self, state: Tensor) -> Tensor:
        return cast(Tensor, self.projection(state))


def load(folder: HubFolder, ask: Ask) -> Tower:
    """One tower of a ClapModel. The scale of the space is that of a sound among texts (`logit_scale_a`)."""
    must_have(folder, ask, KINDS)
    from transformers import ClapModel

    output = ask.chosen(_HEARD if ask.kind == "audio" else WORDS)
    made = None
    if ask.kind == "audio":
        made = modality(ask, sound_fields(*extractor_of(folder, "ClapFeatureExtractor"), seconds=ask.seconds))
    model: Any = plain(folder.load(ClapModel, unused=("text_model.embeddings.position_ids",)))
    space: dict[str, Any] = {"shared": None, "similarity": None}
    if output == "pooled" or (output == "tokens" and ask.kind == "text"):
        space = {"shared": "clap", "similarity": Similarity(scale=math.exp(float(model.logit_scale_a.detach())))}
    if made is None:
        limit = model.config.text_config.max_position_embeddings - model.text_model.embeddings.padding_idx - 1
        asked = replace(ask, length=ask.length or min(_LENGTH, limit))
        return text_tower(folder, asked, ClapText(model, output), read_words(folder), limit, **space)
    frames = _check(folder, made, model.config.audio_config)
    return tower(ClapSound(model, output, frames), made, **space)


def _check(folder: HubFolder, made: AudioModality, config: Any) -> int:
    """How many frames the extractor makes; `CheckpointError` unless they are what the encoder takes."""
    frames = sound_shape(made)[2] if made.crops else 0
    shape = (1, 4 if config.enable_fusion else 1, frames, config.num_mel_bins)
    check_features(folder, made, shape, "enable_fusion and num_mel_bins")
    width = config.spec_size * (config.spec_size // config.num_mel_bins)
    if frames > width:
        raise CheckpointError(
            f"The feature extractor of {folder.path} does not fit its model", found=f"{frames} frames",
            expected=f"at most {width}, by spec_size in config.json",
        )  # fmt: skip
    return frames
