"""What the fusion kinds share: which tokens come in, their intake, and the promise of `FusionHead`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["AGE_SCALES", "COUNTS", "STATE", "TOKEN", "FusionHead", "Intake", "Senses"]

COUNTS = (16, 8, 8, 8)
"""Tokens of each modality of the reference model: image, text, audio, radar."""
TOKEN, STATE = 128, 256
AGE_SCALES = (0.25, 1.0, 4.0, 30.0)


@dataclass(frozen=True)
class Senses:
    """M modalities with `counts` tokens each, N in all, side by side on one axis."""

    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.counts)

    def spread(self, per_modality: Tensor) -> Tensor:
        """One value or vector per modality (B, M, ...) → one per token (B, N, ...)."""
        owners = [m for m, count in enumerate(self.counts) for _ in range(count)]
        return per_modality.index_select(1, torch.tensor(owners, device=per_modality.device))

    def means(self, tokens: Tensor) -> Tensor:
        """Joined tokens (B, N, W) → the mean of each modality's (B, M, W), as one product with a constant."""
        rows = [
            [1.0 / self.counts[m] if own == m else 0.0 for own, count in enumerate(self.counts) for _ in range(count)]
            for m in range(len(self.counts))
        ]
        return torch.tensor(rows, dtype=tokens.dtype, device=tokens.device) @ tokens


class Intake(nn.Module):
    """Tokens of M modalities → joined (B, N, W), with the absent ones replaced by a learned token.

    Each gets the vector of its modality and, with ``aged``, a vector from its age: four exponentials of the age,
    with time constants of 0.25, 1, 4 and 30 s, through a linear map of its own.
    """

    def __init__(self, senses: Senses, token: int, width: int, aged: bool = True) -> None:
        super().__init__()
        count = len(senses)
        self.senses = senses
        self.absent = nn.Parameter(torch.randn(count, 1, token) * 0.5)
        self.map = nn.Linear(token, width)
        self.modality = nn.Parameter(torch.randn(count, width) * 0.5)
        self.age = nn.Parameter(torch.zeros(count, len(AGE_SCALES), width)) if aged else None
        self.register_buffer("rates", 1.0 / torch.tensor(AGE_SCALES), persistent=False)

    def forward(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> Tensor:
        here = self.senses.spread(presence[:, :, None])
        absent = self.senses.spread(self.absent[None, :, 0])
        if self.age is None:
            vectors = self.modality[None]
        else:
            fading = torch.exp(-age[:, :, None, None] * cast(Tensor, self.rates))
            vectors = self.modality + (fading @ self.age)[:, :, 0] * presence[:, :, None]
        taken = torch.cat(tokens, dim=1) * here + absent * (1.0 - here)
        return cast(Tensor, self.map(taken)) + self.senses.spread(vectors)


class FusionHead(nn.Module):
    """Base of the fusion kinds, for any number of modalities.

    ``counts``: tokens of each of the M modalities, in the bundle's order; ``token``: their width D, the same for all;
    ``state``: width S of what comes out. Takes the tokens of each modality (B, counts[m], D), ``presence`` (B, M) of
    0 and 1 and ``age`` (B, M) in seconds. Returns ``state`` (B, S), normalised, in a space shared by all kinds, and
    ``weights`` (B, M): zero where absent, sum 1. The tokens of an absent modality may be anything finite; they are
    multiplied by zero.
    """

    def __init__(self, counts: Sequence[int] = COUNTS, token: int = TOKEN, state: int = STATE) -> None:
        super().__init__()
        self.senses = Senses(tuple(counts))
        self.token, self.size = token, state
        self.state_norm = nn.LayerNorm(state)

    def fuse(self, tokens: tuple[Tensor, ...], presence: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        """Unnormalised state and weights; what a kind implements."""
        raise NotImplementedError

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *tokens, presence, age = inputs
        state, weights = self.fuse(tuple(tokens), presence, age)
        return self.state_norm(state), weights
