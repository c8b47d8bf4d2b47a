"""CLIP (Radford et al. 2021) of transformers, both towers: `CLIPModel`, one tower of it alone, and
`CLIPForImageClassification`.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..hub import HubFolder
from . import Ask, Classifier, Kind, Similarity, Tower
from ._pairs import BLOCKED, WORDS, Reading, first_of, must_have, text_tower
from ._pixels import Pixels, eager, image_tower, is_classifier, labels_of, sides, unit, vector
from ._words import read_words

MODEL_TYPES = ("clip", "clip_vision_model", "clip_text_model")
KINDS: tuple[Kind, ...] = ("image", "text")
OUTPUTS = ("pooled", "class", "mean", "patches", "tokens")
_SEEN = OUTPUTS[:4]
_POSITIONS = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")
"""Old files carry these constants."""


class ClipImage(Pixels):
    """`pooled`: the class token, normalised and projected into the shared space; `class`: before the projection;
    `mean`, `patches`: the last states without the class token. With `patches` the embedding is the pooled one.
    """

    def __init__(self, model: nn.Module, projection: nn.Module, output: str) -> None:
        super().__init__(model, output)
        self.projection = projection

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.model(pixels)
        patches = cast(Tensor, answer.last_hidden_state)[:, 1:]
        if self.output == "patches":
            return patches, unit(self.projection(answer.pooler_output))
        if self.output == "mean":
            return vector(patches.mean(dim=1))
        return vector(self.projection(answer.pooler_output) if self.output == "pooled" else answer.pooler_output)


class ClipText(Reading):
    """The state at the end token is pooled. No token sees a later one: what fills up a short text changes nothing."""

    later: Tensor

    def __init__(self, model: Any, projection: nn.Module, output: str) -> None:
        super().__init__(model, output)
        self.projection = projection
        # The model's own mask has the least number of FP32, which FP16 does not hold.
        most = model.config.max_position_embeddings
        self.register_buffer("later", torch.full((1, 1, most, most), BLOCKED).triu(1), persistent=False)

    def states(self, ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        count = ids.shape[1]
        hidden = self.model(input_ids=ids, attention_mask=self.later[:, :, :count, :count]).last_hidden_state
        end = self.model.config.eos_token_id
        # Early files say 2 where they mean the token of the highest number, which is the end token.
        marks = ids == (ids.amax(dim=1, keepdim=True) if end == 2 else end)
        return hidden, first_of(marks, hidden)

    def project(self, state: Tensor) -> Tensor:
        return cast(Tensor, self.projection(state))


def kinds(folder: HubFolder) -> tuple[Kind, ...]:
    """The towers of this checkpoint: both, or the one that it is of."""
    if folder.model_type == "clip_text_model":
        return ("text",)
    return ("image",) if folder.model_type == "clip_vision_model" or is_classifier(folder) else KINDS


def load(folder: HubFolder, ask: Ask) -> Tower:
    """One tower. What both project into is one space, whose scale is the checkpoint's."""
    must_have(folder, ask, kinds(folder))
    if folder.model_type != "clip":
        return _alone(folder, ask)
    if is_classifier(folder):
        return _classifying(folder, ask)
    from transformers import CLIPModel

    output = ask.chosen(_SEEN if ask.kind == "image" else WORDS)
    model: Any = eager(folder.load(CLIPModel, unused=_POSITIONS))
    similarity = Similarity(scale=math.exp(model.logit_scale.item()))
    if ask.kind == "image":
        seeing = ClipImage(model.vision_model, model.visual_projection, output)
        return image_tower(folder, ask, seeing, trained=sides(model.config.vision_config), **_space(output, similarity))
    reading = ClipText(model.text_model, model.text_projection, output)
    return text_tower(
        folder, ask, reading, read_words(folder), _limit(model.config.text_config), **_space(output, similarity)
    )


def _space(output: str, similarity: Similarity) -> dict[str, Any]:
    """What the embedding of an output shares with the other tower: only what is projected does."""
    projected = output in ("pooled", "patches", "tokens")
    return {"shared": "clip", "similarity": similarity} if projected else {"shared": None, "similarity": None}


def _alone(folder: HubFolder, ask: Ask) -> Tower:
    """A checkpoint of one tower, with its projection or without: then `pooled` is what would be projected."""
    import transformers

    seen = folder.model_type == "clip_vision_model"
    output = ask.chosen(_SEEN if seen else WORDS)
    kind = "CLIPVisionModel" if seen else "CLIPTextModel"
    projected = f"{kind}WithProjection" in (folder.config.get("architectures") or ())
    whole: Any = eager(folder.load(getattr(transformers, kind + "WithProjection" * projected), unused=_POSITIONS))
    if seen:
        inner = whole.vision_model if projected else whole
        module = ClipImage(inner, whole.visual_projection if projected else nn.Identity(), output)
        return image_tower(folder, ask, module, trained=sides(whole.config))
    inner = whole.text_model if projected else whole
    reading = ClipText(inner, whole.text_projection if projected else nn.Identity(), output)
    return text_tower(folder, ask, reading, read_words(folder), _limit(whole.config), None, None)


def _classifying(folder: HubFolder, ask: Ask) -> Tower:
    """The head reads the mean of the patches, which is what is given unless the recipe says otherwise."""
    from transformers import CLIPForImageClassification

    output = ask.chosen(("mean", "class", "patches"))
    model: Any = folder.load(CLIPForImageClassification, unused=_POSITIONS)
    head = Classifier(model.classifier, labels_of(model)) if output != "class" else None
    module = ClipImage(eager(model.vision_model), nn.Identity(), output)
    return image_tower(folder, ask, module, trained=sides(model.config.vision_config), classifier=head)


def _limit(config: Any) -> int:
    return int(config.max_position_embeddings)
