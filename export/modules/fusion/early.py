"""Early fusion: the tokens of all senses in one small transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers import Block, masked_softmax
from .common import COUNTS, STATE, FusionHead, Intake, spread

__all__ = ["EarlyFusion", "TokenPool"]


class TokenPool(nn.Module):
    """Attention pooling of 40 tokens (B, 40, W) by ``reads`` learned readers → (B, reads · W) and weights (B, 4).

    The weight of a modality is the share of attention that its tokens get, averaged over the readers.
    """

    def __init__(self, width: int, reads: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, reads)

    def forward(self, x: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        share = masked_softmax(self.score(x).transpose(1, 2), spread(presence)[:, None])
        per_modality = torch.stack([part.sum(dim=-1) for part in torch.split(share, list(COUNTS), dim=-1)], dim=-1)
        return (share @ x).flatten(1), per_modality.mean(dim=1)


class EarlyFusion(FusionHead):
    """All tokens attend to each other; attention pooling reads the state."""

    def __init__(self, width: int = 96, heads: int = 4, hidden: int = 192, reads: int = 2) -> None:
        super().__init__()
        self.intake = Intake(width)
        self.block = Block(width, heads, hidden)
        self.last = nn.LayerNorm(width)
        self.pool = TokenPool(width, reads)
        self.state = nn.Linear(reads * width, STATE)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        x = self.intake(tokens, presence, age)
        pooled, weights = self.pool(self.last(self.block(x)), presence)
        return self.state(pooled), weights
