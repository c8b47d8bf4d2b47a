"""The promises between the fields of a decoder; rules.py calls `check_decoder`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from ..kernels import KernelError, plan_steps
from .decoders import Decoder, DiffusionDecoder, OnePassDecoder, Prompt
from .promises import NAME, Promises, has_only, has_tensors, must, part_of, positive, spoken
from .schema import Manifest
from .values import TensorSpec

__all__ = ["MOST_STEPS", "check_decoder"]

MOST_STEPS = 1000
_SCALAR = ("float32", (1,))


def check_decoder(decoder: Decoder, manifest: Manifest) -> None:
    """Raise ManifestError unless every promise between the fields of the decoder holds."""
    height, width = decoder.picture
    positive("decoder.picture", height=height, width=width)
    if isinstance(decoder, OnePassDecoder):
        _check_one_pass(decoder, manifest)
        return
    channels, rows, columns = decoder.latent
    positive("decoder.latent", channels=channels, height=rows, width=columns)
    for name, prompt in decoder.prompts.items():
        _check_prompt(name, prompt, manifest)
    _check_denoiser(decoder, manifest)
    _check_pictures(decoder, manifest)
    low, high = decoder.guidance_range
    must(low <= decoder.guidance <= high, "decoder.guidance", decoder.guidance, f"{low} to {high}")
    _check_steps(decoder)


def _check_prompt(name: str, prompt: Prompt, manifest: Manifest) -> None:
    where = f"prompt {name}"
    must(NAME.fullmatch(name) is not None, "decoder.prompts", name, "names of letters, digits and '_'")
    positive(where, length=prompt.length)
    must(0 <= prompt.pad_id < 2**31, f"{where}, pad_id", prompt.pad_id, "a token id")
    must(prompt.tokenizer in manifest.files, f"{where}, tokenizer", prompt.tokenizer, "a file listed in files")
    part = part_of(prompt.part, f"{where}, part", manifest)
    must(len(part.inputs) <= 2, f"{where}, inputs", len(part.inputs), "ids, and perhaps a mask")
    for spec in part.inputs:
        expected = ("int64", (1, prompt.length))
        must(_promise(spec) == expected, f"{where}, input {spec.name!r}", spoken(_promise(spec)), spoken(expected))


def _promise(spec: TensorSpec) -> tuple[str, tuple[int, ...]]:
    return spec.dtype, spec.shape


def _check_denoiser(decoder: DiffusionDecoder, manifest: Manifest) -> None:
    where, latent = "decoder.denoiser", ("float32", (1, *decoder.latent))
    denoiser = part_of(decoder.denoiser, where, manifest)
    expected: Promises = {"latents": latent, "timestep": _SCALAR}
    found = {spec.name for spec in denoiser.inputs}
    if decoder.prompts:
        expected |= _conditions(decoder.prompts, manifest, found)
    else:
        must(manifest.fusion is not None, "decoder.prompts", "none", "prompts, because there is no fusion")
        assert manifest.fusion is not None
        expected["state"] = ("float32", (1, manifest.fusion.state))
    if "guidance" in found:
        expected["guidance"] = _SCALAR
    if "mask" in found or "masked" in found:
        expected |= {"mask": ("float32", (1, 1, *decoder.latent[1:])), "masked": latent}
        must(
            decoder.encoder is not None, "decoder.encoder", None, "a part, because the denoiser takes a masked picture"
        )
    has_only(f"{where}, inputs", denoiser.inputs, expected)
    has_tensors(f"{where}, outputs", denoiser.outputs, {"prediction": latent})
    if "guidance" not in found and not decoder.prompts:
        limits = decoder.guidance_range
        must(limits == (1.0, 1.0), "decoder.guidance_range", list(limits), "[1, 1]: the denoiser is not told of it")


def _conditions(prompts: Mapping[str, Prompt], manifest: Manifest, found: set[str]) -> Promises:
    """The denoiser's inputs that come from prompts, each of which feeds at least one."""
    expected: Promises = {}
    for name, prompt in prompts.items():
        given = {f"{name}.{spec.name}": _promise(spec) for spec in manifest.parts[prompt.part].outputs}
        taken = {condition: promise for condition, promise in given.items() if condition in found}
        must(bool(taken), f"prompt {name}", "an input of the denoiser for none of its outputs", " or ".join(given))
        expected |= taken
    return expected


def _check_pictures(decoder: DiffusionDecoder, manifest: Manifest) -> None:
    latent, picture = ("float32", (1, *decoder.latent)), ("float32", (1, 3, *decoder.picture))
    names = ", ".join(decoder.pictures)
    must(decoder.default in decoder.pictures, "decoder.default", decoder.default, f"one of {names}")
    for name, part_name in decoder.pictures.items():
        part = part_of(part_name, f"decoder.pictures.{name}", manifest)
        has_only(f"decoder.pictures.{name}, inputs", part.inputs, {"latents": latent})
        has_tensors(f"decoder.pictures.{name}, outputs", part.outputs, {"picture": picture})
    if decoder.encoder is not None:
        must(
            bool(decoder.prompts),
            "decoder.encoder",
            decoder.encoder,
            "null: a fused state is not started from a picture",
        )
        part = part_of(decoder.encoder, "decoder.encoder", manifest)
        has_only("decoder.encoder, inputs", part.inputs, {"picture": picture})
        has_tensors("decoder.encoder, outputs", part.outputs, {"latents": latent})


def _check_steps(decoder: DiffusionDecoder) -> None:
    """Every number of steps that is offered can be planned."""
    steps = decoder.steps
    rising = all(before < after for before, after in pairwise(steps))
    must(0 < len(steps) <= 64 and rising, "decoder.steps", list(steps)[:64], "1 to 64 numbers of steps, rising")
    must(steps[0] >= 1 and steps[-1] <= MOST_STEPS, "decoder.steps", list(steps), f"numbers from 1 to {MOST_STEPS}")
    must(decoder.default_steps in steps, "decoder.default_steps", decoder.default_steps, f"one of {list(steps)}")
    try:
        for count in steps:
            plan_steps(decoder.schedule, count)
    except KernelError as error:
        must(False, f"decoder.schedule, {error.argument}", error.found, error.expected)


def _check_one_pass(decoder: OnePassDecoder, manifest: Manifest) -> None:
    source = decoder.source
    positive("decoder.source", height=source.height, width=source.width)
    must(all(value > 0 for value in source.std), "decoder.source, std", source.std, "more than zero")
    must(source.scale != 0, "decoder.source, scale", source.scale, "not zero")
    part = part_of(decoder.part, "decoder.part", manifest)
    expected: Promises = {"source": ("float32", (1, 3, source.height, source.width))}
    noise = [spec for spec in part.inputs if spec.name == "noise"]
    expected |= {spec.name: ("float32", spec.shape) for spec in noise}
    has_only("decoder.part, inputs", part.inputs, expected)
    has_tensors("decoder.part, outputs", part.outputs, {"picture": ("float32", (1, 3, *decoder.picture))})
