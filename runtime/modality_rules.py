"""The promises of a modality: its own numbers, and that its encoder takes what they make."""

from __future__ import annotations

from .promises import NAME, has_tensors, must, part_of, positive, spoken
from .schema import AudioModality, ImageModality, Manifest, Modality, SeriesModality, TextModality

__all__ = ["RESERVED", "check_modality"]

RESERVED = (
    *("time_s", "steps", "seed", "guidance", "decoder", "preview", "negative", "mask", "strength", "noise"),
    *("presence", "age", "self", "beams", "max_tokens", "prompt", "length_penalty", "early_stopping"),
)


def check_modality(modality: Modality, manifest: Manifest) -> None:
    """Raise ManifestError unless the modality keeps its promises."""
    where = f"modality {modality.name}"
    must(NAME.fullmatch(modality.name) is not None, "modalities", modality.name, "a name that works as an argument")
    must(modality.name not in RESERVED, "modalities", modality.name, "a name other than " + ", ".join(RESERVED))
    must(modality.rate_hz > 0, f"{where}, rate_hz", modality.rate_hz, "more than zero")
    must(
        modality.max_age_s is None or modality.max_age_s > 0,
        f"{where}, max_age_s",
        modality.max_age_s,
        "more than zero",
    )
    part = part_of(modality.part, f"{where}, part", manifest)
    rows, width = modality.tokens
    outputs = {spec.name: spec for spec in part.outputs}
    has_tensors(f"{where}, outputs", part.outputs, {"tokens": ("float32", (1, rows, width))})
    size = outputs["embedding"].shape[-1] if "embedding" in outputs else width
    has_tensors(f"{where}, outputs", part.outputs, {"embedding": ("float32", (1, size))})
    shape, dtype, count = _input_of(modality, where, manifest)
    must(len(part.inputs) <= count, f"{where}, inputs", len(part.inputs), f"at most {count}")
    for spec in part.inputs:
        must((spec.dtype, spec.shape) == (dtype, shape), f"{where}, input {spec.name!r}",
              spoken((spec.dtype, spec.shape)), spoken((dtype, shape)))  # fmt: skip


def _input_of(modality: Modality, where: str, manifest: Manifest) -> tuple[tuple[int, ...], str, int]:
    """Shape, dtype and greatest number of the encoder's inputs, after checking the modality's own numbers."""
    if isinstance(modality, ImageModality):
        _check_image(modality, where)
        return (1, modality.channels, modality.height, modality.width), "float32", 1
    if isinstance(modality, AudioModality):
        positive(where, sample_rate=modality.sample_rate, samples=modality.samples)
        return (1, modality.samples), "float32", 1
    if isinstance(modality, SeriesModality):
        positive(where, frames=modality.frames, channels=modality.channels, sample_rate=modality.sample_rate)
        must(modality.std > 0, f"{where}, std", modality.std, "more than zero")
        return (1, modality.frames, modality.channels), "float32", 1
    assert isinstance(modality, TextModality)
    positive(where, length=modality.length)
    must(0 <= modality.pad_id < 2**31, f"{where}, pad_id", modality.pad_id, "a token id")
    must(modality.tokenizer in manifest.files, f"{where}, tokenizer", modality.tokenizer, "a file listed in files")
    return (1, modality.length), "int64", 2 if modality.mask else 1


def _check_image(modality: ImageModality, where: str) -> None:
    positive(where, height=modality.height, width=modality.width)
    for field, values in (("mean", modality.mean), ("std", modality.std)):
        must(len(values) == modality.channels, f"{where}, {field}", list(values), f"{modality.channels} numbers")
    must(all(value > 0 for value in modality.std), f"{where}, std", modality.std, "more than zero")
    must(modality.scale != 0, f"{where}, scale", modality.scale, "not zero")
    if modality.edge is not None:
        must(modality.resize == "shortest-edge", f"{where}, edge", modality.edge, "none without shortest-edge")
        positive(where, edge=modality.edge)
    if modality.resized is not None:
        must(modality.resize in ("exact", "fit"), f"{where}, resized", modality.resized, "none without exact or fit")
        positive(where, **{"resized height": modality.resized[0], "resized width": modality.resized[1]})
    must("none" in (modality.crop, modality.pad), f"{where}, pad", modality.pad, "no pad with a crop")
