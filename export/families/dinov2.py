"""DINOv2 (Oquab et al. 2023) of transformers: `Dinov2Model`, `Dinov2ForImageClassification`."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..hub import HubFolder
from ..processors import image_constants
from . import Ask, Classifier, Kind, Tower
from ._pixels import Pixels, eager, image_tower, is_classifier, labels_of, unit, vector

MODEL_TYPES = ("dinov2",)
KINDS: tuple[Kind, ...] = ("image",)
OUTPUTS = ("class", "pooled", "mean", "patches")


class Dinov2(Pixels):
    """`class`: the class token; `pooled`: beside it the mean of the patches, which is what the classifier reads;
    `mean`, `patches`: without the class token. With `patches` the embedding is the class token's.
    """

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        hidden = cast(Tensor, self.model(pixels).last_hidden_state)
        first, patches = hidden[:, 0], hidden[:, 1:]
        if self.output == "patches":
            return patches, unit(first)
        if self.output == "pooled":
            return vector(torch.cat([first, patches.mean(dim=1)], dim=1))
        return vector(patches.mean(dim=1) if self.output == "mean" else first)


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; a checkpoint with a classifier gives what that reads unless the recipe says otherwise."""
    from transformers import Dinov2ForImageClassification, Dinov2Model

    if is_classifier(folder):
        output = "pooled" if ask.output is None else ask.chosen(OUTPUTS)
        whole: Any = eager(folder.load(Dinov2ForImageClassification))
        model: Any = whole.dinov2
        head = Classifier(whole.classifier, labels_of(whole)) if output == "pooled" else None
    else:
        output, head = ask.chosen(OUTPUTS), None
        model = eager(folder.load(Dinov2Model, unused=("classifier.",)))
    constants = image_constants(folder)
    _fit_positions(model, constants["height"], constants["width"])
    return image_tower(folder, ask, Dinov2(model, output), classifier=head)


def _fit_positions(model: nn.Module, height: int, width: int) -> None:
    """Positions for the one size that the graph takes, interpolated once as the model would each time."""
    embeddings: Any = model.embeddings
    rows, columns = embeddings.patch_embeddings.patch_size
    like = torch.zeros(1, (height // rows) * (width // columns) + 1, embeddings.position_embeddings.shape[-1])
    with torch.no_grad():
        fitted = embeddings.interpolate_pos_encoding(like, height, width).clone()
    embeddings.position_embeddings = nn.Parameter(fitted, requires_grad=False)
    embeddings.interpolate_pos_encoding = lambda *_: embeddings.position_embeddings
