"""The `[captions]` table of a recipe → a captioner, beside the encoder whose tokens it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..runtime.caption import Captions as Stage
from ..runtime.errors import ExportError, InputError
from .families import Ask, Captions, Kind, families, family_of
from .hub import HubFolder

if TYPE_CHECKING:
    from ..runtime.backends import Session
    from .assembly import Assembly
    from .recipe import CaptionsRecipe, ModalityRecipe, Recipe

__all__ = ["described", "describes", "with_captions"]


def describes(folder: HubFolder) -> bool:
    """Whether the folder's family has a text decoder for what its encoder sees."""
    return hasattr(family_of(folder)[1], "captioner")


def described(recipe: Recipe, root: Path, ask: Callable[[str, Kind, ModalityRecipe], Ask]) -> Captions | None:
    """The captioner that a recipe asks for, with the tower of its modality; None where it asks for none.

    `ask(name, kind, table)`: what the table of a modality asks of its encoder. Raises `ExportError`, `CheckpointError`.
    """
    table = recipe.captions
    if table is None:
        return None
    modality = recipe.modalities[table.modality]
    where = f"captions.modality {table.modality!r}"
    if modality.checkpoint is None:
        raise ExportError(f"{where} is a network of your own", expected="a checkpoint that describes pictures")
    if modality.projection is not None:
        raise ExportError(
            f"{where} has a projection, and a text decoder reads what its own encoder gives",
            found=f"projection = {modality.projection!r}", expected="no projection",
        )  # fmt: skip
    folder = HubFolder(root / modality.checkpoint)
    name, family = family_of(folder)
    if not hasattr(family, "captioner"):
        known = [each for each, other in families().items() if hasattr(other, "captioner")]
        raise ExportError(f"{where} cannot be described in words", found=name, expected=f"one of {', '.join(known)}")
    asked = replace(ask(table.modality, modality.kind or family.KINDS[0], modality), length=table.length)
    found: Captions = family.captioner(folder, asked)
    return _as_asked(found, table)


def _as_asked(found: Captions, table: CaptionsRecipe) -> Captions:
    """With what the recipe says of prompt and search in the place of what the checkpoint says."""
    stage = Stage(found.captioner, _no_session, found.files.__getitem__)
    asked = {
        "beams": table.beams, "max_tokens": table.max_tokens, "prompt": table.prompt,
        "length_penalty": table.length_penalty, "early_stopping": table.early_stopping,
    }  # fmt: skip
    try:
        stage.check(**asked)  # type: ignore[arg-type]
    except InputError as error:
        raise ExportError(f"[captions] cannot be used: {error}") from error
    given = {name: value for name, value in asked.items() if value is not None}
    return replace(found, captioner=msgspec.structs.replace(found.captioner, **given))


def _no_session(part: str) -> Session:
    raise AssertionError(f"{part} is not run to check what is asked of it")


def with_captions(assembly: Assembly, found: Captions | None) -> Assembly:
    """The assembly with the captioner's parts behind all others, and its tokenizer."""
    if found is None:
        return assembly
    return replace(
        assembly, captioner=found.captioner, parts={**assembly.parts, **found.parts},
        files={**assembly.files, **found.files},
    )  # fmt: skip
