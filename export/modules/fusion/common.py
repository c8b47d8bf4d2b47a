"""What the six fusion kinds share: the order of the senses, the intake of tokens, and the promise of `FusionHead`."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["AGE_SCALES", "COUNTS", "MODALITIES", "STATE", "TOKEN", "FusionHead", "Intake", "spread"]

MODALITIES = ("image", "text", "audio", "radar")
COUNTS = (16, 8, 8, 8)
"""Tokens of each modality, in the order of `MODALITIES`."""
TOKEN, STATE = 128, 256
AGE_SCALES = (0.25, 1.0, 4.0, 30.0)


def spread(per_modality: Tensor) -> Tensor:
    """One value per modality (B, 4) → one per token (B, 40)."""
    columns = [per_modality[:, m : m + 1].expand(-1, count) for m, count in enumerate(COUNTS)]
    return torch.cat(columns, dim=1)


class Intake(nn.Module):
    """Tokens of four modalities → (B, N, W) each, with the absent ones replaced by a learned token.

    Each gets the vector of its modality and, with ``aged``, a vector from its age: four exponentials of the age,
    with time constants of 0.25, 1, 4 and 30 s, through a linear map of its own.
    """

    def __init__(self, width: int, aged: bool = True) -> None:
        super().__init__()
        self.absent = nn.Parameter(torch.randn(4, 1, TOKEN) * 0.5)
        self.map = nn.Linear(TOKEN, width)
        self.modality = nn.Parameter(torch.randn(4, width) * 0.5)
        self.age = nn.Parameter(torch.zeros(4, len(AGE_SCALES), width)) if aged else None
        self.register_buffer("rates", 1.0 / torch.tensor(AGE_SCALES), persistent=False)

    def forward(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> list[Tensor]:
        vectors = self.modality[None].expand(presence.shape[0], -1, -1)
        if self.age is not None:
            fading = torch.exp(-age[:, :, None, None] * cast(Tensor, self.rates))
            vectors = vectors + (fading @ self.age)[:, :, 0] * presence[:, :, None]
        taken = []
        for m, sense in enumerate(tokens):
            here = presence[:, m, None, None]
            taken.append(self.map(sense * here + self.absent[m] * (1.0 - here)) + vectors[:, m, None])
        return taken


class FusionHead(nn.Module):
    """Base of the six kinds.

    Takes ``image`` (B, 16, 128), ``text``, ``audio`` and ``radar`` (B, 8, 128), ``presence`` (B, 4) of 0 and 1 and
    ``age`` (B, 4) in seconds. Returns ``state`` (B, 256), normalised, in a space shared by all kinds, and
    ``weights`` (B, 4): zero where absent, sum 1. The tokens of an absent modality may be anything finite; they are
    multiplied by zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state_norm = nn.LayerNorm(STATE)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        """Unnormalised state and weights; what a kind implements."""
        raise NotImplementedError

    def forward(
        self, image: Tensor, text: Tensor, audio: Tensor, radar: Tensor, presence: Tensor, age: Tensor
    ) -> tuple[Tensor, Tensor]:
        state, weights = self.fuse((image, text, audio, radar), presence, age)
        return self.state_norm(state), weights
