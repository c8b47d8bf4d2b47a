"""Fusion: tokens of all modalities, presence and age → state and weights. The absent: zeros, presence 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .backends import Session
from .values import Array, numbers

__all__ = ["Fuser"]


class Fuser:
    """One fusion graph fed from buffers that never move: tokens by modality, `presence` and `age` (1, M)."""

    def __init__(self, session: Session, order: Sequence[str], tokens: Mapping[str, Array]) -> None:
        self.runs = 0
        self._run = session.run
        self._state = session.results["state"]
        self._weights = numbers(session.results["weights"])
        presence, age = np.zeros((1, len(order)), np.float32), np.zeros((1, len(order)), np.float32)
        self._feeds: dict[str, Array] = {name: tokens[name] for name in order} | {"presence": presence, "age": age}
        self._presence, self._age = numbers(presence), numbers(age)
        self._places = tuple(enumerate(order))

    def run(self, ages: Mapping[str, float]) -> tuple[Array, dict[str, float]]:
        """(state (1, S), weight of each present modality), from the ages in seconds of those that are present.

        The state is a view that the next run overwrites.
        """
        presence, age = self._presence, self._age
        for place, name in self._places:
            old = ages.get(name)
            presence[place] = 0.0 if old is None else 1.0
            age[place] = old or 0.0
        self._run(self._feeds)
        self.runs += 1
        weights = self._weights
        return self._state, {name: weights[place] for place, name in self._places if name in ages}
