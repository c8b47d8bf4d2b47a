"""Puts what draws into an assembly, beside what perceives or alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.errors import ExportError
from ...runtime.manifest import Model
from ..assembly import Assembly

if TYPE_CHECKING:
    from ..recipe import DecoderRecipe

__all__ = ["bare", "with_decoder"]


def bare(model: Model) -> Assembly:
    """An assembly that perceives nothing."""
    return Assembly(model=model, modalities=(), fusion=None, heads={}, parts={})


def with_decoder(assembly: Assembly, table: DecoderRecipe, root: Path, allowed: Collection[str]) -> Assembly:
    """The assembly with the decoder of a recipe. Raises `ExportError` where two parts or files share a name."""
    from .drawing import draw

    drawing = draw(table, root, allowed)
    for taken, new in ((assembly.parts, drawing.parts), (assembly.files, drawing.files)):
        twice = sorted(set(taken) & set(new))
        if twice:
            raise ExportError(
                "The decoder has a name that a modality has too", found=", ".join(twice),
                expected=f"modalities that are not called {' or '.join(twice)}",
            )  # fmt: skip
    return replace(
        assembly, decoder=drawing.decoder, parts={**assembly.parts, **drawing.parts},
        files={**assembly.files, **drawing.files},
    )  # fmt: skip
