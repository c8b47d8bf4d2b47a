"""Heads: state → fused embedding, scores and labels. The softmax of a classes head is inside its graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from .backends import Feed, Session
from .errors import BackendError
from .manifest import Head
from .values import numbers

__all__ = ["Heads"]


class Heads:
    """All heads of a manifest; parts that several heads share run once a step."""

    def __init__(self, heads: Mapping[str, Head], session: Callable[[str], Session]) -> None:
        sessions = {part: session(part) for part in dict.fromkeys(head.part for head in heads.values())}
        self.runs = dict.fromkeys(sessions, 0)
        self._sessions = list(sessions.items())
        self._feeds: Mapping[str, Feed] = {}
        self._classes = [
            (name, head.labels, numbers(sessions[head.part].results[head.output]))
            for name, head in heads.items()
            if head.kind == "classes"
        ]
        fused = [head for head in heads.values() if head.kind == "embedding"]  # none in a bundle without fusion
        answer = sessions[fused[0].part].results[fused[0].output] if fused else np.empty((1, 0), np.float32)
        self._embedding = answer[0]
        self._far = [
            (session.bring, [head.output for head in heads.values() if head.part == part])
            for part, session in sessions.items() if session.bring is not None
        ]  # fmt: skip

    def run(self, state: Feed) -> tuple[NDArray[np.float32], dict[str, dict[str, float]], dict[str, str]]:
        """(embedding (D,), scores[head][label] summing to 1, best label by head) of a state (1, S)."""
        feeds = self._feeds
        if feeds.get("state") is not state:
            feeds = self._feeds = MappingProxyType({"state": state})
        for part, session in self._sessions:
            session.run(feeds)
            self.runs[part] += 1
        for bring, outputs in self._far:
            bring(outputs)
        scores: dict[str, dict[str, float]] = {}
        labels: dict[str, str] = {}
        for name, known, answer in self._classes:
            shares: Sequence[float] = answer.tolist()
            if not 0.9 < sum(shares) < 1.1:  # NaN ends here
                raise _unusable(name, shares)
            scores[name] = dict(zip(known, shares, strict=True))
            labels[name] = known[shares.index(max(shares))]
        return self._embedding.copy(), scores, labels


def _unusable(head: str, shares: Sequence[float]) -> BackendError:
    return BackendError(
        f"Head {head} gave no probabilities",
        found=shares,
        expected="numbers that sum to 1",
        fix="Try precision='fp32'; if that helps, the variant is broken: run chiasm verify",
    )
