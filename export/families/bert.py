"""BERT (Devlin et al. 2019). `pooled` is the class token through the pooler; sequence classifiers read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import Ask, Kind, Tower

if TYPE_CHECKING:
    from torch import Tensor

    from ..hub import HubFolder
    from ._text import States

MODEL_TYPES = ("bert",)
KINDS: tuple[Kind, ...] = ("text",)
OUTPUTS = ("mean", "class", "pooled", "tokens")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; positions, and the type of every token (the first), become constants."""
    from ._text import Plan
    from ._text import load as load_text

    plan = Plan(
        base="BertModel", outputs=OUTPUTS, unused=("cls.", "classifier.", "qa_outputs."), states=_states,
        positions=lambda config: int(config.max_position_embeddings), optional=(("pooled", "pooler."),),
        classifying="BertForSequenceClassification", inside="bert", head=lambda model: model.classifier, reads="pooled",
    )  # fmt: skip
    return load_text(folder, ask, plan)


def _states(model: Any, length: int) -> States:
    import torch

    places, first = torch.arange(length)[None], torch.zeros(1, length, dtype=torch.long)

    def run(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        made = model(input_ids=ids, attention_mask=mask, position_ids=places, token_type_ids=first)
        return made.last_hidden_state, made.pooler_output

    return run
