"""The promises between the fields of a manifest: `check` raises on the first one broken, and names it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from .caption_rules import check_captioner
from .decoder_rules import check_decoder
from .errors import UnsafePathError
from .modality_rules import check_modality
from .promises import MAX_ELEMENTS, Promises, distinct, has_only, has_tensors, must, part_of, shown, spoken
from .schema import Fusion, Head, Manifest, Part, Space, Variant
from .values import TensorSpec

__all__ = ["check", "check_path"]

DTYPES = ("float32", "float16", "int64", "int32", "uint8", "int8", "bool")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_HASH = re.compile(r"[0-9a-f]{64}")


def check(manifest: Manifest) -> None:
    """Raise ManifestError (or UnsafePathError) unless every promise between the fields holds."""
    for where, number in _numbers(msgspec.to_builtins(manifest), ""):
        must(math.isfinite(number), where, number, "a finite number")
    for name, part in manifest.parts.items():
        _check_part(name, part)
    _check_files(manifest)
    _check_senses(manifest)
    for name, space in manifest.spaces.items():
        _check_space(f"spaces.{shown(name)}", space, manifest)
    if manifest.decoder is not None:
        check_decoder(manifest.decoder, manifest)
    if manifest.captioner is not None:
        check_captioner(manifest.captioner, manifest)
    for field, value in msgspec.structs.asdict(manifest.tolerances).items():
        must(value >= 0, f"tolerances.{field}", value, "zero or more")


def _check_senses(manifest: Manifest) -> None:
    """Modalities, fusion and heads: all of them, or modalities alone, or none in a bundle that only generates."""
    least = 1 if manifest.decoder is None or manifest.fusion is not None else 0
    count = len(manifest.modalities)
    must(least <= count <= 64, "modalities", count, f"{least} to 64 modalities")
    distinct((modality.name for modality in manifest.modalities), "modalities: names")
    for modality in manifest.modalities:
        check_modality(modality, manifest)
    if manifest.fusion is None:
        must(not manifest.heads, "heads", ", ".join(manifest.heads), "none, because there is no fusion")
        return
    _check_fusion(manifest.fusion, manifest)
    for name, head in manifest.heads.items():
        _check_head(name, head, manifest, manifest.fusion.state)
    fused = [name for name, head in manifest.heads.items() if head.kind == "embedding"]
    must(len(fused) == 1, "heads", f"{len(fused)} of kind 'embedding'", "exactly one: the fused embedding")


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


def _numbers(value: Any, where: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{where}[{index}]")


def _check_part(name: str, part: Part) -> None:
    where = f"parts.{name}"
    must(_PART.fullmatch(name) is not None, "parts", name, "names of letters, digits, '_', '.', '-'")
    for side, specs in (("inputs", part.inputs), ("outputs", part.outputs)):
        must(0 < len(specs) <= 128, f"{where}.{side}", len(specs), "1 to 128 tensors")
        distinct((spec.name for spec in specs), f"{where}.{side}")
        for spec in specs:
            _check_spec(f"{where}.{side}", spec)
    distinct((variant.precision for variant in part.variants), f"{where}.variants: precisions")
    names = [variant.precision for variant in part.variants]
    must(bool(names), f"{where}.variants", "none", "at least one variant")
    must(part.preferred in names, f"{where}.preferred", part.preferred, f"one of {', '.join(names)}")
    for variant in part.variants:
        _check_variant(f"{where}.{variant.precision}", variant)


def _check_spec(where: str, spec: TensorSpec) -> None:
    where = f"{where}.{spec.name}"
    must(bool(spec.name) and spec.name.isprintable(), where, spec.name, "a printable name")
    must(spec.dtype in DTYPES, f"{where}.dtype", spec.dtype, f"one of {', '.join(DTYPES)}")
    must(0 < len(spec.shape) <= 8, f"{where}.shape", f"{len(spec.shape)} axes", "1 to 8 axes")
    must(all(0 < size <= MAX_ELEMENTS for size in spec.shape), f"{where}.shape", spec.shape, "positive static sizes")
    must(math.prod(spec.shape) <= MAX_ELEMENTS, f"{where}.shape", spec.shape, f"at most {MAX_ELEMENTS} elements")


def _check_variant(where: str, variant: Variant) -> None:
    for file, sha256, size in [
        (variant.file, variant.sha256, variant.bytes),
        *((item.file, item.sha256, item.bytes) for item in variant.external),
    ]:
        check_path(file)
        _check_hash(f"{where}: sha256 of {file}", sha256)
        must(0 < size < 2**40, f"{where}: bytes of {file}", size, "a positive size")
    must(1 <= variant.opset <= 1000, f"{where}.opset", variant.opset, "an ONNX opset")
    must(variant.max_relative_error >= 0, f"{where}.max_relative_error", variant.max_relative_error, "zero or more")
    must(-1.001 <= variant.cosine <= 1.001, f"{where}.cosine", variant.cosine, "-1 to 1")


def _check_hash(where: str, sha256: str) -> None:
    must(_HASH.fullmatch(sha256) is not None, where, sha256, "64 lower-case hexadecimal digits")


def _check_files(manifest: Manifest) -> None:
    variants = [variant for part in manifest.parts.values() for variant in part.variants]
    for file, sha256 in manifest.files.items():
        check_path(file)
        _check_hash(f"files.{file}", sha256)
    named = ["manifest.json", *(variant.file for variant in variants), *manifest.files]
    distinct((file.casefold() for file in named), "files: a file named twice")
    external = {item.file.casefold(): item for variant in variants for item in variant.external}
    distinct([*(file.casefold() for file in named), *external], "files: a file named twice")
    for variant in variants:
        for item in variant.external:
            must(item == external[item.file.casefold()], f"external data {item.file}", item, "the same facts each time")


def _check_fusion(fusion: Fusion, manifest: Manifest) -> None:
    names = [modality.name for modality in manifest.modalities]
    must(sorted(fusion.order) == sorted(names), "fusion.order", list(fusion.order), f"each modality once: {names}")
    must(fusion.default in fusion.kinds, "fusion.default", fusion.default, f"one of {', '.join(fusion.kinds)}")
    must(0 < fusion.state <= MAX_ELEMENTS, "fusion.state", fusion.state, "more than zero")
    count = len(names)
    expected: Promises = {m.name: ("float32", (1, *m.tokens)) for m in manifest.modalities}
    expected |= {"presence": ("float32", (1, count)), "age": ("float32", (1, count))}
    for kind, name in fusion.kinds.items():
        part = part_of(name, f"fusion.kinds.{kind}", manifest)
        has_only(f"fusion {kind}, inputs", part.inputs, expected)
        outputs: Promises = {"state": ("float32", (1, fusion.state)), "weights": ("float32", (1, count))}
        has_tensors(f"fusion {kind}, outputs", part.outputs, outputs)


def _check_head(name: str, head: Head, manifest: Manifest, state: int) -> None:
    where = f"head {name}"
    part = part_of(head.part, f"{where}, part", manifest)
    has_only(f"{where}, inputs", part.inputs, {"state": ("float32", (1, state))})
    outputs = {spec.name: spec for spec in part.outputs}
    must(head.output in outputs, f"{where}, output", head.output, f"one of {', '.join(outputs)}")
    spec = outputs[head.output]
    must(len(spec.shape) == 2 and spec.shape[0] == 1 and spec.dtype == "float32", f"{where}, output {head.output!r}",
          spoken((spec.dtype, spec.shape)), "float32 (1, N)")  # fmt: skip
    distinct(head.labels, f"{where}, labels")
    labels = spec.shape[1] if head.kind == "classes" else 0
    must(len(head.labels) == labels, f"{where}, labels", len(head.labels), labels)


def _check_space(where: str, space: Space, manifest: Manifest) -> None:
    """Each modality is there, once, and all their embeddings have one width."""
    parts = {modality.name: modality.part for modality in manifest.modalities}
    distinct(space.modalities, f"{where}, modalities")
    must(len(space.modalities) > 1, f"{where}, modalities", len(space.modalities), "at least two")
    must(space.scale > 0, f"{where}, scale", space.scale, "more than zero")
    widths = set()
    for name in space.modalities:
        must(name in parts, f"{where}, modalities", name, f"one of {', '.join(parts)}")
        outputs = {spec.name: spec for spec in manifest.parts[parts[name]].outputs}
        widths.add(outputs["embedding"].shape[-1])
    must(len(widths) == 1, f"{where}, widths of the embeddings", sorted(widths), "one width")
