"""Hybrid fusion: an early path over all tokens and a late path over single senses, mixed by a learned gate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..layers import Block
from .common import FusionHead, Intake
from .early import TokenPool
from .late import OwnStates

__all__ = ["HybridFusion"]


class HybridFusion(FusionHead):
    """``weights`` mix the attention shares of the early path and the confidences of the late one by the same gate."""

    def __init__(self, width: int = 96, heads: int = 4, hidden: int = 192, own: int = 96, **senses: Any) -> None:
        super().__init__(**senses)
        self.intake = Intake(self.senses, self.token, width)
        self.block = Block(width, heads, hidden)
        self.last = nn.LayerNorm(width)
        self.pool = TokenPool(self.senses, width, 1)
        self.joint = nn.Linear(width, self.size)
        self.own = OwnStates(width, own, self.size)
        self.gate = nn.Linear(width, 1)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        taken = self.intake(tokens, presence, age)
        pooled, shares = self.pool(self.last(self.block(taken)), presence)
        states, confidences = self.own(self.senses.means(taken), presence)
        gate = torch.sigmoid(self.gate(pooled))
        late = (confidences[:, :, None] * states).sum(dim=1)
        return gate * self.joint(pooled) + (1.0 - gate) * late, gate * shares + (1.0 - gate) * confidences
