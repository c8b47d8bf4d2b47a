"""What stands between the modules of a recipe: projections, linear heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["AdaptedEncoder", "LinearHeads", "TokensAndEmbedding", "unit"]


def unit(x: Tensor) -> Tensor:
    """The last axis to unit length, to the last digits, as public models divide. Every step stays FP32 in FP16 graphs.

    `layers.unit` adds a little to the length, which small vectors feel; models that were trained with it keep it.
    """
    return x / torch.sqrt(torch.pow(x, 2.0).sum(dim=-1, keepdim=True).clamp(min=1e-24))


class AdaptedEncoder(nn.Module):
    """An encoder as it goes into a bundle: its tokens and embedding through a projection, the embedding of unit length.

    ``projection``: E → D, or None. Of one token, tokens and embedding are the same vector before it is scaled.
    """

    def __init__(self, encoder: nn.Module, projection: nn.Linear | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = projection

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        tokens, embedding = self.encoder(*inputs)
        if self.projection is not None:
            tokens, embedding = self.projection(tokens), self.projection(embedding)
        return tokens, unit(embedding)


class TokensAndEmbedding(nn.Module):
    """A module that gives tokens and embedding, or one tensor: (B, E) is both; of (B, N, D) the mean is embedding.

    Of a feature map (B, D, h, w) every place is a token.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        given = self.module(*inputs)
        if not isinstance(given, Tensor):
            tokens, embedding = given
            return tokens, embedding
        if given.ndim == 4:
            given = given.flatten(2).transpose(1, 2)
        return (given[:, None], given) if given.ndim == 2 else (given, given.mean(dim=1))


class LinearHeads(nn.Module):
    """``state`` (B, S) → one output per head, in the order of ``heads``.

    A head without a module is the state itself: of unit length, as every embedding. ``classes`` gives probabilities.
    """

    def __init__(self, heads: Mapping[str, nn.Module | None], kinds: Mapping[str, str]) -> None:
        super().__init__()
        self.names = tuple(heads)
        self.kinds = tuple(kinds[name] for name in heads)
        self.maps = nn.ModuleDict({name: module for name, module in heads.items() if module is not None})

    def forward(self, state: Tensor) -> tuple[Tensor, ...]:
        found = []
        for name, kind in zip(self.names, self.kinds, strict=True):
            value = cast(Tensor, self.maps[name](state)) if name in self.maps else state
            found.append(torch.softmax(value, dim=-1) if kind == "classes" else unit(value))
        return tuple(found)
