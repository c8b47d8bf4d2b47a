"""Heads: state → fused embedding, scores and labels. The softmax of a classes head is inside its graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from .backends import Feed, Session
from .errors import BackendError
from .manifest import Head
from .values import Array

__all__ = ["Heads"]


class Heads:
    """All heads of a manifest; parts that several heads share run once a step.

    `choices`: of each classes head its name, the buffer of its probabilities (L,), and their labels; `embedding` (D,)
    is a buffer too. The next run overwrites them.
    """

    def __init__(self, heads: Mapping[str, Head], session: Callable[[str], Session]) -> None:
        sessions = {part: session(part) for part in dict.fromkeys(head.part for head in heads.values())}
        self.runs = dict.fromkeys(sessions, 0)
        self._sessions = list(sessions.items())
        self._feeds: Mapping[str, Feed] = {}
        self.choices: list[tuple[str, Array, tuple[str, ...]]] = [
            (name, sessions[head.part].results[head.output].reshape(-1), head.labels)
            for name, head in heads.items()
            if head.kind == "classes"
        ]
        fused = [head for head in heads.values() if head.kind == "embedding"]  # none in a bundle without fusion
        answer = sessions[fused[0].part].results[fused[0].output] if fused else np.empty((1, 0), np.float32)
        self.embedding: NDArray[np.float32] = answer[0]
        self._far = [
            (session.bring, [head.output for head in heads.values() if head.part == part])
            for part, session in sessions.items() if session.bring is not None
        ]  # fmt: skip

    def run(self, state: Feed) -> None:
        """Answer a state (1, S)."""
        feeds = self._feeds
        if feeds.get("state") is not state:
            feeds = self._feeds = MappingProxyType({"state": state})
        for part, session in self._sessions:
            session.run(feeds)
            self.runs[part] += 1
        for bring, outputs in self._far:
            bring(outputs)

    def unusable(self, name: str) -> BackendError:
        """The error of a classes head whose numbers are no probabilities."""
        shares = next(shares for head, shares, _ in self.choices if head == name)
        return BackendError(
            f"Head {name} gave no probabilities",
            found=shares.tolist(),
            expected="numbers that sum to 1",
            fix="Try precision='fp32'; if that helps, the variant is broken: run chiasm verify",
        )
