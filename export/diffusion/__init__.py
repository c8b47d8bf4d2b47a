"""diffusers pipelines → what draws in a bundle. One short file an architecture, found by listing this folder.

Such a file has

    PIPELINES   the classes of model_index.json that it reads
    denoising(folder: PipelineFolder, table: DecoderRecipe) -> Denoising

The networks are those of diffusers and transformers; what is added is what an edge graph needs: static shapes, no
control flow, one forward from named tensors to named tensors, with scalings, time ids, concatenations and the guidance
embedding inside. Nothing is loaded before it is traced: shapes come from the config files.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from ...runtime.errors import CheckpointError
from ...runtime.hints import did_you_mean

if TYPE_CHECKING:
    import torch

    from ...runtime.manifest import Prompt
    from ..assembly import PartSource
    from ..recipe import DecoderRecipe
    from .folder import PipelineFolder

__all__ = ["Architecture", "Denoising", "Words", "architecture_of", "architectures"]


@dataclass(frozen=True)
class Words:
    """One text encoder: the manifest's entry, its part, the bytes of its tokenizer, and the shapes of its outputs."""

    prompt: Prompt
    source: PartSource
    tokenizer: bytes
    outputs: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Denoising:
    """What an architecture makes of a pipeline, before sizes and schedule are settled.

    `network`, `kind`: the denoiser's folder and class; `wrap(network, picture)`: the module that is traced, whose
    forward takes latents, time, what `words` give in their order, guidance where it is `told`, mask and masked latents
    where it `fills`. `sample`: (height, width) of the latents it was trained on; `multiple`: what sizes of latents must
    be a multiple of. `guidance`: what the pipeline does unless asked otherwise; `squeeze`: see `Schedule.strength`.
    """

    words: Mapping[str, Words]
    network: str
    kind: str
    wrap: Callable[[torch.nn.Module, tuple[int, int]], torch.nn.Module]
    channels: int
    sample: tuple[int, int]
    multiple: int
    guidance: float
    told: bool = False
    fills: bool = False
    squeeze: bool = False
    unprompted: Literal["empty", "zeros"] = "empty"


class Architecture(Protocol):
    """What an architecture's file has."""

    PIPELINES: tuple[str, ...]
    denoising: Callable[[PipelineFolder, DecoderRecipe], Denoising]


@cache
def architectures() -> Mapping[str, Architecture]:
    """Name of the file → architecture, in alphabetical order: of the files here those that have `PIPELINES`."""
    names = sorted(each.name for each in pkgutil.iter_modules(__path__))
    found: dict[str, Any] = {name: importlib.import_module(f".{name}", __name__) for name in names}
    return {name: cast(Architecture, each) for name, each in found.items() if hasattr(each, "PIPELINES")}


def architecture_of(folder: PipelineFolder) -> Architecture:
    """The architecture that reads this pipeline; `CheckpointError` lists the known ones and the nearest."""
    known = {kind: each for each in architectures().values() for kind in each.PIPELINES}
    if folder.kind in known:
        return known[folder.kind]
    raise CheckpointError(
        f"{folder.path} is a pipeline that chiasm does not know", found=folder.kind or "no _class_name",
        expected=f"one of {', '.join(sorted(known))}",
        fix=did_you_mean(folder.kind, known) or "An architecture is one file in export/diffusion",
    )  # fmt: skip
