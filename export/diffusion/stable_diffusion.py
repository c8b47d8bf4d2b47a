"""Stable Diffusion 1.x and 2.x (Rombach et al. 2022), what is distilled from them (LCM, SD-Turbo), and their inpainting
U-Nets of nine channels: one CLIP text encoder, a U-Net that predicts noise or v.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import Denoising
from ._unet import KIND, UNet, extras, sample_size, unet_config
from .folder import PipelineFolder
from .prompts import clip_words

if TYPE_CHECKING:
    from torch import nn

    from ..recipe import DecoderRecipe

_CONSISTENT = ("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline")
PIPELINES = (
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline", *_CONSISTENT,
)  # fmt: skip


def denoising(folder: PipelineFolder, table: DecoderRecipe) -> Denoising:
    """The last states of CLIP condition the U-Net."""
    config = unet_config(folder)
    channels, fills, embedding = extras(folder, config)
    return Denoising(
        words={"clip": clip_words(folder, "clip", "", penultimate=False, pooled=False)},
        network="unet",
        kind=KIND,
        wrap=partial(_wrap, embedding, fills),
        channels=channels,
        sample=sample_size(folder, config.get("sample_size")),
        multiple=1,
        guidance=8.5 if folder.kind in _CONSISTENT else 7.5,
        told=bool(embedding),
        fills=fills,
        squeeze=folder.kind in _CONSISTENT,
    )


def _wrap(embedding: int, fills: bool, network: nn.Module, picture: Any) -> nn.Module:
    return UNet(network, 1, embedding=embedding, fills=fills)
