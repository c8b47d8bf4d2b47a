"""SigLIP (Zhai et al. 2023) of transformers, both towers: `SiglipModel`, and `SiglipForImageClassification`.

There is no class token: an attention head of its own pools the patches, and the last token stands for a text, which is
why short texts are filled up. Probabilities are sigmoids of scale·cosine + bias.
"""

from __future__ import annotations

import math
from typing import Any, cast

from torch import Tensor, nn

from ..hub import HubFolder
from . import Ask, Classifier, Similarity, Tower
from ._pairs import BLOCKED, WORDS, Reading, must_have, text_tower
from ._pixels import Pixels, eager, image_tower, is_classifier, labels_of, unit, vector

MODEL_TYPES = ("siglip",)
KINDS = ("image", "text")
OUTPUTS = ("pooled", "mean", "patches", "class", "tokens")
_SEEN = OUTPUTS[:3]


class SiglipImage(Pixels):
    """`pooled`: by the attention head, in the shared space; `mean`, `patches`: the normalised last states. With
    `patches` the embedding is the pooled one where there is a head, else that of the mean.
    """

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.model(pixels)
        states = cast(Tensor, answer.last_hidden_state)
        if self.output == "patches":
            return states, unit(states.mean(dim=1) if answer.pooler_output is None else answer.pooler_output)
        return vector(states.mean(dim=1) if self.output == "mean" else answer.pooler_output)


class SiglipText(Reading):
    """The last state is pooled. The model was trained without a mask: `masked` says that the tokenizer gives one."""

    def __init__(self, model: nn.Module, output: str, masked: bool) -> None:
        super().__init__(model, output)
        self.masked = masked

    def states(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        wide = (1.0 - mask.to(self.model.head.weight.dtype))[:, None, None, :] * BLOCKED if self.masked else None
        hidden = self.model(input_ids=ids, attention_mask=wide).last_hidden_state
        return hidden, hidden[:, -1]

    def project(self, state: Tensor) -> Tensor:
        return cast(Tensor, cast(nn.Module, self.model.head)(state))


def load(folder: HubFolder, ask: Ask) -> Tower:
    """One tower. What both give as `pooled` lies in one space, whose scale and bias are the checkpoint's."""
    must_have(folder, ask, KINDS)
    if is_classifier(folder):
        return _classifying(folder, ask)
    from transformers import SiglipModel

    output = ask.chosen(_SEEN if ask.kind == "image" else WORDS)
    model = eager(folder.load(SiglipModel))
    similarity = Similarity(math.exp(float(model.logit_scale)), float(model.logit_bias), "sigmoid")
    space: dict[str, Any] = {"shared": None, "similarity": None}
    if output in ("pooled", "patches", "tokens"):
        space = {"shared": "siglip", "similarity": similarity}
    if ask.kind == "image":
        size = model.config.vision_config.image_size
        return image_tower(folder, ask, SiglipImage(model.vision_model, output), trained=(size, size), **space)
    reading = SiglipText(model.text_model, output, _gives_mask(folder))
    return text_tower(folder, ask, reading, int(model.config.text_config.max_position_embeddings), **space)


def _gives_mask(folder: HubFolder) -> bool:
    """Whether tokenizer_config.json names the mask among what the model is fed with; silent, it does not."""
    if not folder.has("tokenizer_config.json"):
        return False
    return "attention_mask" in (folder.json("tokenizer_config.json").get("model_input_names") or ())


def _classifying(folder: HubFolder, ask: Ask) -> Tower:
    """The head reads the mean of the patches, which is what is given."""
    from transformers import SiglipForImageClassification

    must_have(folder, ask, ("image",))
    output = ask.chosen(("mean", "patches"))
    model = eager(folder.load(SiglipForImageClassification))
    size = model.config.vision_config.image_size
    head = Classifier(model.classifier, labels_of(model))
    return image_tower(folder, ask, SiglipImage(model.vision_model, output), trained=(size, size), classifier=head)
