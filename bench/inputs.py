"""Synthetic captures for any bundle, made from its manifest: seeded, changing from one to the next, never degenerate.

They exercise the work, not the answers: a picture with structure, a chirp with noise, words, correlated sensor rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..runtime.manifest import AudioModality, ImageModality, Modality, SeriesModality, TextModality
from ..runtime.values import Array, Packet

__all__ = ["Captures", "capture"]

FRAME = (360, 640)
"""Height and width of synthetic pictures: a small camera's, larger than a network's input, so that resizing costs."""

_WORDS = (
    "a", "car", "truck", "bus", "cyclist", "pedestrian", "ambulance", "siren", "is", "ahead", "behind", "left", "right",
    "rain", "fog", "night", "clear", "road", "closed", "dispatch", "exit", "blocked", "near", "far", "slow", "fast",
)  # fmt: skip


def capture(modality: Modality, index: int, seed: int = 0) -> Packet:
    """Packet number `index` of a modality, at time 0; the same numbers give the same packet."""
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
    """float32 (samples,): a rising tone in noise, within ±0.6."""
    time = np.arange(modality.samples) / modality.sample_rate
    start, rise = rng.uniform(0.02, 0.1) * modality.sample_rate, rng.uniform(100, 800)
    tone = 0.4 * np.sin(2 * np.pi * (start * time + 0.5 * rise * time**2))
    return (tone + rng.uniform(-0.2, 0.2, modality.samples)).astype(np.float32)


def _series(rng: np.random.Generator, modality: SeriesModality) -> Array:
    """float32 (frames, channels) with the modality's mean and spread, slowly changing in time."""
    steps = rng.standard_normal((modality.frames, modality.channels))
    walk = np.cumsum(steps, axis=0) / np.sqrt(np.arange(1, modality.frames + 1))[:, None]
    return np.asarray(walk * modality.std + modality.mean, np.float32)


class Captures:
    """A ring of captures for each modality, made before the clock starts, so that making them is never measured."""

    def __init__(self, modalities: Sequence[Modality], count: int, seed: int = 0) -> None:
        self.names = [modality.name for modality in modalities]
        self._rings: Mapping[str, list[Packet]] = {
            modality.name: [capture(modality, index, seed) for index in range(count)] for modality in modalities
        }

    def packet(self, modality: str, index: int, time_s: float = 0.0) -> Packet:
        """Capture number `index` (modulo the ring) stamped with `time_s`; a new Packet, so no cache knows it."""
        ring = self._rings[modality]
        kept = ring[index % len(ring)]
        return Packet(modality, kept.data, time_s, kept.sample_rate)

    def all(self, index: int, time_s: float = 0.0) -> dict[str, Any]:
        """One fresh packet of every modality."""
        return {name: self.packet(name, index, time_s) for name in self.names}
