"""Early fusion: the tokens of all senses in one small transformer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..layers import Block, masked_softmax
from .common import FusionHead, Intake, Senses

__all__ = ["EarlyFusion", "TokenPool"]


class TokenPool(nn.Module):
    """Attention pooling of tokens (B, N, W) by ``reads`` learned readers → (B, reads · W) and weights (B, M).

    The weight of a modality is the share of attention that its tokens get, averaged over the readers.
    """

    def __init__(self, senses: Senses, width: int, reads: int) -> None:
        super().__init__()
        self.senses = senses
        self.score = nn.Linear(width, reads)

    def forward(self, x: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        share = masked_softmax(self.score(x).transpose(1, 2), self.senses.spread(presence)[:, None])
        per_modality = torch.stack(
            [part.sum(dim=-1) for part in torch.split(share, list(self.senses.counts), dim=-1)], dim=-1
        )
        return (share @ x).flatten(1), per_modality.mean(dim=1)


class EarlyFusion(FusionHead):
    """All tokens attend to each other; attention pooling reads the state."""

    def __init__(self, width: int = 96, heads: int = 4, hidden: int = 192, reads: int = 2, **senses: Any) -> None:
        super().__init__(**senses)
        self.intake = Intake(self.senses, self.token, width)
        self.block = Block(width, heads, hidden)
        self.last = nn.LayerNorm(width)
        self.pool = TokenPool(self.senses, width, reads)
        self.state = nn.Linear(reads * width, self.size)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        x = self.intake(tokens, presence, age)
        pooled, weights = self.pool(self.last(self.block(x)), presence)
        return self.state(pooled), weights
