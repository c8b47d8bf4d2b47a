"""Fusion: tokens of all modalities, presence and age → state and weights. The absent: zeros, presence 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from .backends import Feed, Session
from .errors import InputError
from .manifest import Manifest
from .values import Array, numbers

__all__ = ["Fuser", "fusion_kind"]


class Fuser:
    """One fusion graph fed from buffers that never move: tokens by modality, `presence` and `age` (1, M).

    `state` (1, S) is what the heads are fed with, where the session keeps it; `results` has it for reading. `weights`
    (M,) is a buffer too, after `bring` where the session has that; the next run overwrites them.
    """

    def __init__(self, session: Session, order: Sequence[str], tokens: Mapping[str, Feed]) -> None:
        self.runs = 0
        self.state = session.values["state"]
        self.results: Mapping[str, Array] = session.results
        self.weights: Array = session.results["weights"].reshape(-1)
        self.bring = session.bring
        self._run = session.run
        presence, age = np.zeros((1, len(order)), np.float32), np.zeros((1, len(order)), np.float32)
        feeds: dict[str, Feed] = {name: tokens[name] for name in order} | {"presence": presence, "age": age}
        self._feeds = MappingProxyType(feeds)
        self._presence, self._age = numbers(presence), numbers(age)
        self._places = tuple(enumerate(order))

    def run(self, ages: Mapping[str, float]) -> None:
        """From the ages in seconds of the modalities that are present. Overwrites what the last time gave."""
        presence, age = self._presence, self._age
        for place, name in self._places:
            old = ages.get(name)
            presence[place] = 0.0 if old is None else 1.0
            age[place] = old or 0.0
        self._run(self._feeds)
        self.runs += 1


def fusion_kind(asked: str | None, manifest: Manifest) -> str | None:
    """The kind that is asked for, or the manifest's; None in a bundle without fusion."""
    if manifest.fusion is None and asked is None:
        return None
    kinds, default = manifest.fused.kinds, manifest.fused.default
    if asked is not None and asked not in kinds:
        raise InputError("This bundle has no such fusion kind", found=asked, expected=f"one of {', '.join(kinds)}")
    return default if asked is None else asked
