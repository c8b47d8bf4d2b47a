"""DistilBERT (Sanh et al. 2019): half of BERT's layers, no pooler; sequence classifiers read the class token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import Ask, Kind, Tower

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..hub import HubFolder
    from ._text import States

MODEL_TYPES = ("distilbert",)
KINDS: tuple[Kind, ...] = ("text",)
OUTPUTS = ("mean", "class", "tokens")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder."""
    from ._text import Plan
    from ._text import load as load_text

    plan = Plan(
        base="DistilBertModel", outputs=OUTPUTS, unused=("vocab_", "classifier.", "pre_classifier.", "qa_outputs."),
        positions=lambda config: int(config.max_position_embeddings), states=_states,
        classifying="DistilBertForSequenceClassification", inside="distilbert", head=_head, reads="class",
    )  # fmt: skip
    return load_text(folder, ask, plan)


def _head(model: Any) -> nn.Module:
    from torch import nn

    return nn.Sequential(model.pre_classifier, nn.ReLU(), model.classifier)


def _states(model: Any, length: int) -> States:
    def run(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        return model(input_ids=ids, attention_mask=mask).last_hidden_state, None

    return run
