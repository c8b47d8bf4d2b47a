"""What the families of text share: masks, pooling, the tower, and how one is read from a folder.

A tower of text takes ids and mask, int64 (1, N). Its embedding is one vector, not normalised; its tokens are that
vector again (1, 1, D), so that a fusion reads what a classifier would, or, where the output `tokens` is asked for, a
vector for each token (1, N, D), zero where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...runtime.errors import ExportError
from . import Ask, Classifier, Tower
from ._words import Words, modality, read_words, text_length

if TYPE_CHECKING:
    from ..hub import HubFolder

__all__ = ["BLOCKED", "LENGTH", "POOLINGS", "Plan", "TextEncoder", "Unit", "causal", "load", "wide"]

LENGTH = 128
"""Tokens of a text unless asked otherwise, or the model takes fewer: every text costs as much as the longest."""
BLOCKED = -1e4
"""Added to the scores of what may not be attended to: e^-10000 is 0 in FP32, and FP16 can hold it."""

States = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""ids (1, N) and the additive mask → last hidden states (1, N, D), and the model's own pooled vector (1, D)."""


def wide(mask: Tensor) -> Tensor:
    """Mask (1, N) of 0 and 1 → what is added to attention scores (1, 1, 1, N)."""
    return (1.0 - mask.to(torch.float32))[:, None, None, :] * BLOCKED


def causal(length: int) -> Tensor:
    """What is added to attention scores so that no token sees a later one (1, 1, N, N)."""
    return torch.full((length, length), BLOCKED).triu(1)[None, None]


def _class(states: Tensor, mask: Tensor) -> Tensor:
    return states[:, 0]


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    here = mask.to(states.dtype)[:, :, None]
    return (states * here).sum(dim=1) / here.sum(dim=1).clamp(min=1e-9)


def _root_mean(states: Tensor, mask: Tensor) -> Tensor:
    here = mask.to(states.dtype)[:, :, None]
    return (states * here).sum(dim=1) / here.sum(dim=1).clamp(min=1e-9).sqrt()


def _weighted_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The n-th token counts n times (Muennighoff 2022)."""
    places = torch.arange(1, states.shape[1] + 1, dtype=states.dtype)[None, :, None]
    weights = places * mask.to(states.dtype)[:, :, None]
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def _max(states: Tensor, mask: Tensor) -> Tensor:
    return (states + (1.0 - mask.to(states.dtype))[:, :, None] * BLOCKED).amax(dim=1)


def _last(states: Tensor, mask: Tensor) -> Tensor:
    """The last token, whichever side is filled up."""
    index = (mask * torch.arange(mask.shape[1])).argmax(dim=1)
    return states.index_select(1, index)[:, 0]


POOLINGS = {
    "class": _class, "mean": _mean, "max": _max, "last": _last, "weighted mean": _weighted_mean,
    "root mean": _root_mean,
}  # fmt: skip
"""Ways from states (1, N, D) and mask (1, N) to one vector (1, D)."""


class Unit(nn.Module):
    """(1, D) → the same direction with length 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x * x).sum(dim=-1, keepdim=True).clamp(min=1e-24).sqrt()


class TextEncoder(nn.Module):
    """ids and mask → tokens and embedding, by `states` of a model.

    `poolings`: names of `POOLINGS`, or `pooled` for the model's own vector; several stand side by side in the
    embedding. `each`: the tokens are those of the text. `after` is applied to the embedding.
    """

    def __init__(
        self, model: nn.Module, states: States, poolings: tuple[str, ...], each: bool, after: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.model, self.states, self.poolings, self.each = model, states, poolings, each
        self.after = after or nn.Identity()

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states, pooled = self.states(ids, wide(mask))
        vectors = [self._pool(how, states, pooled, mask) for how in self.poolings]
        embedding = self.after(vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1))
        return states * mask.to(states.dtype)[:, :, None] if self.each else embedding[:, None], embedding

    @staticmethod
    def _pool(how: str, states: Tensor, pooled: Tensor | None, mask: Tensor) -> Tensor:
        if how == "pooled":
            assert pooled is not None
            return pooled
        return POOLINGS[how](states, mask)


@dataclass(frozen=True)
class Plan:
    """How the models of one kind are read; class names are of transformers.

    `base`: the bare model; `classifying`: the same with a head for sequence classification, which holds the bare one in
    its attribute `inside`; `head(model)`: that head as a module of the output `reads`. `unused`: prefixes of tensors
    that only other heads read; `optional`: (output, prefix of the tensors that no other output needs). `outputs`: what
    can be asked for, the default first. `positions(config)`: the most tokens, None: any. `states(model, length)`: the
    forward pass. `from_left`: the first token has the first position, so that nothing may be filled up before it.
    """

    base: str
    outputs: tuple[str, ...]
    unused: tuple[str, ...]
    positions: Callable[[Any], int | None]
    states: Callable[[Any, int], States]
    classifying: str | None = None
    inside: str = ""
    head: Callable[[Any], nn.Module] = lambda model: model
    reads: str = ""
    optional: tuple[tuple[str, str], ...] = ()
    from_left: bool = False


def load(folder: HubFolder, ask: Ask, plan: Plan) -> Tower:
    """The tower of a folder. A sequence classifier gives what its head reads, unless asked for something else."""
    import transformers

    output = ask.chosen(plan.outputs)
    classifies = plan.classifying is not None and plan.classifying in (folder.config.get("architectures") or ())
    if classifies and ask.output is None:
        output = plan.reads
    absent = tuple(prefix for needed, prefix in plan.optional if needed != output)
    name = plan.classifying if classifies else plan.base
    whole = folder.load(getattr(transformers, str(name)), unused=() if classifies else plan.unused, absent=absent)
    model: Any = getattr(whole, plan.inside) if classifies else whole
    model.set_attn_implementation("eager")
    words = read_words(folder)
    _check_padding(folder, words, plan)
    length = text_length(folder, ask, _least(plan.positions(model.config), words.limit), LENGTH)
    each = output == "tokens"
    encoder = TextEncoder(model, plan.states(model, length), ("mean" if each else output,), each).eval()
    made = modality(ask, words, length, (length if each else 1, int(model.config.hidden_size)))
    classifier = Classifier(plan.head(whole).eval(), folder.labels) if classifies and output == plan.reads else None
    return Tower(encoder, made, {made.tokenizer: words.file}, classifier)


def _check_padding(folder: HubFolder, words: Words, plan: Plan) -> None:
    if plan.from_left and words.padding == "left":
        raise ExportError(
            f"The tokenizer of {folder.path} fills up on the left, where this family counts its positions from",
            found="padding_side left", expected="right", fix="Change it in tokenizer_config.json",
        )  # fmt: skip


def _least(*limits: int | None) -> int | None:
    return min((each for each in limits if each is not None), default=None)
