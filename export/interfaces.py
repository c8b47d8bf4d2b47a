"""What each part takes and gives: names are fixed by the part's role, shapes by the checkpoint's configuration."""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime.manifest import AudioModality, ImageModality, Modality, SeriesModality
from ..runtime.values import TensorSpec
from .checkpoints import Config

__all__ = ["Interface", "interfaces"]


@dataclass(frozen=True)
class Interface:
    """Inputs of one part with static shapes, and the names of its outputs, both in the order of the module's `forward`.

    `role` is one of encoder, fusion, heads, denoiser, picture.
    """

    role: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]


def _f32(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "float32", shape)


def _encoder_inputs(modality: Modality) -> tuple[TensorSpec, ...]:
    if isinstance(modality, ImageModality):
        return (_f32("pixels", 1, 3, modality.height, modality.width),)
    if isinstance(modality, AudioModality):
        return (_f32("waveform", 1, modality.samples),)
    if isinstance(modality, SeriesModality):
        return (_f32("series", 1, modality.frames, modality.channels),)
    return tuple(TensorSpec(name, "int64", (1, modality.length)) for name in ("ids", "mask"))


def _fusion_inputs(config: Config) -> tuple[TensorSpec, ...]:
    count = len(config.modalities)
    tokens = tuple(_f32(each.name, 1, *each.tokens) for each in config.modalities)
    return (*tokens, _f32("presence", 1, count), _f32("age", 1, count))


def interfaces(config: Config) -> dict[str, Interface]:
    """The interface of every exported part, in the order of `config.parts()`."""
    state = _f32("state", 1, config.state)
    found = {
        each.part: Interface("encoder", _encoder_inputs(each), ("tokens", "embedding")) for each in config.modalities
    }
    for part in config.fusion.kinds.values():
        found[part] = Interface("fusion", _fusion_inputs(config), ("state", "weights"))
    found["heads"] = Interface("heads", (state,), tuple(config.heads))
    if config.decoder is not None:
        latents = _f32("latents", 1, *config.decoder.latent)
        scalars = (_f32("timestep", 1), state, _f32("guidance", 1))
        found[config.decoder.denoiser] = Interface("denoiser", (latents, *scalars), ("prediction",))
        for part in config.decoder.pictures.values():
            found[part] = Interface("picture", (latents,), ("picture",))
    return {part: found[part] for part in config.parts()}
