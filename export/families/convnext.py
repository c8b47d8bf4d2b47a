"""ConvNeXt (Liu et al. 2022) of transformers: `ConvNextModel`, `ConvNextForImageClassification`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..hub import HubFolder
from . import Ask, Classifier, Kind, Tower
from ._pixels import FeatureMap, image_tower, is_classifier, labels_of

MODEL_TYPES = ("convnext",)
KINDS: tuple[Kind, ...] = ("image",)
OUTPUTS = ("pooled", "mean", "patches")


class ConvNextMap(FeatureMap):
    """The model normalises the mean: `pooled` is that, `mean` and `patches` are before it."""

    def pooled(self, features: Tensor) -> Tensor:
        norm: Tensor = self.model.layernorm(features.mean(dim=(2, 3)))
        return norm


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; the classifier takes the model's normalisation along where the output lies before it."""
    from transformers import ConvNextForImageClassification, ConvNextModel

    output = ask.chosen(OUTPUTS)
    if not is_classifier(folder):
        return image_tower(folder, ask, ConvNextMap(folder.load(ConvNextModel, unused=("classifier.",)), output))
    model: Any = folder.load(ConvNextForImageClassification)
    head = model.classifier if output == "pooled" else nn.Sequential(model.convnext.layernorm, model.classifier)
    tower = ConvNextMap(model.convnext, output)
    return image_tower(folder, ask, tower, classifier=Classifier(head, labels_of(model)))
