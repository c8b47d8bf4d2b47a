"""EfficientNet (Tan and Le 2019) of transformers: `EfficientNetModel`, `EfficientNetForImageClassification`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..hub import HubFolder
from . import Ask, Classifier, Kind, Tower
from ._pixels import FeatureMap, image_tower, is_classifier, labels_of

MODEL_TYPES = ("efficientnet",)
KINDS: tuple[Kind, ...] = ("image",)
OUTPUTS = ("pooled", "mean", "patches")


class EfficientNetMap(FeatureMap):
    """The model pools in a window larger than the map, which is all of it: by the mean or, as config.json may say, the
    greatest.
    """

    def pooled(self, features: Tensor) -> Tensor:
        largest = self.model.config.pooling_type == "max"
        return features.amax(dim=(2, 3)) if largest else features.mean(dim=(2, 3))


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; the classifier reads the pooled vector."""
    from transformers import EfficientNetForImageClassification, EfficientNetModel

    output = ask.chosen(OUTPUTS)
    if not is_classifier(folder):
        bare = folder.load(EfficientNetModel, unused=("classifier.",))
        return image_tower(folder, ask, EfficientNetMap(bare, output))
    model: Any = folder.load(EfficientNetForImageClassification)
    fits = output == "pooled" or model.config.pooling_type == "mean"
    head = Classifier(model.classifier, labels_of(model)) if fits else None
    return image_tower(folder, ask, EfficientNetMap(model.efficientnet, output), classifier=head)
