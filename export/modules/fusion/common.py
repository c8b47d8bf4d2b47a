"""What the six fusion kinds share: the order of the senses, the intake of tokens, and the promise of `FusionHead`."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["AGE_SCALES", "COUNTS", "MODALITIES", "STATE", "TOKEN", "FusionHead", "Intake", "means", "spread"]

MODALITIES = ("image", "text", "audio", "radar")
COUNTS = (16, 8, 8, 8)
"""Tokens of each modality, in the order of `MODALITIES`."""
TOKEN, STATE = 128, 256
AGE_SCALES = (0.25, 1.0, 4.0, 30.0)


_SENSE_OF_TOKEN = tuple(m for m, count in enumerate(COUNTS) for _ in range(count))
_SHARES = tuple(tuple(1.0 / COUNTS[m] if own == m else 0.0 for own in _SENSE_OF_TOKEN) for m in range(len(COUNTS)))


def spread(per_modality: Tensor) -> Tensor:
    """One value or vector per modality (B, 4, ...) → one per token (B, 40, ...)."""
    return per_modality.index_select(1, torch.tensor(_SENSE_OF_TOKEN, device=per_modality.device))


def means(tokens: Tensor) -> Tensor:
    """Joined tokens (B, 40, W) → the mean of each modality's (B, 4, W), as one product with a constant."""
    return torch.tensor(_SHARES, dtype=tokens.dtype, device=tokens.device) @ tokens


class Intake(nn.Module):
    """Tokens of four modalities → joined (B, 40, W), with the absent ones replaced by a learned token.

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

    def forward(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> Tensor:
        here = spread(presence[:, :, None])
        absent = spread(self.absent[None, :, 0])
        if self.age is None:
            vectors = self.modality[None]
        else:
            fading = torch.exp(-age[:, :, None, None] * cast(Tensor, self.rates))
            vectors = self.modality + (fading @ self.age)[:, :, 0] * presence[:, :, None]
        taken = torch.cat(tokens, dim=1) * here + absent * (1.0 - here)
        return cast(Tensor, self.map(taken)) + spread(vectors)


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
