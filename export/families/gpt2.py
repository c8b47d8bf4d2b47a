"""GPT-2 (Radford et al. 2019). `last` is the last token, which has read the whole text; classifiers read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import Ask, Kind, Tower

if TYPE_CHECKING:
    from torch import Tensor

    from ..hub import HubFolder
    from ._text import States

MODEL_TYPES = ("gpt2",)
KINDS: tuple[Kind, ...] = ("text",)
OUTPUTS = ("last", "mean", "tokens")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The decoder stack as an encoder; the causal mask becomes a constant."""
    from ._text import Plan
    from ._text import load as load_text

    plan = Plan(
        base="GPT2Model", outputs=OUTPUTS, unused=("lm_head.", "score."), states=_states,
        positions=lambda config: int(config.max_position_embeddings),
        classifying="GPT2ForSequenceClassification", inside="transformer", head=lambda model: model.score, reads="last",
    )  # fmt: skip
    return load_text(folder, ask, plan)


def _states(model: Any, length: int) -> States:
    import torch

    from ._text import causal

    earlier, places = causal(length), torch.arange(length)[None]

    def run(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        made = model(input_ids=ids, attention_mask=mask + earlier, position_ids=places, use_cache=False)
        return made.last_hidden_state, None

    return run
