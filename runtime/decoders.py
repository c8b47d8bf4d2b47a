"""The manifest's structs of what makes pictures; decoder_rules.py has the promises between their fields."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..kernels import Schedule

__all__ = ["Decoder", "DiffusionDecoder", "OnePassDecoder", "PictureInput", "Prompt"]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Prompt(_Struct, frozen=True, kw_only=True):
    """A text encoder: str → ids int64 (1, length), and perhaps a mask, by the tokenizer file → the part's outputs.

    An output named `tokens` of the prompt `clip` feeds the denoiser's input `clip.tokens`.
    """

    part: str
    tokenizer: str
    length: int
    pad_id: int


class DiffusionDecoder(_Struct, tag="diffusion", tag_field="kind", frozen=True, kw_only=True, omit_defaults=True):
    """Few-step diffusion: per step p = denoiser(latents, timestep, condition), then the sampler's step on p.

    The condition is the fused `state` when there are no `prompts`, else what the prompts' parts give. A denoiser with
    an input `guidance` is told the scale; one without runs a second time with the negative prompt, unless the scale is
    1. `unprompted`: what stands in for a negative prompt that is not given, the empty text or zeros (as in SDXL).
    `steps`: the numbers of steps that are offered. `pictures` maps a name ("tiny", "full") to the part that turns
    latents into the picture in [-1, 1]; `encoder` is the way back, for pictures that are started from. `latent`:
    (C, h, w); `picture`: (height, width). A denoiser that takes `mask` and `masked` was trained to fill in.
    """

    denoiser: str
    pictures: dict[str, str]
    default: str
    schedule: Schedule
    steps: tuple[int, ...]
    default_steps: int
    latent: tuple[int, int, int]
    picture: tuple[int, int]
    guidance: float
    guidance_range: tuple[float, float]
    prompts: dict[str, Prompt] = {}
    unprompted: Literal["empty", "zeros"] = "empty"
    encoder: str | None = None


class PictureInput(_Struct, frozen=True, kw_only=True):
    """uint8 RGB (H, W, 3) → resize → centre crop → (x·scale − mean) / std → float32 (1, 3, height, width)."""

    height: int
    width: int
    resize: Literal["shortest-edge", "exact"]
    filter: Literal["area", "bilinear", "bicubic", "lanczos"]
    crop: Literal["centre", "none"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class OnePassDecoder(_Struct, tag="one-pass", tag_field="kind", frozen=True, kw_only=True):
    """One run of one part: `source`, a prepared picture, and perhaps `noise` → `picture` (1, 3, H, W) in [-1, 1]."""

    part: str
    source: PictureInput
    picture: tuple[int, int]


Decoder = DiffusionDecoder | OnePassDecoder
