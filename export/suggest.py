"""The first recipe for some folders, by looking at them: `chiasm recipe init`, and `chiasm export FOLDER`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..runtime.errors import ExportError
from .captions import describes
from .diffusion.folder import class_of, is_pipeline
from .diffusion.suggesting import suggest_decoder
from .families import Kind, kinds_of
from .hub import HubFolder
from .recipe import CaptionsRecipe, FusionRecipe, ModalityRecipe, ModelRecipe, Recipe

__all__ = ["suggest"]


def suggest(folders: Sequence[Path], root: Path) -> Recipe:
    """A recipe over checkpoint folders, with paths relative to `root`.

    One modality for each tower, named after its kind. Encoders that do not share a space get a gated fusion whose
    weights are still to be trained. The first checkpoint that describes pictures does so in the bundle, too. A
    diffusers pipeline becomes the decoder, an autoencoder beside it its own.
    """
    if not folders:
        raise ExportError("No folder to look at", expected="one checkpoint folder or more")
    drawing = [path for path in folders if is_pipeline(path) or class_of(path).startswith("Autoencoder")]
    if drawing:
        decoder = suggest_decoder(drawing, root)
        others = [path for path in folders if path not in drawing]
        if not others:
            return Recipe(model=ModelRecipe(name=folders[0].resolve().name), decoder=decoder)
        return msgspec.structs.replace(suggest(others, root), decoder=decoder, model=ModelRecipe())
    modalities: dict[str, ModalityRecipe] = {}
    captions: CaptionsRecipe | None = None
    for path in folders:
        folder = HubFolder(path)
        kinds = kinds_of(folder)
        place = os.path.relpath(path.absolute(), root.absolute())
        for kind in kinds:
            table = ModalityRecipe(checkpoint=place, kind=kind if len(kinds) > 1 else None)
            name = _free(kind, path, modalities)
            modalities[name] = table
            if captions is None and describes(folder):
                captions = CaptionsRecipe(modality=name)
    alone = len(folders) == 1
    fusion = None if alone else FusionRecipe(kind="gated", weights="fusion.safetensors")
    model = ModelRecipe(name=folders[0].resolve().name) if alone else ModelRecipe()
    return Recipe(model=model, modalities=modalities, fusion=fusion, captions=captions)


def _free(kind: Kind, path: Path, taken: dict[str, ModalityRecipe]) -> str:
    """The kind; when it is taken, the kind and the folder's name."""
    if kind not in taken:
        return kind
    stem = re.sub(r"[^a-z0-9]+", "_", path.resolve().name.lower()).strip("_")
    name, count = f"{kind}_{stem}", 1
    while name in taken:
        count += 1
        name = f"{kind}_{stem}_{count}"
    return name
