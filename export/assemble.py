"""A recipe over public checkpoints → an `Assembly`: encoders with their projections, fusion, heads.

Encoders are loaded at once, because fusion and heads need their shapes; what a decoder is made of, part by part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..runtime.errors import CheckpointError, ExportError
from ..runtime.manifest import Fusion, Head, Modality, Model, TextModality
from . import interfaces
from .assembly import Assembly, PartSource
from .captions import described, with_captions
from .checkpoints import assemble_checkpoint, is_own_format, load_checkpoint
from .diffusion.joining import bare, with_decoder
from .families import Ask, Captions, Kind, Tower, family_of, kinds_of
from .hub import HubFolder
from .own_code import own_module, own_tower
from .recipe import FusionRecipe, HeadRecipe, ModalityRecipe, Recipe, read_recipe, to_toml
from .spaces import spaces_of
from .suggest import suggest
from .weights import build_module, load_weights, read_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["RECIPE", "assemble", "open_assembly"]

RECIPE = "recipe.toml"
"""The recipe's name inside a bundle."""

_RATES: dict[Kind, tuple[float, float | None]] = {
    "image": (30.0, 0.5), "audio": (10.0, 1.0), "text": (1.0, None), "series": (20.0, 0.5),
}  # fmt: skip
"""kind → usual rate in Hz, and seconds after which a packet counts as absent."""
_FUSION = "fuse.{}"
_HEADS = "heads"
_EMBEDDING = "embedding"


def open_assembly(source: Path, allowed: Collection[str] = ()) -> tuple[Assembly, Recipe | None]:
    """What a path names: a recipe, a checkpoint of chiasm's own format, or a folder as a hub serves it.

    The recipe that was used comes with it, and lies in the bundle as recipe.toml; chiasm's own format needs none.
    """
    if source.suffix == ".toml":
        recipe, root, name = read_recipe(source), source.parent, source.stem
    elif is_own_format(source):
        return assemble_checkpoint(load_checkpoint(source)), None
    else:
        recipe, root, name = suggest([source], source), source, source.resolve().name
    assembly = assemble(recipe, root, name=name, allowed=allowed)
    return replace(assembly, files={**assembly.files, RECIPE: to_toml(recipe).encode()}), recipe


def assemble(recipe: Recipe, root: Path, *, name: str, allowed: Collection[str] = ()) -> Assembly:
    """The assembly of a recipe whose paths are relative to `root`; `name`: of the model where the recipe gives none.

    `allowed`: modules of the user's own ("file:factory") that the recipe may run. Raises `ExportError` and
    `CheckpointError`.
    """
    model = Model(
        name=recipe.model.name or name, version=recipe.model.version, licence=recipe.model.licence,
        description=recipe.model.description,
    )  # fmt: skip
    senses = _senses(recipe, root, model, allowed) if recipe.modalities else bare(model)
    return senses if recipe.decoder is None else with_decoder(senses, recipe.decoder, root, allowed)


def _senses(recipe: Recipe, root: Path, model: Model, allowed: Collection[str]) -> Assembly:
    told = described(recipe, root, _ask)
    towers = {each: _tower(each, table, root, allowed, told) for each, table in recipe.modalities.items()}
    files: dict[str, bytes] = {}
    modalities = tuple(_modality(tower, files) for tower in towers.values())
    kind, fuser = _fusion(recipe.fusion or FusionRecipe(), towers, root, allowed)
    part = _FUSION.format(kind)
    heads, answers = _heads(recipe.heads, towers, fuser.size, root)
    parts = {
        each.part: PartSource(interfaces.encoder(each), _given(tower.module))
        for each, tower in zip(modalities, towers.values(), strict=True)
    }
    parts[part] = PartSource(interfaces.fusion(modalities), _given(fuser))
    parts[_HEADS] = PartSource(interfaces.heads(fuser.size, tuple(heads)), _given(answers))
    order = tuple(each.name for each in modalities)
    made = Assembly(
        model=model,
        modalities=modalities,
        fusion=Fusion(kinds={kind: part}, default=kind, order=order, state=fuser.size),
        heads=heads,
        parts=parts,
        files=files,
        spaces=spaces_of(towers),
    )  # fmt: skip
    return with_captions(made, told)


def _given(module: torch.nn.Module) -> Callable[[], torch.nn.Module]:
    return lambda: module.eval()


