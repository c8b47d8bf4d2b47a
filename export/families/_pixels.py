"""What the image families share: the modality from the processor file, the vector that is handed on, the head."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from ...runtime.manifest import ImageModality
from ..hub import HubFolder
from ..modules.adapters import unit
from ..processors import image_constants
from . import Ask, Classifier, Similarity, Tower

__all__ = ["FeatureMap", "Pixels", "eager", "image_tower", "is_classifier", "labels_of", "sides", "unit", "vector"]

RATE_HZ = 30.0
"""What a camera gives, where the recipe does not say."""


def eager(model: Any) -> Any:
    """Attention as products of matrices: torch's fused one brings guards into the graph that nothing here needs."""
    model.set_attn_implementation("eager")
    return model


def vector(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """One vector (B, D) as an encoder's answer: one token with its length, and the embedding of unit length."""
    return pooled[:, None], unit(pooled)


class Pixels(nn.Module):
    """Base of the image encoders: `model` of transformers, and which `output` of it is asked for."""

    model: Any

    def __init__(self, model: nn.Module, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output


class FeatureMap(Pixels):
    """A convolutional network: `pooled` as the model pools, `mean` over all places, `patches`: every place a token."""

    def pooled(self, features: Tensor) -> Tensor:
        """The feature map (B, D, h, w) → (B, D) as the model's own head reads it."""
        return features.mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = cast(Tensor, self.model(pixels).last_hidden_state)
        if self.output == "patches":
            return features.flatten(2).transpose(1, 2), unit(self.pooled(features))
        return vector(features.mean(dim=(2, 3)) if self.output == "mean" else self.pooled(features))


def image_tower(
    folder: HubFolder,
    ask: Ask,
    module: nn.Module,
    *,
    trained: tuple[int, int] | None = None,
    classifier: Classifier | None = None,
    shared: str | None = None,
    similarity: Similarity | None = None,
) -> Tower:
    """The tower of an image encoder, whose modality is what the folder's processor file says.

    `trained`: the only (height, width) that the model takes; the processor must give it.
    """
    constants = image_constants(folder)
    size = (constants["height"], constants["width"])
    if trained is not None and size != trained:
        raise CheckpointError(
            f"{folder.path}: the image processor and the model disagree", found=f"pictures of {size[0]} × {size[1]}",
            expected=f"{trained[0]} × {trained[1]}, as config.json says",
            fix="Copy both files from the same checkpoint",
        )  # fmt: skip
    with torch.inference_mode():
        tokens, _ = module.eval()(torch.zeros(1, 3, *size))
    modality = ImageModality(
        name=ask.name, part=ask.name, rate_hz=ask.rate_hz or RATE_HZ, max_age_s=ask.max_age_s,
        tokens=(tokens.shape[1], tokens.shape[2]), **constants,
    )  # fmt: skip
    return Tower(module, modality, classifier=classifier, shared=shared, similarity=similarity)


def sides(config: Any) -> tuple[int, int]:
    """(height, width) of a model's pictures; config.json has one number or two."""
    size = config.image_size
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def is_classifier(folder: HubFolder) -> bool:
    """Whether the checkpoint says that it is one with a classification head."""
    return any(str(name).endswith("ForImageClassification") for name in folder.config.get("architectures") or ())


def labels_of(model: Any) -> tuple[str, ...]:
    """The labels of a loaded classifier, in the order of its logits."""
    named = model.config.id2label
    return tuple(str(named[index]) for index in range(model.config.num_labels))
