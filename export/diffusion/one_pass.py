"""Generators that need one pass (Pix2Pix, SPADE, CycleGAN): a module of your own as the decoder of a bundle."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...runtime.errors import ExportError
from ...runtime.manifest import OnePassDecoder, PictureInput
from ...runtime.values import TensorSpec
from ..assembly import PartSource
from ..interfaces import Interface, example
from ..own_code import own_module
from ..recipe import DecoderRecipe

if TYPE_CHECKING:
    from torch import nn

__all__ = ["one_pass"]

PART = "generator"
_HALF = (0.5, 0.5, 0.5)
_USUAL = {"resize": "exact", "filter": "bicubic", "crop": "none", "scale": 1 / 255, "mean": _HALF, "std": _HALF}
"""How a picture is prepared unless the recipe says otherwise: stretched, in [-1, 1]."""


def one_pass(table: DecoderRecipe, root: Path, allowed: Collection[str]) -> tuple[OnePassDecoder, PartSource]:
    """The decoder and its part. Raises `ExportError` for a module that cannot be run or gives no picture."""
    assert table.module is not None
    try:
        source = msgspec.convert({**_USUAL, **table.source}, PictureInput)
    except msgspec.ValidationError as error:
        raise ExportError(
            "decoder.source does not say how a picture is prepared", found=str(error),
            expected="height and width, and perhaps resize, filter, crop, scale, mean, std",
        ) from None  # fmt: skip
    module = own_module(table.module, root, allowed, weights=table.weights, options=table.options)
    inputs = [TensorSpec("source", "float32", (1, 3, source.height, source.width))]
    if table.noise:
        inputs.append(TensorSpec("noise", "float32", tuple(table.noise)))
    interface = Interface("generator", tuple(inputs), ("picture",))
    return OnePassDecoder(part=PART, source=source, picture=_size(module, interface)), PartSource(
        interface, partial(_same, module)
    )


def _same(module: nn.Module) -> nn.Module:
    return module


def _size(module: nn.Module, interface: Interface) -> tuple[int, int]:
    """Run once on an example; (height, width) of the picture."""
    import torch

    feeds = example(interface.inputs)
    try:
        with torch.inference_mode():
            made = module(*(torch.from_numpy(value) for value in feeds.values()))
    except Exception as error:  # code of the user's own may raise anything
        shapes = ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
        raise ExportError(
            f"The generator cannot be run on {shapes}", found=f"{type(error).__name__}: {error}"
        ) from error
    shape = tuple(getattr(made, "shape", ()))
    if len(shape) != 4 or shape[:2] != (1, 3):
        raise ExportError("The generator gives no picture", found=f"{type(made).__name__} {shape}",
                          expected="one tensor (1, 3, H, W) in [-1, 1]")  # fmt: skip
    return int(shape[2]), int(shape[3])
