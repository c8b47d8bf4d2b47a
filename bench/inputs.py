"""Rings of made-up captures for any bundle, from its manifest, so that making them is never measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..export.captures import synthetic as capture
from ..runtime.manifest import Modality
from ..runtime.values import Packet

__all__ = ["Captures", "capture"]


class Captures:
    """A ring of captures for each modality, made before the clock starts."""

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