def _tower(name: str, table: ModalityRecipe, root: Path, allowed: Collection[str], told: Captions | None) -> Tower:
    """The encoder of one modality, with its projection, embedding of unit length; `told`: has one of them already."""
    from .modules.adapters import AdaptedEncoder

    if told is not None and told.captioner.modality == name:
        tower = told.tower
    else:
        tower = _own(name, table, root, allowed) if table.module else _public(name, table, root)
    projection = _linear(root / table.projection, f"projection of {name}") if table.projection else None
    rows, width = tower.modality.tokens
    modality = tower.modality
    if projection is not None:
        if projection.in_features != width:
            raise CheckpointError(
                f"The projection of {name!r} does not fit its encoder",
                found=f"weight {tuple(projection.weight.shape)}", expected=f"(any, {width})",
            )  # fmt: skip
        modality = msgspec.structs.replace(modality, tokens=(rows, projection.out_features))
    module = AdaptedEncoder(tower.module, projection).eval()
    if projection is not None:  # it leads out of the space that the checkpoint's head and its other tower know
        return Tower(module, modality, tower.files)
    return replace(tower, module=module, modality=modality)


def _public(name: str, table: ModalityRecipe, root: Path) -> Tower:
    folder = HubFolder(root / str(table.checkpoint))
    kinds = kinds_of(folder)
    kind = table.kind or kinds[0]
    if kind not in kinds or (table.kind is None and len(kinds) > 1):
        raise ExportError(
            f"modalities.{name}: {folder.path} encodes {' and '.join(kinds)}",
            found=f"kind {table.kind!r}" if table.kind else "no kind", expected=f"kind = {kinds[0]!r}",
        )  # fmt: skip
    return family_of(folder)[1].load(folder, _ask(name, kind, table))


def _ask(name: str, kind: Kind, table: ModalityRecipe) -> Ask:
    rate_hz, max_age_s = _RATES[kind]
    age = max_age_s if table.max_age_s is None else table.max_age_s
    return Ask(
        name=name, kind=kind, output=table.output, length=table.length, seconds=table.seconds,
        rate_hz=table.rate_hz or rate_hz, max_age_s=None if age is None or math.isinf(age) else age,
    )  # fmt: skip


def _own(name: str, table: ModalityRecipe, root: Path, allowed: Collection[str]) -> Tower:
    assert table.module is not None
    assert table.kind is not None
    module = own_module(table.module, root, allowed, weights=table.weights)
    return own_tower(module, _ask(name, table.kind, table), table.preprocess, root)


def _linear(path: Path, what: str) -> torch.nn.Linear:
    """`weight` (D, E) and perhaps `bias` (D,) of a safetensors file as a layer."""
    import torch

    tensors = read_tensors(path, what)
    weight = tensors.get("weight")
    if weight is None or weight.ndim != 2 or not set(tensors) <= {"weight", "bias"}:
        found = ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors.items()) or "nothing"
        raise CheckpointError(f"{path} is no linear layer", found=found, expected="weight (D, E), perhaps bias (D,)")
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in tensors)
    load_weights(layer, path, what)
    return layer.float().eval()


def _modality(tower: Tower, files: dict[str, bytes]) -> Modality:
    """The modality, with its files put under names that no other modality uses for other bytes."""
    modality = tower.modality
    for file, data in tower.files.items():
        place = file if files.get(file, data) == data else f"{modality.name}.{file}"
        files[place] = data
        if isinstance(modality, TextModality) and modality.tokenizer == file:
            modality = msgspec.structs.replace(modality, tokenizer=place)
    return modality


