"""Vision Transformer (Dosovitskiy et al. 2021) of transformers: `ViTModel`, `ViTForImageClassification`."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from ..hub import HubFolder
from . import Ask, Classifier, Kind, Tower
from ._pixels import Pixels, eager, image_tower, is_classifier, labels_of, sides, unit, vector

MODEL_TYPES = ("vit",)
KINDS: tuple[Kind, ...] = ("image",)
OUTPUTS = ("class", "pooled", "mean", "patches")


class ViT(Pixels):
    """`class`: the class token; `pooled`: a layer and tanh behind it, where the checkpoint has one; `mean`, `patches`:
    without the class token. With `patches` the embedding is the class token's.
    """

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.model(pixels)
        hidden = cast(Tensor, answer.last_hidden_state)
        if self.output == "patches":
            return hidden[:, 1:], unit(hidden[:, 0])
        if self.output == "pooled":
            return vector(answer.pooler_output)
        return vector(hidden[:, 1:].mean(dim=1) if self.output == "mean" else hidden[:, 0])


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; the classifier reads the class token."""
    from transformers import ViTForImageClassification, ViTModel

    output = ask.chosen(OUTPUTS)
    head = None
    if is_classifier(folder) and output != "pooled":
        whole: Any = eager(folder.load(ViTForImageClassification, unused=("vit.pooler.",)))
        model: Any = whole.vit
        if output == "class":
            head = Classifier(whole.classifier, labels_of(whole))
    else:
        absent = () if output == "pooled" else ("pooler.",)
        unused = ("classifier.", "decoder.", "embeddings.mask_token")
        model = eager(folder.load(ViTModel, unused=unused, absent=absent))
    return image_tower(folder, ask, ViT(model, output), trained=sides(model.config), classifier=head)
