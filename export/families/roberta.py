"""RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020), CamemBERT. Classifiers read the class token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import Ask, Kind, Tower

if TYPE_CHECKING:
    from torch import Tensor

    from ..hub import HubFolder
    from ._text import States

_NAMES = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}
MODEL_TYPES = tuple(_NAMES)
KINDS: tuple[Kind, ...] = ("text",)
OUTPUTS = ("mean", "class", "pooled", "tokens")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; positions, and the type of every token, become constants."""
    from ._roberta import class_head, positions
    from ._text import Plan
    from ._text import load as load_text

    name = _NAMES[str(folder.config["model_type"])]
    plan = Plan(
        base=f"{name}Model", outputs=OUTPUTS, unused=("lm_head.", "classifier.", "qa_outputs."), positions=positions,
        states=_states, optional=(("pooled", "pooler."),), from_left=True,
        classifying=f"{name}ForSequenceClassification", inside="roberta", head=class_head, reads="class",
    )  # fmt: skip
    return load_text(folder, ask, plan)


def _states(model: Any, length: int) -> States:
    import torch

    from ._roberta import places

    at, first = places(model.embeddings.padding_idx, length), torch.zeros(1, length, dtype=torch.long)

    def run(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        made = model(input_ids=ids, attention_mask=mask, position_ids=at, token_type_ids=first)
        return made.last_hidden_state, made.pooler_output

    return run
