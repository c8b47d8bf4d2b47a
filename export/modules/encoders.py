"""The four encoders of the reference model. Each returns ``tokens`` (B, N, 128) and a unit ``embedding`` (B, 128)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .layers import Block, ConvUnit, ConvUnit2d, CrossBlock, Residual2d, closed, unit

__all__ = [
    "ENCODERS", "AudioEncoder", "ImageEncoder", "LogMel", "PatchImageEncoder", "RadarEncoder", "TextEncoder",
    "mel_filters",
]  # fmt: skip


class Readout(nn.Module):
    """Features (B, N, C) → normalised tokens (B, N, D) and a unit embedding (B, D) of their mean."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Linear(inputs, width)
        self.norm = nn.LayerNorm(width)
        self.embed = nn.Linear(width, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.norm(self.tokens(features))
        return tokens, unit(self.embed(tokens.mean(dim=1)))


class ImageEncoder(nn.Module):
    """Pixels (B, 3, 64, 64), scaled to [-1, 1], through a small residual CNN to a 4x4 grid: 16 tokens."""

    def __init__(self, channels: tuple[int, ...] = (24, 40, 80, 112), width: int = 128) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 5, 2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels[0])
        self.stages = nn.ModuleList(Residual2d(a, b, 2) for a, b in pairwise(channels))
        self.readout = Readout(channels[-1], width)
        self.place = nn.Parameter(torch.zeros(1, 16, channels[-1]))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(cast(Tensor, self.stem_norm(self.stem(pixels))))
        for stage in self.stages:
            x = stage(x)
        return cast("tuple[Tensor, Tensor]", self.readout(x.flatten(2).transpose(1, 2) + self.place))


class PatchImageEncoder(nn.Module):
    """Pixels (B, 3, 64, 64), scaled to [-1, 1], in patches of 4x4, then two convolutions to a 4x4 grid: 16 tokens.

    A patch is 48 numbers: with as many channels its linear map loses nothing, and no convolution runs at a finer grid.
    A fifth of `ImageEncoder`'s products; it learns from one (``chiasm.reference.stages.image_student``).
    """

    def __init__(self, channels: tuple[int, ...] = (48, 64, 112), width: int = 128) -> None:
        super().__init__()
        self.patches = ConvUnit2d(3, channels[0], 4, 4)
        self.stages = nn.ModuleList(ConvUnit2d(a, b, 3, 2) for a, b in pairwise(channels))
        self.readout = Readout(channels[-1], width)
        self.place = nn.Parameter(torch.zeros(1, 16, channels[-1]))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patches(pixels)
        for stage in self.stages:
            x = stage(x)
        return cast("tuple[Tensor, Tensor]", self.readout(x.flatten(2).transpose(1, 2) + self.place))


class TextEncoder(nn.Module):
    """Token ids and mask (B, 32) through a 2-layer transformer; 8 learned queries read it out: 8 tokens.

    Shorter inputs (B, L ≤ 32) are accepted too: training trims the padding.
    """

    def __init__(
        self,
        vocabulary: int = 512,
        length: int = 32,
        layers: int = 2,
        heads: int = 4,
        hidden: int = 128,
        queries: int = 8,
        width: int = 128,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.queries = nn.Parameter(torch.randn(1, queries, width) * 0.2)
        self.read = CrossBlock(width, heads, hidden)
        self.readout = Readout(width, width)
        nn.init.normal_(self.words.weight, std=0.05)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.words(ids) + self.places[:, : ids.shape[1]]
        bias = closed(mask.to(x.dtype))
        for block in self.blocks:
            x = block(x, bias)
        queries = self.queries.expand(x.shape[0], -1, -1)
        return cast("tuple[Tensor, Tensor]", self.readout(self.read(queries, x, bias)))


def mel_filters(bins: int, mels: int, rate: int, low: float, high: float) -> NDArray[np.float32]:
    """Triangular filters (mels, bins) on Slaney's mel scale, each of unit area in Hz.

    Slaney, Auditory Toolbox (1998): linear below 1 kHz (200/3 Hz a mel), logarithmic above (27 mels for a factor 6.4).
    ``bins`` covers 0 … rate / 2 evenly.
    """
    knee, step, ratio = 1000.0, 200.0 / 3.0, math.log(6.4) / 27.0

    def to_mel(hz: float) -> float:
        return hz / step if hz < knee else knee / step + math.log(hz / knee) / ratio

    points = np.linspace(to_mel(low), to_mel(high), mels + 2)
    edges = np.where(points < knee / step, points * step, knee * np.exp(ratio * (points - knee / step)))
    hz = np.linspace(0.0, rate / 2.0, bins)
    rising = (hz - edges[:-2, None]) / (edges[1:-1, None] - edges[:-2, None])
    falling = (edges[2:, None] - hz) / (edges[2:, None] - edges[1:-1, None])
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:, None] - edges[:-2, None]))
    return cast("NDArray[np.float32]", filters.astype(np.float32))


