"""What each part takes and gives: names are fixed by the part's role, shapes by what the manifest says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..runtime.caption_rules import caption_shapes
from ..runtime.manifest import (
    AudioModality,
    Captioner,
    DiffusionDecoder,
    ImageModality,
    Modality,
    SeriesModality,
)
from ..runtime.mel import sound_shape
from ..runtime.values import Array, TensorSpec

__all__ = [
    "Interface", "caption_prefill", "caption_step", "denoiser", "encoder", "example", "fusion", "heads", "picture",
]  # fmt: skip


@dataclass(frozen=True)
class Interface:
    """Inputs of one part with static shapes, and the names of its outputs, both in the order of the module's `forward`.

    `role` is one of encoder, fusion, heads, denoiser, picture, prefill, step.
    """

    role: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]


def example(inputs: Sequence[TensorSpec], seed: int = 0) -> dict[str, Array]:
    """Feeds of the right shapes: integers 0 or 1 (valid as ids and as a mask), floats between 0 and 1."""
    random = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for spec in inputs:
        values = random.random(spec.shape) if spec.dtype.startswith("float") else random.integers(0, 2, spec.shape)
        feeds[spec.name] = values.astype(spec.dtype)
    return feeds


def encoder(modality: Modality) -> Interface:
    """A modality's tensors → tokens (1, N, D) and embedding (1, E)."""
    return Interface("encoder", _encoder_inputs(modality), ("tokens", "embedding"))


def fusion(modalities: Sequence[Modality]) -> Interface:
    """Tokens of every modality, presence and age (1, M) → state (1, S) and weights (1, M)."""
    count = len(modalities)
    tokens = tuple(_f32(each.name, 1, *each.tokens) for each in modalities)
    return Interface("fusion", (*tokens, _f32("presence", 1, count), _f32("age", 1, count)), ("state", "weights"))


def heads(state: int, names: Sequence[str]) -> Interface:
    """The state (1, S) → one output per head."""
    return Interface("heads", (_f32("state", 1, state),), tuple(names))


def denoiser(decoder: DiffusionDecoder, state: int) -> Interface:
    """Latents, time, state and guidance → the prediction."""
    latents = _f32("latents", 1, *decoder.latent)
    inputs = (latents, _f32("timestep", 1), _f32("state", 1, state), _f32("guidance", 1))
    return Interface("denoiser", inputs, ("prediction",))


def picture(decoder: DiffusionDecoder) -> Interface:
    """Latents → the picture."""
    return Interface("picture", (_f32("latents", 1, *decoder.latent),), ("picture",))


def caption_prefill(captioner: Captioner, tokens: tuple[int, int]) -> Interface:
    """Tokens of an encoder, (N, D) of them → the keys and values of the attention to them."""
    shapes = caption_shapes(captioner, tokens)
    return Interface("prefill", (_f32("tokens", *shapes["tokens"]),), ("seen_keys", "seen_values"))


def caption_step(captioner: Captioner, tokens: tuple[int, int]) -> Interface:
    """One token, its position, and the keys and values of what was before and is seen → logits, key and value."""
    shapes = caption_shapes(captioner, tokens)
    names = ("keys", "values", "seen_keys", "seen_values")
    whole = tuple(TensorSpec(name, "int64", shapes[name]) for name in ("token", "position"))
    return Interface("step", (*whole, *(_f32(name, *shapes[name]) for name in names)), ("logits", "key", "value"))


def _f32(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "float32", shape)


def _encoder_inputs(modality: Modality) -> tuple[TensorSpec, ...]:
    if isinstance(modality, ImageModality):
        return (_f32("pixels", 1, modality.channels, modality.height, modality.width),)
    if isinstance(modality, AudioModality):
        shape = sound_shape(modality)
        first = _f32("waveform" if modality.mel is None else "features", *shape)
        return (first, TensorSpec("mask", "int64", shape)) if modality.mask else (first,)
    if isinstance(modality, SeriesModality):
        return (_f32("series", 1, modality.frames, modality.channels),)
    names = ("ids", "mask") if modality.mask else ("ids",)
    return tuple(TensorSpec(name, "int64", (1, modality.length)) for name in names)
