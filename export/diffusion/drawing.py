"""The recipe's [decoder] → the decoder of a manifest, its parts and its files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...kernels import KernelError, Schedule, plan_steps
from ...runtime.errors import CheckpointError, ExportError
from ...runtime.manifest import Decoder, DiffusionDecoder
from ...runtime.values import TensorSpec
from ..assembly import PartSource
from ..interfaces import Interface
from ..schedules import schedule_from_config
from . import Denoising, architecture_of
from .autoencoders import Autoencoder, autoencoder
from .folder import PipelineFolder, load_network, read_json, weight_files
from .lora import fuse
from .one_pass import one_pass

if TYPE_CHECKING:
    from torch import nn

    from ..recipe import DecoderRecipe

__all__ = ["Drawing", "draw"]

DENOISER, PICTURE, LATENTS = "denoiser", "picture.{}", "latents"
"""Parts; those of the prompts are in prompts.py."""
_FEW = ((1, 2, 4, 8), 4)
_FLOW = ((4, 10, 20, 28, 50), 28)
_MANY = ((4, 10, 20, 30, 50), 20)
"""Numbers of steps that are offered, and the default: of what is distilled for few steps, a flow, the rest."""
_RANGE = (1.0, 20.0)
_GAMMA = 0.3
"""The noise of TCD between its steps, as its authors choose it."""


@dataclass(frozen=True)
class Drawing:
    """`parts` in the order in which data meet them; `files`: the tokenizers."""

    decoder: Decoder
    parts: Mapping[str, PartSource]
    files: Mapping[str, bytes]


def draw(table: DecoderRecipe, root: Path, allowed: Collection[str]) -> Drawing:
    """What the table asks for; paths are relative to `root`. Raises `ExportError` and `CheckpointError`."""
    if table.module is not None:
        generator, source = one_pass(table, root, allowed)
        return Drawing(generator, {generator.part: source}, {})
    folder = PipelineFolder(root / str(table.checkpoint))
    architecture: Any = architecture_of(folder)
    _check_drops(folder, table, getattr(architecture, "DROPS", ()))
    made: Denoising = architecture.denoising(folder, table)
    coders = _autoencoders(folder, table, root)
    latent, picture = _sizes(folder, table, made, coders)
    weight_files(folder.at(made.network))  # what is missing is said now, not after an hour
    schedule = _schedule(folder, table, made)
    files, prompts = _tokenizers(made)
    full = {name: PartSource(_latents_to_picture(latent), each.decode) for name, each in coders.items()}
    pictures = {name: PICTURE.format(name) for name in coders}
    back = next(iter(coders.values()))  # of two autoencoders the larger, which comes first, sees more
    parts = {words.prompt.part: words.source for words in made.words.values()}
    if table.encoder:
        inputs = (TensorSpec("picture", "float32", (1, 3, *picture)),)
        parts[LATENTS] = PartSource(Interface("latents", inputs, ("latents",)), back.encode)
    parts[DENOISER] = PartSource(_denoiser(made, latent), _Denoiser(folder, table, root, made, picture))
    parts |= {pictures[name]: source for name, source in full.items()}
    decoder = DiffusionDecoder(
        denoiser=DENOISER, pictures=pictures, default=list(pictures)[-1], schedule=schedule, latent=latent,
        picture=picture, prompts=prompts, unprompted=made.unprompted, encoder=LATENTS if table.encoder else None,
        **_steps(table, schedule), **_guidance(table, made, schedule),
    )  # fmt: skip
    return Drawing(decoder, parts, files)


@dataclass(frozen=True)
class _Denoiser:
    """Loads the denoiser, with its LoRA, ready to be traced."""

    folder: PipelineFolder
    table: DecoderRecipe
    root: Path
    made: Denoising
    picture: tuple[int, int]

    def __call__(self) -> nn.Module:
        network = load_network(self.folder.at(self.made.network), self.made.kind)
        if self.table.lora is not None:
            fuse(network, self.root / self.table.lora, self.table.lora_scale)
        return self.made.wrap(network, self.picture).eval()


def _check_drops(folder: PipelineFolder, table: DecoderRecipe, known: tuple[str, ...]) -> None:
    unknown = [name for name in table.drop if name not in known]
    if unknown:
        raise ExportError(
            f"decoder.drop: {folder.kind} cannot do without that", found=", ".join(unknown),
            expected=" or ".join(known) or "nothing",
        )  # fmt: skip
    if table.length is not None and "text_encoder_3" not in known:
        raise ExportError("decoder.length is for T5, which this pipeline has not", found=table.length)


def _autoencoders(folder: PipelineFolder, table: DecoderRecipe, root: Path) -> dict[str, Autoencoder]:
    """Name of the picture decoder → autoencoder; the last one is the default."""
    if table.vae is None:
        if table.keep_vae:
            raise ExportError("decoder.keep_vae keeps the pipeline's autoencoder beside another", expected="a vae")
        own = autoencoder(folder.at("vae"))
        return {own.name: own}
    other = autoencoder(root / table.vae)
    if not table.keep_vae:
        return {other.name: other}
    own = autoencoder(folder.at("vae"))
    if own.name == other.name:
        raise ExportError(
            "decoder.keep_vae: two autoencoders of one kind", found=f"{own.kind} twice", expected="an AutoencoderTiny"
        )
    return {each.name: each for each in (own, other)}


def _sizes(
    folder: PipelineFolder, table: DecoderRecipe, made: Denoising, coders: Mapping[str, Autoencoder]
) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """(latent, picture) of what the recipe asks for, else of what the denoiser was trained on."""
    factors = {each.factor for each in coders.values()}
    wrong = [each for each in coders.values() if each.channels != made.channels]
    if wrong or len(factors) > 1:
        found = ", ".join(f"{each.kind} {each.channels} channels, {each.factor} pixels" for each in coders.values())
        raise CheckpointError(
            f"The autoencoder does not fit the denoiser of {folder.path}", found=found,
            expected=f"latents of {made.channels} channels, one size of cells",
        )  # fmt: skip
    factor = factors.pop()
    picture = (table.height or made.sample[0] * factor, table.width or made.sample[1] * factor)
    unit = factor * made.multiple
    if any(side <= 0 or side % unit for side in picture):
        raise ExportError(
            f"Pictures of that size cannot be made by {folder.path}", found=f"{picture[0]} × {picture[1]}",
            expected=f"height and width that are multiples of {unit}",
        )  # fmt: skip
    return (made.channels, picture[0] // factor, picture[1] // factor), picture


def _schedule(folder: PipelineFolder, table: DecoderRecipe, made: Denoising) -> Schedule:
    """The pipeline's own scheduler, or another kind on its constants."""
    config = read_json(folder.at("scheduler") / "scheduler_config.json")
    changes = dict(table.schedule)
    kind = changes.pop("kind", None)
    if kind is not None and not isinstance(kind, str):
        raise ExportError("decoder.schedule, kind", found=kind, expected="a word, such as 'lcm'")
    asked = schedule_from_config(config, kind)
    if asked.kind == "tcd":
        changes = {"eta": _GAMMA} | changes
    if made.squeeze and asked.kind in ("lcm", "tcd"):
        changes = {"strength": "squeeze"} | changes
    return schedule_from_config(config, kind, **changes) if changes else asked