class LogMel(nn.Module):
    """Waveform (B, samples) → normalised log-mel spectrogram (B, mels, frames); nothing in it is learned.

    The DFT is two matrix products with fixed cosines and sines under a periodic Hann window, so that every backend can
    run it. Window and cosines are even around the middle of a frame and sines odd: each product takes the sum or the
    difference of a frame and its mirror image, half as long. ``window`` must be twice ``hop`` (`ValueError`).
    Values: log(max(power through the mel filters, 1e-5)), minus ``mean``, divided by ``deviation``.
    """

    def __init__(
        self,
        rate: int = 16000,
        window: int = 512,
        hop: int = 256,
        mels: int = 40,
        low: float = 30.0,
        high: float = 8000.0,
        mean: float = -6.0,
        deviation: float = 4.0,
    ) -> None:
        super().__init__()
        if window != 2 * hop:
            raise ValueError(f"window is {window}, expected twice hop ({2 * hop})")
        self.hop, self.mean, self.deviation = hop, mean, deviation
        bins, places = window // 2 + 1, np.arange(1, hop + 1)
        angles = 2.0 * np.pi * np.outer(places, np.arange(bins)) / window
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * places / window)
        hann[-1] /= 2.0  # the middle of a frame is its own mirror image
        for name, wave in (("cosines", np.cos(angles)), ("sines", np.sin(angles))):
            self.register_buffer(name, torch.tensor(wave * hann[:, None], dtype=torch.float32), persistent=False)
        self.register_buffer("filters", torch.tensor(mel_filters(bins, mels, rate, low, high)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        count = waveform.shape[1] // self.hop
        hops = waveform[:, : count * self.hop].reshape(-1, count, self.hop)
        first, second = hops[:, :-1], hops[:, 1:]
        ahead, mirrored = torch.cat((first[:, :, 1:], second[:, :, :1]), dim=2), second.flip(2)
        real = (ahead + mirrored) @ cast(Tensor, self.cosines)
        imaginary = (ahead - mirrored) @ cast(Tensor, self.sines)
        power = cast(Tensor, self.filters) @ (real * real + imaginary * imaginary).transpose(1, 2)
        return (torch.log(torch.clamp(power, min=1.0e-5)) - self.mean) / self.deviation


class AudioEncoder(nn.Module):
    """Waveform (B, 16000) in [-1, 1] → log-mel (B, 40, 61) → 1-D CNN over time → 8 tokens."""

    def __init__(
        self,
        channels: tuple[int, ...] = (80, 96, 112),
        width: int = 128,
        mels: int = 40,
        mean: float = -6.0,
        deviation: float = 4.0,
    ) -> None:
        super().__init__()
        self.mel = LogMel(mels=mels, mean=mean, deviation=deviation)
        self.convs = nn.Sequential(
            ConvUnit(mels, channels[0], 5, 2),
            ConvUnit(channels[0], channels[1], 5, 2),
            ConvUnit(channels[1], channels[2], 3, 2),
        )
        self.readout = Readout(channels[-1], width)

    def from_mel(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """The learned part alone, from a log-mel spectrogram (B, 40, 61)."""
        return cast("tuple[Tensor, Tensor]", self.readout(self.convs(mel).transpose(1, 2)))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        return self.from_mel(self.mel(waveform))


class RadarEncoder(nn.Module):
    """Series (B, 32 times, 32 range bins) → 1-D CNN over time, range bins as channels → 8 tokens."""

    def __init__(self, bins: int = 32, channels: tuple[int, ...] = (80, 96, 96), width: int = 128) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvUnit(bins, channels[0], 5, 2),
            ConvUnit(channels[0], channels[1], 5, 2),
            ConvUnit(channels[1], channels[2], 3, 1),
        )
        self.readout = Readout(channels[-1], width)

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        return cast("tuple[Tensor, Tensor]", self.readout(self.convs(series.transpose(1, 2)).transpose(1, 2)))


ENCODERS: dict[str, type[nn.Module]] = {
    "image_cnn": ImageEncoder,
    "image_patches": PatchImageEncoder,
    "text_transformer": TextEncoder,
    "audio_cnn": AudioEncoder,
    "radar_cnn": RadarEncoder,
}
"""Encoder classes by the ``kind`` that a checkpoint's config.json names."""
