"""Autoencoders of diffusers as parts: latents → picture, and picture → latents, scalings inside.

`AutoencoderKL` (Rombach et al. 2022) gives the mean of its distribution, where diffusers draws from it;
`AutoencoderTiny` (Bohan's TAESD) is a hundredth of its work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from .folder import class_of, load_network, read_json, weight_files

__all__ = ["KINDS", "Autoencoder", "autoencoder"]

KINDS = ("AutoencoderKL", "AutoencoderTiny")


class _Scaled(nn.Module):
    """x·scale + shift for each channel of the latents."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.float().reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", shift.float().reshape(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Decoding(nn.Module):
    """Latents as the denoiser knows them (1, C, h, w) → picture (1, 3, H, W) in [-1, 1]."""

    def __init__(self, model: Any, scaled: _Scaled, kind: str) -> None:
        super().__init__()
        quantised = kind == "AutoencoderKL" and model.post_quant_conv is not None
        self.after = model.post_quant_conv if quantised else nn.Identity()
        self.scaled, self.decoder = scaled, model.decoder

    def forward(self, latents: Tensor) -> Tensor:
        picture: Tensor = self.decoder(self.after(self.scaled(latents)))
        return picture


class Encoding(nn.Module):
    """The way back; of a distribution its mean."""

    def __init__(self, model: Any, scaled: _Scaled, kind: str) -> None:
        super().__init__()
        quantised = kind == "AutoencoderKL" and model.quant_conv is not None
        self.after = model.quant_conv if quantised else nn.Identity()
        self.scaled, self.encoder, self.halved = scaled, model.encoder, kind == "AutoencoderKL"

    def forward(self, picture: Tensor) -> Tensor:
        moments: Tensor = self.after(self.encoder(picture))
        latents: Tensor = self.scaled(moments.chunk(2, dim=1)[0] if self.halved else moments)
        return latents


@dataclass(frozen=True)
class Autoencoder:
    """`channels` of the latents; a latent cell is `factor` pixels wide. `decode` and `encode` load their half."""

    kind: str
    channels: int
    factor: int
    decode: Callable[[], nn.Module]
    encode: Callable[[], nn.Module]

    @property
    def name(self) -> str:
        """Under which the picture decoder is asked for."""
        return "tiny" if self.kind == "AutoencoderTiny" else "full"


def autoencoder(path: Path) -> Autoencoder:
    """What a folder with an autoencoder holds; nothing is loaded yet. Raises `CheckpointError`."""
    kind = class_of(path)
    if kind not in KINDS:
        raise CheckpointError(
            f"{path} is no autoencoder that chiasm knows", found=kind or "no config.json with a _class_name",
            expected=" or ".join(KINDS),
        )  # fmt: skip
    weight_files(path)
    config = read_json(path / "config.json")
    blocks = config.get("decoder_block_out_channels" if kind == "AutoencoderTiny" else "block_out_channels")
    count = len(blocks) if isinstance(blocks, list) else 4 if kind == "AutoencoderTiny" else 1
    channels = int(config.get("latent_channels", 4))
    scale = float(config.get("scaling_factor") or (1.0 if kind == "AutoencoderTiny" else 0.18215))
    ones = torch.ones(channels)
    mean, std = torch.zeros(channels), ones
    if config.get("latents_mean") and config.get("latents_std"):  # (z − mean)·scale / std, as SDXL's pipeline does
        mean, std = torch.tensor(config["latents_mean"]), torch.tensor(config["latents_std"])
    mean = mean + float(config.get("shift_factor") or 0.0)

    def decode() -> nn.Module:
        return Decoding(load_network(path, kind), _Scaled(std / scale, mean), kind).eval()

    def encode() -> nn.Module:
        return Encoding(load_network(path, kind), _Scaled(scale / std, -mean * scale / std), kind).eval()

    return Autoencoder(kind, channels, 2 ** (count - 1), decode, encode)
