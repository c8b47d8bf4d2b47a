"""Stable Diffusion 3 and 3.5 (Esser et al. 2024): two CLIP text encoders and T5, which may be left out
(`drop = ["text_encoder_3"]`), and a transformer that learned a rectified flow.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from . import Denoising, Words
from ._unet import sample_size
from .folder import PipelineFolder
from .prompts import clip_words, t5_words

if TYPE_CHECKING:
    from ..recipe import DecoderRecipe

PIPELINES = ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline")
DROPS = ("text_encoder_3",)
KIND = "SD3Transformer2DModel"
_TOKENS = 256
"""Zeros that stand for T5 where it is left out, as many as diffusers puts there."""


class Transformer(nn.Module):
    """Latents, time, tokens and pooled state of each CLIP [, tokens of T5] → prediction.

    The tokens of the CLIPs stand side by side, filled up with zeros to T5's width; T5's follow them.
    """

    def __init__(self, transformer: Any, five: bool) -> None:
        super().__init__()
        self.transformer, self.five = transformer, five

    def forward(self, latents: Tensor, timestep: Tensor, *others: Tensor) -> Tensor:
        first, pooled, second, pooled_2 = others[:4]
        clip, width = torch.cat([first, second], dim=-1), int(self.transformer.config.joint_attention_dim)
        clip = nn.functional.pad(clip, (0, width - clip.shape[-1]))
        rest = others[4] if self.five else torch.zeros(1, _TOKENS, width)
        prediction: Tensor = self.transformer(
            latents, torch.cat([clip, rest], dim=1), torch.cat([pooled, pooled_2], dim=-1), timestep, return_dict=False
        )[0]
        return prediction


def denoising(folder: PipelineFolder, table: DecoderRecipe) -> Denoising:
    """CLIP's states before its last layer and projected states, and T5's last states."""
    config = folder.config("transformer", (KIND,))
    five = folder.has("text_encoder_3") and "text_encoder_3" not in table.drop
    words: dict[str, Words] = {
        "clip": clip_words(folder, "clip", "", penultimate=True, pooled=True),
        "clip_2": clip_words(folder, "clip_2", "_2", penultimate=True, pooled=True),
    }
    if five:
        words["t5"] = t5_words(folder, "t5", "_3", table.length)
    channels = int(config.get("in_channels", 16))
    if int(config.get("out_channels") or channels) != channels:
        raise CheckpointError(
            f"{folder.path / 'transformer'} takes latents that nothing makes", found=f"{channels} channels in",
            expected=f"as many as come out, {config['out_channels']}",
        )  # fmt: skip
    return Denoising(
        words=words,
        network="transformer",
        kind=KIND,
        wrap=partial(_wrap, five),
        channels=channels,
        sample=sample_size(folder, config.get("sample_size", 128)),
        multiple=int(config.get("patch_size", 2)),
        guidance=7.0,
    )


def _wrap(five: bool, network: nn.Module, picture: Any) -> nn.Module:
    return Transformer(network, five)
