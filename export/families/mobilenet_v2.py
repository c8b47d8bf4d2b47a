"""MobileNetV2 (Sandler et al. 2018) of transformers: `MobileNetV2Model`, `MobileNetV2ForImageClassification`."""

from __future__ import annotations

from typing import Any

from ..hub import HubFolder
from . import Ask, Classifier, Kind, Tower
from ._pixels import FeatureMap, image_tower, is_classifier, labels_of

MODEL_TYPES = ("mobilenet_v2",)
KINDS: tuple[Kind, ...] = ("image",)
OUTPUTS = ("pooled", "mean", "patches")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; every output keeps the classifier, because the model pools by the mean."""
    from transformers import MobileNetV2ForImageClassification, MobileNetV2Model

    output = ask.chosen(OUTPUTS)
    if not is_classifier(folder):
        return image_tower(folder, ask, FeatureMap(folder.load(MobileNetV2Model, unused=("classifier.",)), output))
    model: Any = folder.load(MobileNetV2ForImageClassification)
    head = Classifier(model.classifier, labels_of(model))
    return image_tower(folder, ask, FeatureMap(model.mobilenet_v2, output), classifier=head)
