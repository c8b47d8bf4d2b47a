"""Late fusion: each sense comes to a state of its own; the states are joined by weights and nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..layers import FeedForward, masked_softmax
from .common import FusionHead, Intake

__all__ = ["LateFusion", "OwnStates"]


class OwnStates(nn.Module):
    """Mean tokens (B, M, W) → a state of each modality alone (B, M, S) and its weight (B, M), by its own confidence."""

    def __init__(self, width: int, hidden: int, state: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.state = FeedForward(width, hidden, state)
        self.score = FeedForward(width, 32, 1)

    def forward(self, senses: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(senses)
        return torch.relu(self.state(x)), masked_softmax(self.score(x)[..., 0], presence)


class LateFusion(FusionHead):
    """``weights`` say how much of each modality's own state goes into the joint one."""

    def __init__(self, width: int = 96, hidden: int = 192, **senses: Any) -> None:
        super().__init__(**senses)
        self.intake = Intake(self.senses, self.token, width)
        self.own = OwnStates(width, hidden, self.size)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        means = self.senses.means(self.intake(tokens, presence, age))
        states, weights = self.own(means, presence)
        return (weights[:, :, None] * states).sum(dim=1), weights
