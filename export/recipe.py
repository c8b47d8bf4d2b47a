"""A recipe: one TOML file that says what goes into a bundle, and where each part comes from.

    [model]                              # all optional
    name = "street-watch"

    [modalities.image]                   # in the order in which fusion takes them
    checkpoint = "clip-vit-base-patch32" # a folder as a hub serves it, relative to the recipe
    output = "pooled"

    [modalities.sound]
    checkpoint = "wav2vec2-base"
    projection = "sound-to-512.safetensors"

    [fusion]
    kind = "gated"
    weights = "gated.safetensors"

    [heads.hazard]
    weights = "hazard.safetensors"
    labels = ["clear", "brake"]

    [captions]                           # of a checkpoint that describes pictures (BLIP)
    modality = "image"
    beams = 3

    [decoder]                            # alone, or beside modalities
    checkpoint = "stable-diffusion-v1-5" # a diffusers pipeline
    schedule = { kind = "ddim" }

    [export]
    precisions = ["fp32", "int8-cpu"]
    calibration = { image = "frames/", sound = "sounds/" }

docs/recipes.md explains every key. An unknown one is an error that names the nearest known one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..runtime.errors import ExportError, MissingExtraError
from ..runtime.hints import did_you_mean

__all__ = [
    "CaptionsRecipe", "DecoderRecipe", "ExportRecipe", "FusionRecipe", "HeadRecipe", "ModalityRecipe", "ModelRecipe",
    "Recipe",
    "read_recipe", "to_toml",
]  # fmt: skip


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    pass


class ModelRecipe(_Table, frozen=True, kw_only=True):
    """What the manifest says of the model; by default the recipe's file name, and nothing more."""

    name: str | None = None
    version: str = "1"
    licence: str = "not stated"
    description: str = ""


class ModalityRecipe(_Table, frozen=True, kw_only=True):
    """One encoder.

    `checkpoint`: folder; `kind`: image, audio, text or series, where the checkpoint can be more than one; `output`:
    what its tokens are (pooled, class, mean, patches, tokens: what the family offers); `projection`: safetensors with
    `weight` (D, E) and perhaps `bias` (D,), applied to tokens and embedding. `length`: tokens of a text; `seconds`:
    window of a sound. `module`: "file:factory" of your own torch code, which must be allowed on the command line, with
    `weights` and, in `preprocess`, the constants of the modality.
    """

    checkpoint: str | None = None
    kind: Literal["image", "audio", "text", "series"] | None = None
    output: str | None = None
    projection: str | None = None
    length: int | None = None
    seconds: float | None = None
    rate_hz: float | None = None
    max_age_s: float | None = None
    module: str | None = None
    weights: str | None = None
    preprocess: dict[str, Any] = {}


class FusionRecipe(_Table, frozen=True, kw_only=True):
    """How modalities become one state: a kind of export/modules/fusion with its weights, or a module of your own.

    `options`: numbers of the module's constructor that differ from its defaults (width, heads, hidden, state, …).
    """

    kind: str = "mean"
    weights: str | None = None
    options: dict[str, Any] = {}
    module: str | None = None


class HeadRecipe(_Table, frozen=True, kw_only=True):
    """One linear answer on the fused state: safetensors with `weight` (labels, S) and perhaps `bias`.

    Without `weights`, the classification head that the checkpoint of the only modality brings along.
    """

    labels: tuple[str, ...] = ()
    weights: str | None = None


class CaptionsRecipe(_Table, frozen=True, kw_only=True):
    """Words about what one modality shows, by the text decoder of its checkpoint.

    `length`: the most tokens, prompt and caption together. `prompt`, `max_tokens`, `beams`, `length_penalty` and
    `early_stopping` hold unless a caller asks otherwise; left out, they are what the checkpoint says.
    """

    modality: str
    length: int | None = None
    prompt: str | None = None
    max_tokens: int | None = None
    beams: int | None = None
    length_penalty: float | None = None
    early_stopping: bool | Literal["never"] | None = None


class DecoderRecipe(_Table, frozen=True, kw_only=True):
    """What makes pictures: a diffusers pipeline, or one pass of torch code of your own.

    `checkpoint`: the pipeline's folder; `vae`: the folder of another autoencoder in place of its own, which `keep_vae`
    keeps beside it under the name "full"; `lora`: safetensors, fused into the denoiser, `lora_scale` times; `schedule`:
    `kind` (another sampler on the scheduler's constants) and other fields of the manifest's schedule; `height`,
    `width`: of the picture in pixels; `steps`: numbers of steps that are offered; `drop`: text encoders that are left
    out; `length`: tokens of T5; `encoder` false: no way from pictures to latents.
    `module`: "file:factory" of your own, called with `options`, with `weights` and, in `source`, how a picture is
    prepared for it; `noise`: the shape of its second input.
    """

    checkpoint: str | None = None
    vae: str | None = None
    keep_vae: bool = False
    lora: str | None = None
    lora_scale: float = 1.0
    schedule: dict[str, Any] = {}
    height: int | None = None
    width: int | None = None
    steps: tuple[int, ...] = ()
    default_steps: int | None = None
    guidance: float | None = None
    guidance_range: tuple[float, float] | None = None
    drop: tuple[str, ...] = ()
    length: int | None = None
    encoder: bool = True
    module: str | None = None
    weights: str | None = None
    options: dict[str, Any] = {}
    source: dict[str, Any] = {}
    noise: tuple[int, ...] = ()


