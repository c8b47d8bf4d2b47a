"""The mean of what is present: for encoders that share a space already (CLIP, SigLIP, CLAP), and for one alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers import unit
from .common import Senses

__all__ = ["MeanFusion"]


class MeanFusion(nn.Module):
    """Nothing is learned: ``state`` (B, D) is the sum of the unit vectors of the present modalities over their number.

    Takes what `FusionHead` takes; a modality's vector is the mean of its tokens. One modality alone passes through with
    its length, so that the classifier of a checkpoint reads from it what it was trained on.
    """

    def __init__(self, counts: tuple[int, ...], token: int) -> None:
        super().__init__()
        self.senses = Senses(tuple(counts))
        self.token = self.size = token

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *tokens, presence, _ = inputs
        means = torch.stack([each.mean(dim=1) for each in tokens], dim=1)
        if len(self.senses) > 1:
            means = unit(means)
        weights = presence / presence.sum(dim=1, keepdim=True).clamp(min=1.0)
        return (weights[:, :, None] * means).sum(dim=1), weights
