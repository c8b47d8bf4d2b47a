"""Adaptive fusion: weights from what a packet says *and* how old it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..layers import CrossBlock, FeedForward, closed
from .common import AGE_SCALES, FusionHead, Intake

__all__ = ["AdaptiveFusion"]


_OLDEST = 50.0
"""Staleness ends here, far below what an absent modality is masked with."""
_HASTE = 3.0
"""A packet's weight falls at most this many times faster than its lifetime says: what is old may still be true."""


class AdaptiveFusion(FusionHead):
    """Softmax weights of (content score of the packet − decay rate of its modality · age).

    The decay rates are positive and learned, one per modality, and the score sees the packet's own tokens only: so the
    weight of a packet always falls as it ages, as exp(−rate · age) before normalisation. The same term lowers its
    tokens in the cross-attention, and what is read from a packet knows its age. A packet that says nothing (a dark
    frame, chatter) gets a low score. ``lifetimes``: seconds after which a packet of each modality is probably untrue;
    they bound the rates.
    """

    def __init__(
        self,
        width: int = 96,
        heads: int = 4,
        hidden: int = 192,
        lifetimes: Sequence[float] = (1.0, 60.0, 1.0, 0.7),
        **senses: Any,
    ) -> None:
        super().__init__(**senses)
        count = len(self.senses)
        if len(lifetimes) != count:
            raise ValueError(f"lifetimes: found {len(lifetimes)}, expected one for each of {count} modalities")
        self.register_buffer("fastest", _HASTE / torch.tensor(tuple(lifetimes)), persistent=False)
        self.intake = Intake(self.senses, self.token, width, aged=False)
        self.score_norm = nn.LayerNorm(width)
        self.score = FeedForward(width, 48, 1)
        self.rate = nn.Parameter(torch.zeros(count))
        self.register_buffer("scales", 1.0 / torch.tensor(AGE_SCALES), persistent=False)
        self.aged = nn.Parameter(torch.zeros(count, len(AGE_SCALES), width))
        self.cross = CrossBlock(width, heads, hidden)
        self.last = nn.LayerNorm(width)
        self.value = nn.Linear(width, self.size)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        taken = self.intake(tokens, presence, age)
        means = self.senses.means(taken)
        rate = torch.minimum(nn.functional.softplus(self.rate), cast(Tensor, self.fastest))
        staleness = torch.clamp(rate * age, max=_OLDEST)
        bias = closed(presence) - staleness
        weights = torch.softmax(self.score(self.score_norm(means))[..., 0] + bias, dim=-1) * presence
        passed = (1.0 - torch.exp(-age[:, :, None, None] * cast(Tensor, self.scales))) * presence[:, :, None, None]
        x = self.last(self.cross(means + (passed @ self.aged)[:, :, 0], taken, self.senses.spread(bias)))
        return (weights[:, :, None] * torch.relu(self.value(x))).sum(dim=1), weights
