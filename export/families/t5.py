"""The encoder of T5 (Raffel et al. 2020), mT5 and FLAN-T5: no class token, positions only relative to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import Ask, Kind, Tower

if TYPE_CHECKING:
    from torch import Tensor

    from ..hub import HubFolder
    from ._text import States

_NAMES = {"t5": "T5", "mt5": "MT5"}
MODEL_TYPES = tuple(_NAMES)
KINDS: tuple[Kind, ...] = ("text",)
OUTPUTS = ("mean", "tokens")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The encoder; the bias of the relative positions becomes a constant."""
    from ._text import Plan
    from ._text import load as load_text

    base = f"{_NAMES[str(folder.config['model_type'])]}EncoderModel"
    unused = ("decoder.", "lm_head.")
    plan = Plan(base=base, outputs=OUTPUTS, unused=unused, positions=lambda config: None, states=_states)
    return load_text(folder, ask, plan)


def _states(model: Any, length: int) -> States:
    import torch

    first = model.encoder.block[0].layer[0].SelfAttention
    with torch.no_grad():
        bias = first.compute_bias(length, length).clone()
    first.compute_bias = lambda *sizes, **options: bias

    def run(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        return model(input_ids=ids, attention_mask=mask).last_hidden_state, None

    return run
