"""The manifest's structs of what makes pictures, and words; decoder_rules.py and caption_rules.py have the promises."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..kernels import Schedule

__all__ = ["Captioner", "Decoder", "DiffusionDecoder", "OnePassDecoder", "PictureInput", "Prompt"]


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


class Captioner(_Struct, frozen=True, kw_only=True):
    """Describes in words what one modality's encoder saw, a token at a time, with caches of static size.

    `prefill`: that encoder's tokens → the keys and values of the attention to them, once a picture; `step`: one token →
    logits of the next, and what it adds to the caches. `length`: the most tokens, prompt and caption together; `cache`:
    (layers, heads, size of a head). A text begins with `bos_id`, in the place of the tokenizer's first special token,
    and ends with `eos_id`. `prompt`, `max_tokens`, `beams`, `length_penalty` and `early_stopping` are what the
    checkpoint does unless asked otherwise; they mean what they mean in transformers.
    """

    modality: str
    prefill: str
    step: str
    tokenizer: str
    bos_id: int
    eos_id: int
    pad_id: int
    vocabulary: int
    length: int
    cache: tuple[int, int, int]
    prompt: str = ""
    max_tokens: int = 20
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
