"""The promises of a modality: its own numbers, and that its encoder takes what they make."""

from __future__ import annotations

import math

from .mel import mel_spec, sound_shape
from .promises import MAX_ELEMENTS, NAME, Promise, has_tensors, must, part_of, positive, spoken
from .schema import AudioModality, ImageModality, Manifest, Modality, SeriesModality, TextModality

__all__ = ["RESERVED", "check_modality", "is_mask"]

RESERVED = (
    *("time_s", "steps", "seed", "guidance", "decoder", "preview", "negative", "mask", "strength", "noise"),
    *("presence", "age", "self", "beams", "max_tokens", "prompt", "length_penalty", "early_stopping"),
)
_WEIGHTS = 2**24
"""Most of a mel front end: its tables would fill the memory."""


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
    first, mask = _inputs_of(modality, where, manifest)
    count = 1 if mask is None else 2
    must(len(part.inputs) <= count, f"{where}, inputs", len(part.inputs), f"at most {count}")
    for spec in part.inputs:
        promise = mask if mask is not None and is_mask(spec.name) else first
        must((spec.dtype, spec.shape) == promise, f"{where}, input {spec.name!r}",
              spoken((spec.dtype, spec.shape)), spoken(promise))  # fmt: skip


def is_mask(name: str) -> bool:
    """Whether an encoder's input of that name is its mask."""
    return name == "mask" or name.endswith("_mask")


def _inputs_of(modality: Modality, where: str, manifest: Manifest) -> tuple[Promise, Promise | None]:
    """dtype and shape of the encoder's input and of the mask it may take, after checking the modality's own numbers."""
    if isinstance(modality, ImageModality):
        _check_image(modality, where)
        return ("float32", (1, modality.channels, modality.height, modality.width)), None
    if isinstance(modality, AudioModality):
        _check_sound(modality, where)
        shape = sound_shape(modality)
        must(math.prod(shape) <= MAX_ELEMENTS, f"{where}, mel", shape, f"at most {MAX_ELEMENTS} elements")
        return ("float32", shape), ("int64", shape) if modality.mask else None
    if isinstance(modality, SeriesModality):
        positive(where, frames=modality.frames, channels=modality.channels, sample_rate=modality.sample_rate)
        must(modality.std > 0, f"{where}, std", modality.std, "more than zero")
        return ("float32", (1, modality.frames, modality.channels)), None
    assert isinstance(modality, TextModality)
    positive(where, length=modality.length)
    must(0 <= modality.pad_id < 2**31, f"{where}, pad_id", modality.pad_id, "a token id")
    must(modality.tokenizer in manifest.files, f"{where}, tokenizer", modality.tokenizer, "a file listed in files")
    words: Promise = ("int64", (1, modality.length))
    return words, words if modality.mask else None


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


def _check_sound(modality: AudioModality, where: str) -> None:
    length = modality.samples if modality.length is None else modality.length
    positive(where, sample_rate=modality.sample_rate, samples=modality.samples, length=length)
    longest = MAX_ELEMENTS if modality.crops == 4 else length
    must(modality.samples <= longest, f"{where}, samples", modality.samples, f"at most the length, {length}")
    if modality.mask:
        must(modality.pad == "after" and modality.mel is None, f"{where}, mask", "true",
             "a mask beside a waveform with its padding after it only")  # fmt: skip
    if modality.mel is None:
        must(modality.crops == 0, f"{where}, crops", modality.crops, "0 without mel")
        must(modality.pad != "frames", f"{where}, pad", modality.pad, "another padding without mel")
        return
    mel = modality.mel
    weights = mel.fft_size * mel.n_mels
    must(0 < weights <= _WEIGHTS, f"{where}, mel, fft_size · n_mels", weights, f"at most {_WEIGHTS}")
    spec = mel_spec(modality)
    assert spec is not None
    must(spec.frames(length) > 0, f"{where}, mel", f"no frame in {length} samples", f"{spec.least_samples} samples")
    if modality.crops == 4:
        plain = mel.layout == "frames-first" and mel.range is None and modality.pad != "frames"
        must(plain, f"{where}, crops", 4, "frames-first, no range and samples as padding where a sound is cropped")
