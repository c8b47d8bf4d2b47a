"""What the pairs share: the text tower of a checkpoint whose other tower sees or hears."""

from __future__ import annotations

from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from ..hub import HubFolder
from . import Ask, Similarity, Tower
from ._pixels import unit, vector
from ._words import Words, modality, text_length

__all__ = ["BLOCKED", "WORDS", "Reading", "first_of", "must_have", "text_tower"]

WORDS = ("pooled", "class", "mean", "tokens")
"""What can be asked of a text tower: its vector in the shared space, the state it is made from, the mean of all states,
or a state for each token."""
BLOCKED = -1e4
"""Added to the scores of what may not be attended to: e^-10000 is 0 in FP32, and FP16 can hold it."""


class Reading(nn.Module):
    """Base of the text towers: ids and mask (B, N) → tokens and embedding. A family gives `states` and `project`.

    `masked`: whether the model itself reads the mask; the mean of all states and the states of all tokens always do.
    Without a mask, every place counts.
    """

    model: Any
    masked = False

    def __init__(self, model: nn.Module, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output

    @property
    def takes_mask(self) -> bool:
        """Whether the graph has an input for it."""
        return self.masked or self.output in ("mean", "tokens")

    def states(self, ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The last hidden states (B, N, D), and the one of them that the model pools (B, D)."""
        raise NotImplementedError

    def project(self, state: Tensor) -> Tensor:
        """The pooled state in the shared space (B, E)."""
        raise NotImplementedError

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states, state = self.states(ids, mask)
        if mask is not None and self.output in ("mean", "tokens"):
            there = mask.to(states.dtype)[:, :, None]
            if self.output == "tokens":
                return states * there, unit(self.project(state))
            return vector((states * there).sum(dim=1) / there.sum(dim=1).clamp(min=1.0))
        return vector(self.project(state) if self.output == "pooled" else state)


def text_tower(
    folder: HubFolder,
    ask: Ask,
    module: Reading,
    words: Words,
    limit: int,
    shared: str | None,
    similarity: Similarity | None,
) -> Tower:
    """The tower of a text encoder that takes at most `limit` tokens, and as many unless asked otherwise."""
    length = text_length(folder, ask, min(limit, words.limit or limit))
    ids = torch.full((1, length), words.pad_id)
    with torch.inference_mode():
        tokens, _ = module.eval()(ids, torch.ones_like(ids))
    made = modality(ask, words, length, (tokens.shape[1], tokens.shape[2]))
    made = msgspec.structs.replace(made, mask=module.takes_mask)
    return Tower(module, made, {made.tokenizer: words.file}, shared=shared, similarity=similarity)


def first_of(marks: Tensor, states: Tensor) -> Tensor:
    """The state (B, D) at the first place that is marked; `marks` (B, N) true or false. One product, no index."""
    first = marks.to(torch.float32).argmax(dim=1, keepdim=True)
    chosen = (torch.arange(states.shape[1])[None] == first).to(states.dtype)
    return (chosen[:, None] @ states)[:, 0]


def must_have(folder: HubFolder, ask: Ask, kinds: tuple[str, ...]) -> None:
    """`CheckpointError` unless the checkpoint has a tower of the kind that is asked for."""
    if ask.kind not in kinds:
        raise CheckpointError(
            f"{folder.path} has no tower for {ask.name!r}", found=f"model_type {folder.model_type!r}",
            expected=f"a modality of kind {' or '.join(kinds)}, not {ask.kind}",
        )  # fmt: skip
