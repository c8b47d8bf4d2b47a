"""Small layers shared by the encoders and the fusion heads.

All of them export to ONNX with static shapes, use no boolean control flow, and mask by arithmetic.
Letters in shapes: B batch, N tokens, D width, H heads.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

__all__ = [
    "MASKED",
    "Attention",
    "Block",
    "ConvUnit",
    "ConvUnit2d",
    "CrossBlock",
    "FeedForward",
    "Residual2d",
    "closed",
    "masked_softmax",
    "unit",
]

MASKED = 1.0e4
"""What is taken from the score of an absent entry: enough to make exp() zero, and still a number in FP16."""


def unit(x: Tensor) -> Tensor:
    """Scale the last axis to unit length; a zero vector stays (nearly) zero instead of becoming NaN."""
    return x / torch.sqrt((x * x).sum(dim=-1, keepdim=True) + 1.0e-6)


def closed(mask: Tensor) -> Tensor:
    """A bias for attention scores: 0 where ``mask`` is 1, minus `MASKED` where it is 0."""
    return (mask - 1.0) * MASKED


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis where ``mask`` (0 or 1, broadcastable) is 1; exactly 0 where it is 0.

    Where the whole mask is 0 the result is all 0, never NaN.
    """
    return torch.softmax(scores + closed(mask), dim=-1) * mask


class ConvUnit(nn.Module):
    """Convolution over one axis, batch normalisation (which folds into it), ReLU: (B, C, T) → (B, C', T / stride)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(cast(Tensor, self.norm(self.conv(x))))


class ConvUnit2d(nn.Module):
    """`ConvUnit` over two axes: (B, C, H, W) → (B, C', H / stride, W / stride); an even kernel must be the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - stride + 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(cast(Tensor, self.norm(self.conv(x))))


class Residual2d(nn.Module):
    """Two 3x3 convolutions beside a strided 1x1 shortcut (He et al. 2016): (B, C, H, W) → (B, C', H/s, W/s)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.short_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(cast(Tensor, self.first_norm(self.first(x))))
        return torch.relu(cast(Tensor, self.second_norm(self.second(y)) + self.short_norm(self.short(x))))


class Attention(nn.Module):
    """Multi-head attention of ``queries`` (B, N, D) over ``keys`` (B, M, D), with an optional bias (B, M) on the
    keys.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        return x.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)

    def forward(self, queries: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
        q, k, v = self._split(self.query(queries)), self._split(self.key(keys)), self._split(self.value(keys))
        scores = q @ k.transpose(-1, -2) * (1.0 / math.sqrt(q.shape[-1]))
        if bias is not None:
            scores = scores + bias[:, None, None, :]
        mixed = torch.softmax(scores, dim=-1) @ v
        return cast(Tensor, self.out(mixed.transpose(1, 2).reshape(queries.shape)))


class FeedForward(nn.Module):
    """Linear, ReLU, linear, on the last axis (ReLU, because its output quantises well to uint8)."""

    def __init__(self, width: int, hidden: int, outputs: int | None = None) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, outputs or width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.down(torch.relu(self.up(x))))


class Block(nn.Module):
    """Pre-norm transformer block (Xiong et al. 2020): (B, N, D) → (B, N, D)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.forward_norm = nn.LayerNorm(width)
        self.feed = FeedForward(width, hidden)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, bias)
        return cast(Tensor, x + self.feed(self.forward_norm(x)))


class CrossBlock(nn.Module):
    """As ``Block``, but ``x`` (B, N, D) reads from other tokens (B, M, D)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.other_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.forward_norm = nn.LayerNorm(width)
        self.feed = FeedForward(width, hidden)

    def forward(self, x: Tensor, others: Tensor, bias: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm(x), self.other_norm(others), bias)
        return cast(Tensor, x + self.feed(self.forward_norm(x)))
