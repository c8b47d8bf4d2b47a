"""Middle fusion: each sense, as one vector, cross-attends to the tokens of all that are present."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..layers import CrossBlock, closed, masked_softmax
from .common import FusionHead, Intake

__all__ = ["MiddleFusion"]


class MiddleFusion(FusionHead):
    """A vector of each modality reads the other senses; they are summed with the softmax weights ``weights``."""

    def __init__(self, width: int = 96, heads: int = 4, hidden: int = 192, **senses: Any) -> None:
        super().__init__(**senses)
        self.intake = Intake(self.senses, self.token, width)
        self.cross = CrossBlock(width, heads, hidden)
        self.last = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)
        self.value = nn.Linear(width, self.size)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        taken = self.intake(tokens, presence, age)
        queries = self.senses.means(taken)
        x = self.last(self.cross(queries, taken, closed(self.senses.spread(presence))))
        weights = masked_softmax(self.score(x)[..., 0], presence)
        return (weights[:, :, None] * torch.relu(self.value(x))).sum(dim=1), weights