class ExportRecipe(_Table, frozen=True, kw_only=True):
    """Which variants are made, and from which captures their INT8 ranges come: modality → file or folder."""

    precisions: tuple[Literal["fp32", "fp16", "int8-cpu", "int8-trt"], ...] = ("fp32", "fp16", "int8-cpu")
    calibration: dict[str, str] = {}
    samples: int = 64


class Recipe(_Table, frozen=True, kw_only=True):
    """The whole file. Paths are relative to the folder that the recipe lies in."""

    model: ModelRecipe = ModelRecipe()
    modalities: dict[str, ModalityRecipe] = {}
    fusion: FusionRecipe | None = None
    heads: dict[str, HeadRecipe] = {}
    captions: CaptionsRecipe | None = None
    decoder: DecoderRecipe | None = None
    export: ExportRecipe = ExportRecipe()


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file. Raises `ExportError`: no such file, not TOML, an unknown key, a wrong type."""
    try:
        document = _toml(path.read_bytes())
    except OSError as error:
        raise ExportError("The recipe cannot be read", found=error.strerror or str(error), expected=str(path)) from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ExportError(f"{path} is not TOML", found=str(error)) from None
    try:
        recipe = msgspec.convert(document, Recipe)
    except msgspec.ValidationError as error:
        raise _refusal(path, str(error)) from None
    _check(path, recipe)
    return recipe


def _toml(data: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib as parser
    else:
        try:
            import tomli as parser
        except ModuleNotFoundError as error:
            raise MissingExtraError("tomli", "export", "Reading a recipe") from error
    document: dict[str, Any] = parser.loads(data.decode("utf-8"))
    return document


_TABLES: dict[str, type[msgspec.Struct]] = {
    "$": Recipe, "$.model": ModelRecipe, "$.modalities[...]": ModalityRecipe, "$.fusion": FusionRecipe,
    "$.heads[...]": HeadRecipe, "$.captions": CaptionsRecipe, "$.decoder": DecoderRecipe, "$.export": ExportRecipe,
}  # fmt: skip


def _refusal(path: Path, complaint: str) -> ExportError:
    """msgspec's complaint in the words of a recipe, with the nearest known key."""
    words, _, place = complaint.partition(" - at ")
    place = place.strip("`") or "$"
    table = place[2:].replace("[...]", ".*") or "the top level"
    unknown = re.search(r"unknown field `(.*)`", words)
    if unknown is None or place not in _TABLES:
        return ExportError(f"{path}: {table} is not as it should be", found=words.replace("`", "'"))
    known = [field.name for field in msgspec.structs.fields(_TABLES[place])]
    return ExportError(
        f"{path}: unknown key in {table}", found=unknown[1], expected=f"one of {', '.join(known)}",
        fix=did_you_mean(unknown[1], known),
    )  # fmt: skip


def _check(path: Path, recipe: Recipe) -> None:
    if not recipe.modalities and recipe.decoder is None:
        raise ExportError(f"{path} names nothing to export", expected="[modalities.NAME], once or more, or [decoder]")
    if recipe.decoder is not None:
        _check_decoder(path, recipe, recipe.decoder)
    for name, modality in recipe.modalities.items():
        if (modality.checkpoint is None) == (modality.module is None):
            found = "both" if modality.checkpoint else "neither"
            raise ExportError(f"{path}: modalities.{name}", found=found, expected="either checkpoint or module")
        if modality.module and modality.kind is None:
            raise ExportError(f"{path}: modalities.{name} has a module of your own", expected="its kind = 'image', …")
    told = recipe.captions
    if told is not None and told.modality not in recipe.modalities:
        raise ExportError(
            f"{path}: captions.modality names no modality of this recipe", found=told.modality,
            expected=f"one of {', '.join(recipe.modalities)}",
        )  # fmt: skip
    known = [*recipe.modalities, *(("prompt", "picture") if recipe.decoder else ())]
    unknown = [name for name in recipe.export.calibration if name not in known]
    if unknown:
        raise ExportError(
            f"{path}: export.calibration names no modality of this recipe", found=", ".join(unknown),
            expected=f"some of {', '.join(known)}",
        )  # fmt: skip


_OF_MODULES = ("weights", "options", "source", "noise")
_OF_BOTH = ("checkpoint", "module")


def _check_decoder(path: Path, recipe: Recipe, table: DecoderRecipe) -> None:
    """One kind of decoder with its own keys only; and nothing that decides where there is nothing to decide on."""
    if (table.checkpoint is None) == (table.module is None):
        found = "both" if table.checkpoint else "neither"
        raise ExportError(f"{path}: decoder", found=found, expected="either checkpoint or module")
    fields = {field.name: field.default for field in msgspec.structs.fields(DecoderRecipe)}
    given = [name for name in fields if name not in _OF_BOTH and getattr(table, name) not in (fields[name], {})]
    mine = _OF_MODULES if table.module else tuple(name for name in fields if name not in (*_OF_MODULES, *_OF_BOTH))
    other = [name for name in given if name not in mine]
    if other:
        kind = "a module of your own" if table.module else "a pipeline"
        raise ExportError(f"{path}: decoder is {kind}", found=", ".join(other), expected=f"some of {', '.join(mine)}")
    if not recipe.modalities and (recipe.fusion is not None or recipe.heads):
        raise ExportError(f"{path} has a fusion or heads", found="no modalities", expected="[modalities.NAME]")


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML that `read_recipe` reads back; what is as by default is left out."""
    try:
        import tomli_w
    except ModuleNotFoundError as error:
        raise MissingExtraError("tomli-w", "export", "Writing a recipe") from error
    return tomli_w.dumps(_without_none(msgspec.to_builtins(recipe)))


def _without_none(value: Any) -> Any:
    """TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return value
