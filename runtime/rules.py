"""The promises between the fields of a manifest: `check` raises on the first one broken, and names it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from .errors import ManifestError, UnsafePathError
from .schema import (
    AudioModality,
    Decoder,
    Fusion,
    Head,
    ImageModality,
    Manifest,
    Modality,
    Part,
    SeriesModality,
    TextModality,
    Variant,
)
from .values import TensorSpec

__all__ = ["check", "check_path"]

_Promises = dict[str, tuple[str, tuple[int, ...]]]
"""Tensor name → (dtype, shape)."""

DTYPES = ("float32", "float16", "int64", "int32", "uint8", "int8", "bool")
RESERVED = ("time_s", "steps", "seed", "guidance", "decoder", "preview", "presence", "age", "self")
MAX_ELEMENTS = 2**28
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_HASH = re.compile(r"[0-9a-f]{64}")


def check(manifest: Manifest) -> None:
    """Raise ManifestError (or UnsafePathError) unless every promise between the fields holds."""
    for where, number in _numbers(msgspec.to_builtins(manifest), ""):
        _must(math.isfinite(number), where, number, "a finite number")
    for name, part in manifest.parts.items():
        _check_part(name, part)
    _check_files(manifest)
    _must(0 < len(manifest.modalities) <= 64, "modalities", len(manifest.modalities), "1 to 64 modalities")
    _distinct((modality.name for modality in manifest.modalities), "modalities: names")
    for modality in manifest.modalities:
        _check_modality(modality, manifest)
    _check_fusion(manifest.fusion, manifest)
    for name, head in manifest.heads.items():
        _check_head(name, head, manifest)
    fused = [name for name, head in manifest.heads.items() if head.kind == "embedding"]
    _must(len(fused) == 1, "heads", f"{len(fused)} of kind 'embedding'", "exactly one: the fused embedding")
    if manifest.decoder is not None:
        _check_decoder(manifest.decoder, manifest)
    for field, value in msgspec.structs.asdict(manifest.tolerances).items():
        _must(value >= 0, f"tolerances.{field}", value, "zero or more")


def check_path(file: str) -> str:
    """The path itself, if it is relative, has forward slashes, and cannot leave the bundle; else UnsafePathError."""
    steps = file.split("/")
    safe = (
        file.isprintable()
        and not set(file) & set('\\:*?"<>|')
        and all(step not in ("", ".", "..") and len(step.encode()) <= 255 for step in steps)
        and len(file.encode()) <= 1024
    )
    if not safe:
        shown = file if len(file) <= 200 else file[:200] + "…"
        raise UnsafePathError(
            "The manifest names a file outside the bundle, or by an unusable name",
            found=ascii(shown),
            expected="a relative path with forward slashes and no '..'",
            fix="Do not use this bundle unless you know who wrote it",
        )
    return file


def _must(holds: bool, where: str, found: object, expected: object) -> None:
    if not holds:
        shown = ascii(found) if isinstance(found, str) else str(found)
        raise ManifestError(f"manifest.json, {_shown(where)}", found=_shown(shown), expected=expected)


def _shown(text: str) -> str:
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 160 else text[:160] + "…"


def _numbers(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{where}[{index}]")


def _distinct(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        _must(name not in seen, where, f"{name!r} twice", "each once")
        seen.add(name)


def _check_part(name: str, part: Part) -> None:
    where = f"parts.{name}"
    _must(_PART.fullmatch(name) is not None, "parts", name, "names of letters, digits, '_', '.', '-'")
    for side, specs in (("inputs", part.inputs), ("outputs", part.outputs)):
        _must(0 < len(specs) <= 128, f"{where}.{side}", len(specs), "1 to 128 tensors")
        _distinct((spec.name for spec in specs), f"{where}.{side}")
        for spec in specs:
            _check_spec(f"{where}.{side}", spec)
    _distinct((variant.precision for variant in part.variants), f"{where}.variants: precisions")
    names = [variant.precision for variant in part.variants]
    _must(bool(names), f"{where}.variants", "none", "at least one variant")
    _must(part.preferred in names, f"{where}.preferred", part.preferred, f"one of {', '.join(names)}")
    for variant in part.variants:
        _check_variant(f"{where}.{variant.precision}", variant)


def _check_spec(where: str, spec: TensorSpec) -> None:
    where = f"{where}.{spec.name}"
    _must(bool(spec.name) and spec.name.isprintable(), where, spec.name, "a printable name")
    _must(spec.dtype in DTYPES, f"{where}.dtype", spec.dtype, f"one of {', '.join(DTYPES)}")
    _must(0 < len(spec.shape) <= 8, f"{where}.shape", f"{len(spec.shape)} axes", "1 to 8 axes")
    _must(all(0 < size <= MAX_ELEMENTS for size in spec.shape), f"{where}.shape", spec.shape, "positive static sizes")
    _must(math.prod(spec.shape) <= MAX_ELEMENTS, f"{where}.shape", spec.shape, f"at most {MAX_ELEMENTS} elements")


def _check_variant(where: str, variant: Variant) -> None:
    for file, sha256, size in [
        (variant.file, variant.sha256, variant.bytes),
        *((item.file, item.sha256, item.bytes) for item in variant.external),
    ]:
        check_path(file)
        _check_hash(f"{where}: sha256 of {file}", sha256)
        _must(0 < size < 2**40, f"{where}: bytes of {file}", size, "a positive size")
    _must(1 <= variant.opset <= 1000, f"{where}.opset", variant.opset, "an ONNX opset")
    _must(variant.max_relative_error >= 0, f"{where}.max_relative_error", variant.max_relative_error, "zero or more")
    _must(-1.001 <= variant.cosine <= 1.001, f"{where}.cosine", variant.cosine, "-1 to 1")


def _check_hash(where: str, sha256: str) -> None:
    _must(_HASH.fullmatch(sha256) is not None, where, sha256, "64 lower-case hexadecimal digits")


def _check_files(manifest: Manifest) -> None:
    variants = [variant for part in manifest.parts.values() for variant in part.variants]
    for file, sha256 in manifest.files.items():
        check_path(file)
        _check_hash(f"files.{file}", sha256)
    named = ["manifest.json", *(variant.file for variant in variants), *manifest.files]
    _distinct((file.casefold() for file in named), "files: a file named twice")
    external = {item.file.casefold(): item for variant in variants for item in variant.external}
    _distinct([*(file.casefold() for file in named), *external], "files: a file named twice")
    for variant in variants:
        for item in variant.external:
            _must(
                item == external[item.file.casefold()], f"external data {item.file}", item, "the same facts each time"
            )


def _part(name: str, where: str, manifest: Manifest) -> Part:
    _must(name in manifest.parts, where, name, f"a part: {', '.join(manifest.parts) or 'there is none'}")
    return manifest.parts[name]


def _tensors(where: str, found: tuple[TensorSpec, ...], expected: _Promises) -> None:
    """The tensors named in `expected` are there with that dtype and shape; for inputs the caller counts the others."""
    specs = {spec.name: (spec.dtype, spec.shape) for spec in found}
    for name, promise in expected.items():
        _must(name in specs, where, f"no tensor {name!r} among {', '.join(specs)}", f"{name!r} {_spoken(promise)}")
        _must(specs[name] == promise, f"{where}, tensor {name!r}", _spoken(specs[name]), _spoken(promise))


def _inputs(where: str, found: tuple[TensorSpec, ...], expected: _Promises) -> None:
    _tensors(where, found, expected)
    extra = [spec.name for spec in found if spec.name not in expected]
    _must(not extra, where, f"also {', '.join(extra)}", f"only {', '.join(expected)}")


def _spoken(promise: tuple[str, tuple[int, ...]]) -> str:
    return f"{promise[0]} ({', '.join(map(str, promise[1]))})"


def _check_modality(modality: Modality, manifest: Manifest) -> None:
    where = f"modality {modality.name}"
    _must(_NAME.fullmatch(modality.name) is not None, "modalities", modality.name, "a name that works as an argument")
    _must(modality.name not in RESERVED, "modalities", modality.name, "a name other than " + ", ".join(RESERVED))
    _must(modality.rate_hz > 0, f"{where}, rate_hz", modality.rate_hz, "more than zero")
    _must(
        modality.max_age_s is None or modality.max_age_s > 0,
        f"{where}, max_age_s",
        modality.max_age_s,
        "more than zero",
    )
    part = _part(modality.part, f"{where}, part", manifest)
    rows, width = modality.tokens
    outputs = {spec.name: spec for spec in part.outputs}
    _tensors(f"{where}, outputs", part.outputs, {"tokens": ("float32", (1, rows, width))})
    size = outputs["embedding"].shape[-1] if "embedding" in outputs else width
    _tensors(f"{where}, outputs", part.outputs, {"embedding": ("float32", (1, size))})
    shape, dtype, count = _input_of(modality, where, manifest)
    _must(len(part.inputs) <= count, f"{where}, inputs", len(part.inputs), f"at most {count}")
    for spec in part.inputs:
        _must((spec.dtype, spec.shape) == (dtype, shape), f"{where}, input {spec.name!r}",
              _spoken((spec.dtype, spec.shape)), _spoken((dtype, shape)))  # fmt: skip


def _input_of(modality: Modality, where: str, manifest: Manifest) -> tuple[tuple[int, ...], str, int]:
    """Shape, dtype and greatest number of the encoder's inputs, after checking the modality's own numbers."""
    if isinstance(modality, ImageModality):
        _positive(where, height=modality.height, width=modality.width)
        _must(all(value > 0 for value in modality.std), f"{where}, std", modality.std, "more than zero")
        _must(modality.scale != 0, f"{where}, scale", modality.scale, "not zero")
        return (1, 3, modality.height, modality.width), "float32", 1
    if isinstance(modality, AudioModality):
        _positive(where, sample_rate=modality.sample_rate, samples=modality.samples)
        return (1, modality.samples), "float32", 1
    if isinstance(modality, SeriesModality):
        _positive(where, frames=modality.frames, channels=modality.channels, sample_rate=modality.sample_rate)
        _must(modality.std > 0, f"{where}, std", modality.std, "more than zero")
        return (1, modality.frames, modality.channels), "float32", 1
    assert isinstance(modality, TextModality)
    _positive(where, length=modality.length)
    _must(0 <= modality.pad_id < 2**31, f"{where}, pad_id", modality.pad_id, "a token id")
    _must(modality.tokenizer in manifest.files, f"{where}, tokenizer", modality.tokenizer, "a file listed in files")
    return (1, modality.length), "int64", 2


def _positive(where: str, **numbers: float) -> None:
    for field, value in numbers.items():
        _must(0 < value <= MAX_ELEMENTS, f"{where}, {field}", value, f"more than zero, at most {MAX_ELEMENTS}")


def _check_fusion(fusion: Fusion, manifest: Manifest) -> None:
    names = [modality.name for modality in manifest.modalities]
    _must(sorted(fusion.order) == sorted(names), "fusion.order", list(fusion.order), f"each modality once: {names}")
    _must(fusion.default in fusion.kinds, "fusion.default", fusion.default, f"one of {', '.join(fusion.kinds)}")
    _must(0 < fusion.state <= MAX_ELEMENTS, "fusion.state", fusion.state, "more than zero")
    count = len(names)
    expected: _Promises = {m.name: ("float32", (1, *m.tokens)) for m in manifest.modalities}
    expected |= {"presence": ("float32", (1, count)), "age": ("float32", (1, count))}
    for kind, name in fusion.kinds.items():
        part = _part(name, f"fusion.kinds.{kind}", manifest)
        _inputs(f"fusion {kind}, inputs", part.inputs, expected)
        outputs: _Promises = {"state": ("float32", (1, fusion.state)), "weights": ("float32", (1, count))}
        _tensors(f"fusion {kind}, outputs", part.outputs, outputs)


def _check_head(name: str, head: Head, manifest: Manifest) -> None:
    where = f"head {name}"
    part = _part(head.part, f"{where}, part", manifest)
    _inputs(f"{where}, inputs", part.inputs, {"state": ("float32", (1, manifest.fusion.state))})
    outputs = {spec.name: spec for spec in part.outputs}
    _must(head.output in outputs, f"{where}, output", head.output, f"one of {', '.join(outputs)}")
    spec = outputs[head.output]
    _must(len(spec.shape) == 2 and spec.shape[0] == 1 and spec.dtype == "float32", f"{where}, output {head.output!r}",
          _spoken((spec.dtype, spec.shape)), "float32 (1, N)")  # fmt: skip
    _distinct(head.labels, f"{where}, labels")
    labels = spec.shape[1] if head.kind == "classes" else 0
    _must(len(head.labels) == labels, f"{where}, labels", len(head.labels), labels)


def _check_decoder(decoder: Decoder, manifest: Manifest) -> None:
    latent, picture = ("float32", (1, *decoder.latent)), ("float32", (1, 3, *decoder.picture))
    denoiser = _part(decoder.denoiser, "decoder.denoiser", manifest)
    one, state = ("float32", (1,)), ("float32", (1, manifest.fusion.state))
    _inputs("decoder.denoiser, inputs", denoiser.inputs,
            {"latents": latent, "timestep": one, "state": state, "guidance": one})  # fmt: skip
    _tensors("decoder.denoiser, outputs", denoiser.outputs, {"prediction": latent})
    _must(
        decoder.default in decoder.pictures, "decoder.default", decoder.default, f"one of {', '.join(decoder.pictures)}"
    )
    for name, part_name in decoder.pictures.items():
        part = _part(part_name, f"decoder.pictures.{name}", manifest)
        _inputs(f"decoder.pictures.{name}, inputs", part.inputs, {"latents": latent})
        _tensors(f"decoder.pictures.{name}, outputs", part.outputs, {"picture": picture})
    low, high = decoder.guidance_range
    _must(low <= decoder.guidance <= high, "decoder.guidance", decoder.guidance, f"{low} to {high}")
    _must(bool(decoder.timesteps), "decoder.timesteps", "none", "at least one number of steps")
    for steps, times in decoder.timesteps.items():
        where = f"decoder.timesteps[{_shown(steps)}]"
        _must(steps == str(len(times)) and bool(times), where, f"{len(times)} times", "as many times as its key says")
        falling = times[0] == 1.0 and all(a > b > 0 for a, b in pairwise(times))
        _must(falling, where, list(times), "1.0 first, then falling, above zero")
