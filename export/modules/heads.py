"""Task heads on the fused state: hazard, weather, main object, and an embedding beside those of the encoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers import FeedForward, unit

__all__ = ["Answers", "Heads"]


class Heads(nn.Module):
    """``state`` (B, 256) → ``embedding`` (B, 128) of unit length, and logits ``hazard``, ``weather``, ``object``."""

    def __init__(
        self,
        hazards: int = 7,
        weathers: int = 4,
        objects: int = 7,
        state: int = 256,
        width: int = 128,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(state, width)
        self.hazard = FeedForward(state, hidden, hazards)
        self.weather = nn.Linear(state, weathers)
        self.object = nn.Linear(state, objects)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return unit(self.embed(state)), self.hazard(state), self.weather(state), self.object(state)


class Answers(nn.Module):
    """Heads as they go into a bundle: what `heads` gives, with the logits of a `classes` head made probabilities."""

    def __init__(self, heads: nn.Module, kinds: Sequence[str]) -> None:
        super().__init__()
        self.heads = heads
        self.kinds = tuple(kinds)

    def forward(self, state: Tensor) -> tuple[Tensor, ...]:
        given = self.heads(state)
        return tuple(
            torch.softmax(each, dim=-1) if kind == "classes" else each
            for kind, each in zip(self.kinds, given, strict=True)
        )
