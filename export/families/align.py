"""ALIGN (Jia et al. 2021) of transformers, both towers: EfficientNet for pictures, BERT for text (`AlignModel`)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..hub import HubFolder
from . import Ask, Kind, Similarity, Tower
from ._pairs import BLOCKED, WORDS, Reading, must_have, text_tower
from ._pixels import eager, image_tower
from ._words import read_words
from .efficientnet import EfficientNetMap

MODEL_TYPES = ("align",)
KINDS: tuple[Kind, ...] = ("image", "text")
OUTPUTS = ("pooled", "mean", "patches", "class", "tokens")
_SEEN = OUTPUTS[:3]
_LENGTH = 64
"""Tokens of a text as the model's processor fills them up."""


class AlignText(Reading):
    """The class token is pooled, and a layer takes it into the space of the pictures."""

    masked = True

    def __init__(self, model: nn.Module, projection: nn.Module, output: str) -> None:
        super().__init__(model, output)
        self.projection = projection

    def states(self, ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        assert mask is not None
        wide = (1.0 - mask.to(torch.float32))[:, None, None, :] * BLOCKED
        hidden = self.model(input_ids=ids, attention_mask=wide).last_hidden_state
        return hidden, hidden[:, 0]

    def project(self, state: Tensor) -> Tensor:
        return cast(Tensor, self.projection(state))


def load(folder: HubFolder, ask: Ask) -> Tower:
    """One tower. The space is that of the picture's pooled vector; its temperature is the checkpoint's."""
    must_have(folder, ask, KINDS)
    from transformers import AlignModel

    output = ask.chosen(_SEEN if ask.kind == "image" else WORDS)
    model: Any = eager(folder.load(AlignModel))
    space: dict[str, Any] = {"shared": None, "similarity": None}
    if output in ("pooled", "patches", "tokens"):
        space = {"shared": "align", "similarity": Similarity(1.0 / model.temperature.item())}
    if ask.kind == "image":
        return image_tower(folder, ask, EfficientNetMap(model.vision_model, output), **space)
    reading = AlignText(model.text_model, model.text_projection, output)
    limit = min(_LENGTH, int(model.config.text_config.max_position_embeddings))
    return text_tower(folder, ask, reading, read_words(folder), limit, **space)
