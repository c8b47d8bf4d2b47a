"""Gated fusion: gated multimodal units (Arevalo et al. 2017), with one gate for each group of state channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..layers import FeedForward
from .common import FusionHead, Intake

__all__ = ["GatedFusion"]


class GatedFusion(FusionHead):
    """Each group of channels decides for itself which modality it listens to, having seen all of them.

    The gates of one group are divided by their sum over the present modalities; ``weights`` are their mean over the
    groups.
    """

    def __init__(self, width: int = 96, groups: int = 32, hidden: int = 64, **senses: Any) -> None:
        super().__init__(**senses)
        count = len(self.senses)
        self.groups = groups
        self.intake = Intake(self.senses, self.token, width)
        self.norm = nn.LayerNorm(width)
        self.value = nn.Parameter(torch.randn(count, width, self.size) * width**-0.5)
        self.gate = FeedForward(count * width, hidden, count * groups)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        taken = self.intake(tokens, presence, age)
        count, groups = len(self.senses), self.groups
        x = self.norm(self.senses.means(taken))
        gates = torch.sigmoid(self.gate(x.flatten(1))).reshape(-1, count, groups) * presence[:, :, None]
        gates = gates / (gates.sum(dim=1, keepdim=True) + 1.0e-6)
        values = torch.tanh((x[:, :, None] @ self.value)[:, :, 0]).reshape(-1, count, groups, self.size // groups)
        return (gates[..., None] * values).sum(dim=1).flatten(1), gates.mean(dim=2)
