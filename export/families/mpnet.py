"""MPNet (Song et al. 2020): positions relative and absolute. Sequence classifiers read the class token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import Ask, Kind, Tower

if TYPE_CHECKING:
    from torch import Tensor

    from ..hub import HubFolder
    from ._text import States

MODEL_TYPES = ("mpnet",)
KINDS: tuple[Kind, ...] = ("text",)
OUTPUTS = ("mean", "class", "pooled", "tokens")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; absolute positions and the bias of the relative ones become constants."""
    from ._roberta import class_head, positions
    from ._text import Plan
    from ._text import load as load_text

    plan = Plan(
        base="MPNetModel", outputs=OUTPUTS, unused=("lm_head.", "classifier.", "qa_outputs."), positions=positions,
        states=_states, optional=(("pooled", "pooler."),), from_left=True,
        classifying="MPNetForSequenceClassification", inside="mpnet", head=class_head, reads="class",
    )  # fmt: skip
    return load_text(folder, ask, plan)


def _states(model: Any, length: int) -> States:
    import torch

    from ._roberta import places

    with torch.no_grad():
        bias = model.encoder.compute_position_bias(torch.zeros(1, length, 1)).clone()
    model.encoder.compute_position_bias = lambda states: bias
    at = places(model.embeddings.padding_idx, length)

    def run(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        made = model(input_ids=ids, attention_mask=mask, position_ids=at)
        return made.last_hidden_state, made.pooler_output

    return run
