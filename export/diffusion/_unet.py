"""What the pipelines around a U-Net share (`UNet2DConditionModel`): its sizes, its extra inputs, its wrapper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from .folder import PipelineFolder

__all__ = ["UNet", "extras", "guidance_embedding", "sample_size", "unet_config"]

KIND = "UNet2DConditionModel"
_NONE = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "encoder_hid_dim")
"""Settings that stand for inputs which nothing gives here."""


class UNet(nn.Module):
    """Latents, time, tokens of each text encoder [, pooled] [, guidance] [, mask, masked] → prediction.

    `count`: of text encoders, whose tokens stand side by side; `picture`: SDXL's time ids are of that size, uncropped.
    `embedding`: width of the guidance embedding of a guided distillation (LCM), 0: not told.
    """

    ids: Tensor | None

    def __init__(
        self, unet: Any, count: int, *, picture: tuple[int, int] | None = None, embedding: int = 0, fills: bool = False
    ) -> None:
        super().__init__()
        self.unet, self.count, self.embedding, self.fills = unet, count, embedding, fills
        ids = None if picture is None else torch.tensor([[*picture, 0, 0, *picture]], dtype=torch.float32)
        self.register_buffer("ids", ids, persistent=False)

    def forward(self, latents: Tensor, timestep: Tensor, *others: Tensor) -> Tensor:
        left = list(others)
        tokens = torch.cat(left[: self.count], dim=-1) if self.count > 1 else left[0]
        left = left[self.count :]
        added = None if self.ids is None else {"text_embeds": left.pop(0), "time_ids": self.ids}
        told = guidance_embedding(left.pop(0), self.embedding) if self.embedding else None
        if self.fills:
            latents = torch.cat([latents, *left], dim=1)
        prediction: Tensor = self.unet(
            latents, timestep, tokens, timestep_cond=told, added_cond_kwargs=added, return_dict=False
        )[0]
        return prediction


def guidance_embedding(guidance: Tensor, width: int) -> Tensor:
    """(1,) → (1, width): sines and cosines of (guidance − 1)·1000 at falling rates (Meng et al. 2023; Kingma's VDM)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / (half - 1)))
    angles = ((guidance - 1.0) * 1000.0)[:, None] * rates[None, :]
    waves = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return nn.functional.pad(waves, (0, 1)) if width % 2 else waves


def unet_config(folder: PipelineFolder, latents: int | None = None) -> dict[str, Any]:
    """The U-Net's config.json, if it has no inputs but those that we give it."""
    config = folder.config("unet", (KIND,))
    for key in _NONE:
        if config.get(key) is not None:
            raise CheckpointError(
                f"{folder.path / 'unet'} has an input that nothing gives it", found=f"{key} = {config[key]!r}",
                expected="a U-Net that is told the time, words and perhaps the guidance",
            )  # fmt: skip
    return config


def extras(folder: PipelineFolder, config: dict[str, Any]) -> tuple[int, bool, int]:
    """(channels of the latents, whether it takes mask and masked picture, width of the guidance embedding)."""
    taken, given = int(config.get("in_channels", 4)), int(config.get("out_channels", 4))
    if taken not in (given, 2 * given + 1):
        raise CheckpointError(
            f"{folder.path / 'unet'} takes latents that nothing makes", found=f"{taken} channels in, {given} out",
            expected=f"{given} in, or {2 * given + 1} to fill in a masked picture",
        )  # fmt: skip
    return given, taken != given, int(config.get("time_cond_proj_dim") or 0)


def sample_size(folder: PipelineFolder, value: Any) -> tuple[int, int]:
    """(height, width) in cells of the latents that a network was trained on."""
    size: Sequence[Any] = value if isinstance(value, list | tuple) else (value, value)
    if len(size) != 2 or not all(isinstance(each, int) and each > 0 for each in size):
        raise CheckpointError(
            f"{folder.path} does not say how large its latents are", found=value, expected="a sample_size",
            fix="Give height and width in the recipe, and a sample_size in the config.json of the denoiser",
        )  # fmt: skip
    return int(size[0]), int(size[1])
