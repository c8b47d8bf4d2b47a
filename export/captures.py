"""Where captures for calibration come from: a person's own files, read by the runtime's own sources, or chance.

Made-up captures (`synthetic`) exercise the work, not the answers: a picture with structure, a chirp with noise, words,
correlated sensor rows. Seeded, changing from one to the next, never degenerate; `chiasm bench` runs on them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ..runtime.errors import InputError, SourceError
from ..runtime.manifest import AudioModality, ImageModality, Modality, SeriesModality, TextModality
from ..runtime.preprocess.audio import heard
from ..runtime.preprocess.image import image_tensor
from ..runtime.preprocess.series import series_tensor
from ..runtime.sources import is_live, open_source
from ..runtime.sources.pictures import pictures_in
from ..runtime.values import Array, Packet
from .calibrate import Calibration

__all__ = ["CHECKS", "from_files", "synthetic", "without_captures"]

CHECKS = 3
"""Captures made up for each modality where none are given."""
FRAME = (360, 640)
"""Height and width of made-up pictures: a small camera's, larger than a network's input, so that resizing costs."""

_WORDS = (
    "a", "car", "truck", "bus", "cyclist", "pedestrian", "ambulance", "siren", "is", "ahead", "behind", "left", "right",
    "rain", "fog", "night", "clear", "road", "closed", "dispatch", "exit", "blocked", "near", "far", "slow", "fast",
)  # fmt: skip


def without_captures(modalities: Sequence[Modality], count: int = CHECKS, seed: int = 0) -> Calibration:
    """Made-up captures to compare variants on. They say nothing about ranges, so static INT8 cannot be made of them."""
    return Calibration(
        {each.name: [synthetic(each, index, seed) for index in range(count)] for each in modalities}, real=False
    )


def from_files(modalities: Sequence[Modality], places: Mapping[str, str], count: int) -> Calibration:
    """Up to `count` captures per modality from `places`: modality → file, or folder of files.

    Raises `InputError` for an unknown or missing modality, `SourceError` that names the file for a place that gives no
    capture, and for a capture that the modality cannot use.
    """
    known = {each.name: each for each in modalities}
    for name in places:
        if name not in known:
            raise InputError("No such modality", found=name, expected=" or ".join(known))
    missing = [name for name in known if name not in places]
    if missing:
        raise InputError(
            "Calibration needs captures of every modality",
            found=f"none for {', '.join(missing)}",
            fix=f"Give: --calibration {missing[0]}=PATH",
        )
    return Calibration({name: _read(each, places[name], count) for name, each in known.items()})


def _read(modality: Modality, place: str, count: int) -> list[Packet]:
    if is_live(place):
        raise SourceError(f"Calibration of {modality.name} reads files", found=place, expected="a file or a folder")
    packets: list[Packet] = []
    for uri in _files(modality, place):
        source = open_source(modality, uri)
        try:
            for packet in islice(source, count - len(packets)):
                _check(modality, packet, uri)
                packets.append(packet)
        finally:
            source.close()
        if len(packets) >= count:
            break
    if not packets:
        raise SourceError(f"{place} holds no capture of {modality.name}", expected="at least one file that can be read")
    return packets


def _files(modality: Modality, place: str) -> list[str]:
    """The files of a folder in the order of their names; of pictures only those that look like one."""
    folder = Path(place)
    if not folder.is_dir():
        return [place]
    if isinstance(modality, ImageModality):
        return [str(path) for path in pictures_in(folder)] or [place]
    return [str(path) for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]


def _check(modality: Modality, packet: Packet, uri: str) -> None:
    """`SourceError` that names the file, unless the runtime could prepare the packet. Words are for the tokenizer."""
    try:
        if isinstance(modality, ImageModality):
            image_tensor(packet.data, modality)
        elif isinstance(modality, AudioModality):
            heard(packet.data, packet.sample_rate, modality)
        elif isinstance(modality, SeriesModality):
            series_tensor(packet.data, modality, sample_rate=packet.sample_rate)
    except InputError as error:
        raise SourceError(f"{uri} cannot be used for calibration", found=error) from error


def synthetic(modality: Modality, index: int, seed: int = 0) -> Packet:
    """Made-up packet number `index` of a modality, at time 0; the same numbers give the same packet."""
    rng = np.random.default_rng([seed, index, *modality.name.encode()])
    if isinstance(modality, ImageModality):
        return Packet(modality.name, _picture(rng))
    if isinstance(modality, AudioModality):
        return Packet(modality.name, _sound(rng, modality), sample_rate=modality.sample_rate)
    if isinstance(modality, TextModality):
        return Packet(modality.name, " ".join(rng.choice(_WORDS, size=12)))
    return Packet(modality.name, _series(rng, modality))


def _picture(rng: np.random.Generator) -> Array:
    """uint8 RGB (360, 640, 3): smooth blobs under noise."""
    height, width = FRAME
    coarse = rng.uniform(0, 220, (9, 16, 3))
    smooth = coarse.repeat(height // 9, axis=0).repeat(width // 16, axis=1)
    noisy = smooth + rng.integers(0, 36, (height, width, 1))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _sound(rng: np.random.Generator, modality: AudioModality) -> Array:
    """float32 (samples,): a tone that rises to less than half the rate, in noise, within ±0.6."""
    time = np.arange(modality.samples) / modality.sample_rate
    start, rise = rng.uniform(0.02, 0.1) * modality.sample_rate, rng.uniform(100, 800)
    rise = min(rise, 0.35 * modality.sample_rate**2 / modality.samples)
    tone = 0.4 * np.sin(2 * np.pi * (start * time + 0.5 * rise * time**2))
    return (tone + rng.uniform(-0.2, 0.2, modality.samples)).astype(np.float32)


def _series(rng: np.random.Generator, modality: SeriesModality) -> Array:
    """float32 (frames, channels) with the modality's mean and spread, slowly changing in time."""
    steps = rng.standard_normal((modality.frames, modality.channels))
    walk = np.cumsum(steps, axis=0) / np.sqrt(np.arange(1, modality.frames + 1))[:, None]
    return np.asarray(walk * modality.std + modality.mean, np.float32)
