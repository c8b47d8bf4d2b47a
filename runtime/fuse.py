"""Fusion: tokens of all modalities, presence and age → state and weights. The absent: zeros, presence 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .backends import Session
from .values import Array

__all__ = ["Fuser"]


class Fuser:
    """One fusion graph fed from buffers that never move: tokens by modality, `presence` and `age` (1, M)."""

    def __init__(self, session: Session, order: Sequence[str], tokens: Mapping[str, Array]) -> None:
        self.runs = 0
        self.presence = np.zeros((1, len(order)), np.float32)
        self.age = np.zeros((1, len(order)), np.float32)
        self._run = session.run
        self._weights = session.results["weights"]
        self._state = session.results["state"]
        self._feeds: dict[str, Array] = {name: tokens[name] for name in order}
        self._feeds |= {"presence": self.presence, "age": self.age}

    def run(self, present: Sequence[float], ages: Sequence[float]) -> tuple[Array, list[float]]:
        """(state (1, S), weights of all modalities in order). `present` 0 or 1; `ages` in seconds, 0 where absent.

        The state is a view that the next run overwrites.
        """
        self.presence[0] = present
        self.age[0] = ages
        self._run(self._feeds)
        self.runs += 1
        weights: list[float] = self._weights.tolist()[0]
        return self._state, weights
