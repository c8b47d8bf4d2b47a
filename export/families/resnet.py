"""ResNet (He et al. 2016) of transformers: `ResNetModel`, `ResNetForImageClassification`."""

from __future__ import annotations

from typing import Any

from ..hub import HubFolder
from . import Ask, Classifier, Kind, Tower
from ._pixels import FeatureMap, image_tower, is_classifier, labels_of

MODEL_TYPES = ("resnet",)
KINDS: tuple[Kind, ...] = ("image",)
OUTPUTS = ("pooled", "mean", "patches")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; every output keeps the classifier, because the model pools by the mean."""
    from transformers import ResNetForImageClassification, ResNetModel

    output = ask.chosen(OUTPUTS)
    if not is_classifier(folder):
        return image_tower(folder, ask, FeatureMap(folder.load(ResNetModel, unused=("classifier.",)), output))
    model: Any = folder.load(ResNetForImageClassification)
    head = Classifier(model.classifier[1], labels_of(model))
    return image_tower(folder, ask, FeatureMap(model.resnet, output), classifier=head)