def _fusion(table: FusionRecipe, towers: Mapping[str, Tower], root: Path, allowed: Collection[str]) -> tuple[str, Any]:
    """(kind, module with a `size`): a learned kind with its weights, the mean of a shared space, or the user's own."""
    counts = tuple(tower.modality.tokens[0] for tower in towers.values())
    widths = {name: tower.modality.tokens[1] for name, tower in towers.items()}
    spoken = ", ".join(f"{name} {width}" for name, width in widths.items())
    if len(set(widths.values())) > 1:
        raise ExportError(
            "The encoders' tokens differ in width, so that nothing can fuse them", found=spoken, expected="one width",
            fix="Give the narrower ones a projection = 'file.safetensors', weight (D, E)",
        )  # fmt: skip
    width = next(iter(widths.values()))
    senses = {"counts": list(counts), "token": width}
    if table.module is not None:
        module: Any = own_module(table.module, root, allowed, weights=table.weights, options=table.options)
        module.size = _state_of(module, counts, width)
        return "own", module
    if table.kind == "mean":
        if len(towers) > 1 and len({tower.shared for tower in towers.values()} - {None}) != 1:
            raise ExportError(
                "These encoders do not share a space, so that their mean says nothing", found=spoken,
                expected="a learned fusion",
                fix="Train one of export/modules/fusion and name it: [fusion] kind, weights",
            )  # fmt: skip
        return "mean", build_module("fusion", {"kind": "mean", **senses})
    if table.weights is None:
        raise ExportError(
            f"The fusion kind {table.kind!r} is learned", found="no weights",
            expected="[fusion] weights = a safetensors file",
        )  # fmt: skip
    extra = {"lifetimes": [1.0] * len(towers)} if table.kind == "adaptive" else {}
    module = build_module("fusion", {"kind": table.kind, **senses, **extra, **table.options})
    load_weights(module, root / table.weights, f"fusion {table.kind}")
    return table.kind, module


def _state_of(module: torch.nn.Module, counts: tuple[int, ...], width: int) -> int:
    """The width of the state that a module of the user's own gives, found by running it once."""
    import torch

    tokens = [torch.zeros(1, count, width) for count in counts]
    ones = torch.ones(1, len(counts))
    try:
        with torch.inference_mode():
            state, weights = module(*tokens, ones, torch.zeros_like(ones))
    except Exception as error:  # code of the user's own may raise anything
        raise ExportError(
            "The fusion module cannot be run", found=f"{type(error).__name__}: {error}",
            expected="forward(tokens of each modality, presence (1, M), age (1, M)) -> state (1, S), weights (1, M)",
        ) from error  # fmt: skip
    if state.ndim != 2 or weights.shape != ones.shape:
        raise ExportError(
            "The fusion module gives the wrong shapes", found=f"{tuple(state.shape)}, {tuple(weights.shape)}",
            expected=f"state (1, S), weights {tuple(ones.shape)}",
        )  # fmt: skip
    return int(state.shape[1])


def _heads(
    tables: Mapping[str, HeadRecipe], towers: Mapping[str, Tower], state: int, root: Path
) -> tuple[dict[str, Head], torch.nn.Module]:
    """The manifest's heads and the one module that answers all of them; the fused embedding is always among them."""
    from .modules.adapters import LinearHeads

    maps: dict[str, torch.nn.Module | None] = {_EMBEDDING: None}
    labels: dict[str, tuple[str, ...]] = {_EMBEDDING: ()}
    only = next(iter(towers.values())) if len(towers) == 1 else None
    if only is not None and only.classifier is not None and not tables:
        maps["label"], labels["label"] = only.classifier.module, only.classifier.labels
    for name, table in tables.items():
        maps[name], labels[name] = _head(name, table, only, state, root)
    kinds: dict[str, Any] = {name: "classes" if labels[name] else "embedding" for name in maps}
    spoken = [name for name, kind in kinds.items() if kind == "embedding"]
    if spoken != [_EMBEDDING]:
        found = ", ".join(spoken[1:])
        raise ExportError("Heads without labels", found=found, expected="labels = [...], one per output")
    heads = {name: Head(part=_HEADS, output=name, kind=kinds[name], labels=labels[name]) for name in maps}
    return heads, LinearHeads(maps, kinds).eval()


def _head(
    name: str, table: HeadRecipe, only: Tower | None, state: int, root: Path
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    import torch

    if table.weights is None:
        if only is not None and only.classifier is not None:
            return only.classifier.module, table.labels or only.classifier.labels
        if len(table.labels) == state:  # what the encoder gives are the logits
            return torch.nn.Identity(), table.labels
        raise ExportError(f"heads.{name} has no weights, and no checkpoint brings them", expected="weights = a file")
    layer = _linear(root / table.weights, f"head {name}")
    expected = (len(table.labels), state) if table.labels else ("any", state)
    if layer.in_features != state or (table.labels and layer.out_features != len(table.labels)):
        raise CheckpointError(f"heads.{name}: weights do not fit", found=tuple(layer.weight.shape), expected=expected)
    return layer, table.labels
