"""SDXL (Podell et al. 2023), its Turbo and LCM distillations: two CLIP text encoders, the second one's projected state,
and a U-Net that is told the size of the picture.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ...runtime.errors import CheckpointError
from . import Denoising
from ._unet import KIND, UNet, extras, sample_size, unet_config
from .folder import PipelineFolder
from .prompts import clip_words

if TYPE_CHECKING:
    from torch import nn

    from ..recipe import DecoderRecipe

PIPELINES = ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline")


def denoising(folder: PipelineFolder, table: DecoderRecipe) -> Denoising:
    """The states before the last layer of both text encoders, side by side, condition the U-Net."""
    if folder.index.get("requires_aesthetics_score") or not folder.has("text_encoder"):
        raise CheckpointError(
            f"{folder.path} refines what another pipeline began", found="an SDXL refiner", expected="an SDXL base",
        )  # fmt: skip
    config = unet_config(folder)
    channels, fills, embedding = extras(folder, config)
    words = {
        "clip": clip_words(folder, "clip", "", penultimate=True, pooled=False),
        "clip_2": clip_words(folder, "clip_2", "_2", penultimate=True, pooled=True),
    }
    return Denoising(
        words=words,
        network="unet",
        kind=KIND,
        wrap=partial(_wrap, embedding, fills),
        channels=channels,
        sample=sample_size(folder, config.get("sample_size")),
        multiple=1,
        guidance=5.0,
        told=bool(embedding),
        fills=fills,
        unprompted="zeros" if folder.index.get("force_zeros_for_empty_prompt", True) else "empty",
    )


def _wrap(embedding: int, fills: bool, network: nn.Module, picture: tuple[int, int]) -> nn.Module:
    return UNet(network, 2, picture=picture, embedding=embedding, fills=fills)
