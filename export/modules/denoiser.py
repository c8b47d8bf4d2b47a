"""The latent denoiser: a small diffusion transformer that predicts the velocity of a rectified flow.

Sources: rectified flow (Liu et al. 2022; Lipman et al. 2022), the DiT block with adaptive layer norm (Peebles & Xie
2022), one modulation shared by all blocks plus a learned table per block (PixArt-α, Chen et al. 2023).

    x_t = (1 − t)·x_0 + t·noise,   v = noise − x_0,   hence x_0 = x_t − t·v
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Denoiser"]


class _Waves(nn.Module):
    """A scalar (B,) → cosines and sines (B, 2·count) at frequencies from 0.25 to 32 turns, evenly spaced in octaves."""

    turns: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("turns", 2 * math.pi * torch.logspace(-2, 5, count, base=2.0), persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        angle = value[:, None] * self.turns
        return torch.cat((angle.cos(), angle.sin()), dim=-1)


class _Block(nn.Module):
    """Self-attention and MLP, each shifted, scaled and gated by the condition."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.table = nn.Parameter(torch.zeros(6, width))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-5)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate="tanh")
        self.down = nn.Linear(hidden, width)

    def attend(self, x: Tensor) -> Tensor:
        """(B, N, W) → (B, N, W); written out, because 16 tokens are too few for a fused kernel to pay."""
        size, count, width = x.shape
        depth = width // self.heads
        parts = self.qkv(x).reshape(size, count, 3, self.heads, depth)
        query, key, value = (parts[:, :, index].transpose(1, 2) for index in range(3))
        scores = torch.softmax((query * depth**-0.5) @ key.transpose(-1, -2), dim=-1)
        joined = (scores.to(value.dtype) @ value).transpose(1, 2).reshape(size, count, width)
        return self.out(joined)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """``x`` (B, N, W), ``modulation`` (B, 6, W): shift, scale, gate of the attention, then of the MLP."""
        now = modulation + self.table
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (now[:, index : index + 1] for index in range(6))
        x = x + gate_a * self.attend(self.norm(x) * (1 + scale_a) + shift_a)
        hidden = self.act(self.up(self.norm(x) * (1 + scale_m) + shift_m))
        return x + gate_m * self.down(hidden)  # type: ignore[no-any-return]


class Denoiser(nn.Module):
    """Velocity of the flow at (latents, timestep), given the fused state.

    ``latents`` (B, C, S, S) normalised; ``timestep`` (B,) in [0, 1], 1 = pure noise; ``state`` (B, state), zeros =
    nothing known; ``guidance`` (B,): the classifier-free guidance scale that a distilled denoiser imitates in one
    pass (1 = none; a denoiser that was not distilled ignores it). Returns the velocity (B, C, S, S).

    Raises ``ValueError`` when the sizes do not divide.
    """

    def __init__(
        self,
        channels: int = 8,
        size: int = 8,
        patch: int = 2,
        width: int = 192,
        depth: int = 5,
        heads: int = 6,
        mlp: float = 3.0,
        state: int = 256,
    ) -> None:
        super().__init__()
        if size % patch or width % heads:
            raise ValueError(f"patch {patch} must divide size {size}, and heads {heads} must divide width {width}")
        self.channels, self.size, self.patch = channels, size, patch
        self.patchify = nn.PixelUnshuffle(patch)
        self.enter = nn.Linear(channels * patch * patch, width)
        self.place = nn.Parameter(torch.randn(1, (size // patch) ** 2, width) * 0.02)
        self.time = nn.Sequential(_Waves(32), nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width))
        self.scale = nn.Sequential(_Waves(16), nn.Linear(32, width))
        self.state = nn.Linear(state, width)
        self.condition = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.modulate = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(_Block(width, heads, int(width * mlp)) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-5)
        self.final = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, channels * patch * patch)
        self.unpatchify = nn.PixelShuffle(patch)
        for layer in (self.scale[1], self.modulate, self.final, self.leave):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor, timestep: Tensor, state: Tensor, guidance: Tensor) -> Tensor:
        # A guidance scale of 1 … 8 spans a tenth of a turn to most of one of the slowest waves.
        known = self.time(timestep) + self.scale((guidance - 1.0) * 0.125) + self.state(state)
        condition = self.condition(known)
        modulation = self.modulate(condition).reshape(-1, 6, self.place.shape[-1])
        x = self.patchify(latents).flatten(2).transpose(1, 2)
        x = self.enter(x) + self.place
        for block in self.blocks:
            x = block(x, modulation)
        shift, scale = self.final(condition).unsqueeze(1).chunk(2, dim=-1)
        x = self.leave(self.norm(x) * (1 + scale) + shift)
        side = self.size // self.patch
        x = x.transpose(1, 2).reshape(-1, self.channels * self.patch * self.patch, side, side)
        return self.unpatchify(x)  # type: ignore[no-any-return]
