"""What RoBERTa hands on to others: where positions begin, and the head on the class token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["class_head", "places", "positions"]


def positions(config: Any) -> int:
    """The most tokens: the first has the position after that of the padding."""
    return int(config.max_position_embeddings) - int(config.pad_token_id) - 1


def places(padding: int, length: int) -> Tensor:
    """Positions (1, N) of a text that starts on the left. What fills up has others in the original, unread."""
    return torch.arange(padding + 1, padding + 1 + length)[None]


def class_head(model: Any) -> nn.Module:
    """The classification head as a module of the class token alone."""
    head = model.classifier
    return nn.Sequential(head.dense, nn.Tanh(), head.out_proj)
