"""wav2vec 2.0 and HuBERT: the same encoder twice, over the raw waveform.

The modules are those of transformers; only the order of the work is written out, without the branches of training and
with the mask as arithmetic. Two variants: the base models normalise the first convolution over time ("group") and
each transformer layer after it; the large ones normalise every convolution and each layer before it ("layer"), and were
trained with an attention mask, which the tower then takes as a second input.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError, ExportError
from ...runtime.manifest import AudioModality
from ..extractors import extractor_of, sound_fields
from ..hub import HubFolder
from ..modules.layers import closed
from . import Ask, Classifier, Tower
from ._sound import answer, architecture, layer_weights, modality, plain, tower

__all__ = ["OUTPUTS", "load_speech"]

OUTPUTS = ("mean", "tokens")
_HEADS = {
    "ForCTC": ("lm_head.",),
    "ForPreTraining": ("quantizer.", "project_hid.", "project_q."),
    "ForAudioFrameClassification": ("classifier.", "layer_weights"),
}
"""Tensors of other tasks' heads, which an encoder has no use for."""


class SpeechEncoder(nn.Module):
    """waveform (1, samples) and, where it is given, mask (1, samples) of 0 and 1 → tokens and embedding.

    `layers`: weights of the outputs of all layers, where a classification head reads their sum; None: the last one's.
    """

    def __init__(self, model: Any, output: str, samples: int, layers: Tensor | None) -> None:
        super().__init__()
        self.model, self.output = model, output
        self.stable = bool(model.config.do_stable_layer_norm)
        self.layers: Tensor | None
        self.needed: Tensor
        self.register_buffer("layers", layers, persistent=False)
        self.register_buffer("needed", torch.tensor(_needed(model.config, samples)), persistent=False)

    def forward(self, waveform: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.model.feature_extractor(waveform).transpose(1, 2)
        projected = self.model.feature_projection(features)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        valid = mask[:, self.needed].to(hidden.dtype)[:, :, None] if mask is not None else None
        hidden = self._encode(hidden, valid)
        adapter = getattr(self.model, "adapter", None)
        if adapter is not None:
            hidden = adapter(hidden)
        return answer(hidden, self.output, valid)

    def _encode(self, hidden: Tensor, valid: Tensor | None) -> Tensor:
        encoder: Any = self.model.encoder
        bias = None
        if valid is not None:
            hidden, bias = hidden * valid, closed(valid.transpose(1, 2))[:, None]
        hidden = hidden + encoder.pos_conv_embed(hidden)
        if not self.stable:
            hidden = encoder.layer_norm(hidden)
        states = [hidden]
        for layer in encoder.layers:
            states.append(layer(states[-1], attention_mask=bias))
        if self.layers is not None:
            return torch.stack([share * state for share, state in zip(self.layers, states, strict=True)]).sum(dim=0)
        return cast(Tensor, encoder.layer_norm(states[-1])) if self.stable else states[-1]


def _steps(config: Any) -> tuple[int, int]:
    """Samples that one token sees, and samples from one to the next."""
    sees, step = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        sees, step = sees + (kernel - 1) * step, step * stride
    return sees, step


def _needed(config: Any, samples: int) -> list[int]:
    """For each token the last sample that it sees: it counts where there is sound up to that one. The first always
    counts, so that a sound shorter than its reach still has an answer."""
    sees, step = _steps(config)
    return [0, *(sees + step * token - 1 for token in range(1, 1 + (samples - sees) // step))]


def load_speech(folder: HubFolder, ask: Ask, model: Any, headed: Any, prefix: str) -> Tower:
    """The tower of a checkpoint. `model`: the bare class; `headed`: the one with a classification head, whose bare
    model is its attribute `prefix`.

    Raises `CheckpointError` for what is wrong with the folder, `ExportError` for what is asked of it in vain.
    """
    output = ask.chosen(OUTPUTS)
    made = modality(ask, sound_fields(*extractor_of(folder, "Wav2Vec2FeatureExtractor"), seconds=ask.seconds))
    classes = architecture(folder) == headed.__name__
    unused = next((each for end, each in _HEADS.items() if architecture(folder).endswith(end)), ())
    loaded: Any = folder.load(headed if classes else model, unused=unused, absent=_absent(prefix))
    bare = plain(getattr(loaded, prefix) if classes else loaded)
    _check(folder, bare.config, made)
    module = SpeechEncoder(bare, output, made.samples, layer_weights(loaded) if classes else None)
    classifier = None
    if classes and (output == "mean" or not made.mask):
        classifier = Classifier(nn.Sequential(loaded.projector, loaded.classifier).eval(), folder.labels)
    return tower(module, made, classifier)


def _absent(prefix: str) -> tuple[str, ...]:
    """The vector that stands for masked frames while training; older files lack it."""
    return ("masked_spec_embed", f"{prefix}.masked_spec_embed")


def _check(folder: HubFolder, config: Any, made: AudioModality) -> None:
    if made.mel is not None:
        raise CheckpointError(
            f"The feature extractor of {folder.path} does not fit its model", found="one that makes a mel spectrogram",
            expected="Wav2Vec2FeatureExtractor",
        )  # fmt: skip
    sees, step = _steps(config)
    if made.samples < sees + step:
        raise ExportError(
            f"The window of {made.name!r} is too short for {folder.path}", found=f"{made.samples} samples",
            expected=f"at least {sees + step}", fix="Ask for more seconds",
        )  # fmt: skip
    if made.mask and getattr(config, "add_adapter", False):
        raise CheckpointError(
            f"{folder.path} has an adapter behind an encoder with an attention mask",
            found="add_adapter = true, return_attention_mask = true", expected="one of the two",
            fix="Where no sound is shorter than the window the mask says nothing: set return_attention_mask to false",
        )  # fmt: skip