def _few(schedule: Schedule) -> bool:
    """Whether the sampler is one of those that a model is distilled for; Turbo's Euler is told by its spacing."""
    return schedule.kind in ("lcm", "tcd") or (
        schedule.kind.startswith("euler") and schedule.timestep_spacing == "trailing"
    )


def _steps(table: DecoderRecipe, schedule: Schedule) -> dict[str, Any]:
    offered, usual = _FEW if _few(schedule) else _FLOW if schedule.kind == "flow-match" else _MANY
    steps = tuple(sorted(set(table.steps))) or offered
    if table.default_steps is not None:
        steps, usual = tuple(sorted({*steps, table.default_steps})), table.default_steps
    elif usual not in steps:
        usual = steps[-1]
    try:
        for count in steps:
            plan_steps(schedule, count)
    except KernelError as error:
        raise ExportError(
            f"decoder.steps cannot be planned: {error.argument}", found=error.found, expected=error.expected
        ) from None
    return {"steps": steps, "default_steps": usual}


def _guidance(table: DecoderRecipe, made: Denoising, schedule: Schedule) -> dict[str, Any]:
    """A distilled model that is not told of the guidance was trained to do without."""
    usual = 1.0 if _few(schedule) and not made.told else made.guidance
    scale = usual if table.guidance is None else table.guidance
    low, high = table.guidance_range or (min(_RANGE[0], scale), max(_RANGE[1], scale))
    if not low <= scale <= high:
        raise ExportError("decoder.guidance is out of its range", found=scale, expected=f"{low:g} to {high:g}")
    return {"guidance": scale, "guidance_range": (low, high)}


def _tokenizers(made: Denoising) -> tuple[dict[str, bytes], dict[str, Any]]:
    """(files, prompts): text encoders whose tokenizers are the same share a file."""
    import msgspec

    files: dict[str, bytes] = {}
    prompts = {}
    for name, words in made.words.items():
        file = next((each for each, data in files.items() if data == words.tokenizer), words.prompt.tokenizer)
        files[file] = words.tokenizer
        prompts[name] = msgspec.structs.replace(words.prompt, tokenizer=file)
    return files, prompts


def _denoiser(made: Denoising, latent: tuple[int, int, int]) -> Interface:
    """Inputs in the order of the wrapper's forward; what comes from a prompt is named after it.

    A U-Net of two text encoders takes all tokens first, then what is pooled; a transformer's come encoder by encoder.
    """
    shape = (1, *latent)
    given = {f"{name}.{output}": size for name, words in made.words.items() for output, size in words.outputs.items()}
    if made.network == "unet":
        given = dict(sorted(given.items(), key=lambda item: item[0].endswith(".pooled")))
    others: dict[str, tuple[int, ...]] = dict(given)
    if made.told:
        others["guidance"] = (1,)
    if made.fills:
        others |= {"mask": (1, 1, *latent[1:]), "masked": shape}
    inputs = {"latents": shape, "timestep": (1,), **others}
    specs = tuple(TensorSpec(name, "float32", size) for name, size in inputs.items())
    return Interface("denoiser", specs, ("prediction",))


def _latents_to_picture(latent: tuple[int, int, int]) -> Interface:
    return Interface("picture", (TensorSpec("latents", "float32", (1, *latent)),), ("picture",))
