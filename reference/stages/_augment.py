"""Light damage to training samples, so that the encoders stand what a camera and a microphone really deliver."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["damage_mel", "damage_pixels", "damage_radar"]

_DEAD = 0.02
"""Share of samples that carry nothing: a black frame, silence, an empty radar."""


def _some(batch: int, share: float, device: torch.device) -> Tensor:
    return torch.rand(batch, device=device) < share


def damage_pixels(pixels: Tensor, dead_share: float = _DEAD) -> tuple[Tensor, Tensor]:
    """Pixels (B, 3, 64, 64) in [-1, 1], changed; and which samples (B,) still show something (0 or 1)."""
    batch, _, height, width = pixels.shape
    device = pixels.device
    gain = 1.0 + 0.12 * torch.randn(batch, 1, 1, 1, device=device)
    lift = 0.06 * torch.randn(batch, 3, 1, 1, device=device)
    x = _shifted(pixels) * gain + lift
    soft = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, soft, (torch.rand(batch, 1, 1, 1, device=device) * 1.4 - 0.6).clamp(min=0.0))
    x = x + torch.randn_like(x) * (torch.rand(batch, 1, 1, 1, device=device) * 0.06)
    ys, xs = torch.arange(height, device=device), torch.arange(width, device=device)
    top, left = (torch.randint(0, 64, (batch, 1), device=device) for _ in range(2))
    tall, wide = (torch.randint(4, 11, (batch, 1), device=device) for _ in range(2))
    hole = ((ys >= top) & (ys < top + tall))[:, :, None] & ((xs >= left) & (xs < left + wide))[:, None]
    hole = hole & _some(batch, 0.15, device)[:, None, None]
    dead = _some(batch, dead_share, device)
    x = x.masked_fill(hole[:, None], 0.0).clamp(-1.0, 1.0)
    dark = -1.0 + 0.1 * torch.rand_like(x) * torch.rand(batch, 1, 1, 1, device=device)
    return torch.where(dead[:, None, None, None], dark, x), (~dead).float()


def _shifted(pixels: Tensor) -> Tensor:
    """Each quarter of the batch moved by up to two pixels."""
    padded = functional.pad(pixels, (2, 2, 2, 2), mode="replicate")
    size = pixels.shape[-1]
    moved = []
    for part in padded.chunk(4):
        dy, dx = (int(v) for v in torch.randint(0, 5, (2,)))
        moved.append(part[:, :, dy : dy + size, dx : dx + size])
    return torch.cat(moved)


def damage_mel(mel: Tensor, silent: Tensor, dead_share: float = _DEAD) -> tuple[Tensor, Tensor]:
    """Log-mel (B, 40, 61): another gain, some noise, now and then a start that was not recorded, or silence.

    ``silent`` (40,) is what silence looks like. Returns the spectrogram and which samples still say something (B,).
    """
    batch, _, frames = mel.shape
    device = mel.device
    x = mel + 0.12 * torch.randn(batch, 1, 1, device=device)
    x = x + torch.randn_like(x) * (torch.rand(batch, 1, 1, device=device) * 0.08)
    x = torch.maximum(x, silent[None, :, None])
    unheard = torch.randint(0, frames // 2, (batch, 1), device=device) * _some(batch, 0.06, device)[:, None]
    dead = _some(batch, dead_share, device)
    missing = (torch.arange(frames, device=device)[None] < unheard) | dead[:, None]
    return torch.where(missing[:, None], silent[None, :, None], x), (~dead).float()


def damage_radar(series: Tensor, dead_share: float = _DEAD) -> tuple[Tensor, Tensor]:
    """Radar (B, 32, 32): another gain, now and then a late start or nothing at all. As `damage_mel`."""
    batch, frames, _ = series.shape
    device = series.device
    x = series * (1.0 + 0.08 * torch.randn(batch, 1, 1, device=device))
    unseen = torch.randint(0, frames // 3, (batch, 1), device=device) * _some(batch, 0.06, device)[:, None]
    dead = _some(batch, dead_share, device)
    missing = (torch.arange(frames, device=device)[None] < unseen) | dead[:, None]
    return x.masked_fill(missing[:, :, None], 0.0), (~dead).float()
