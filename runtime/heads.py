"""Heads: state → fused embedding, scores and labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from .backends import Session
from .errors import BackendError
from .manifest import Head
from .values import Array

__all__ = ["Heads", "softmax"]


class Heads:
    """All heads of a manifest; parts that several heads share run once a step."""

    def __init__(self, heads: Mapping[str, Head], session: Callable[[str], Session]) -> None:
        self.runs: dict[str, int] = {}
        self._parts: list[tuple[str, Session, list[tuple[str, Head]]]] = []
        for part in dict.fromkeys(head.part for head in heads.values()):
            mine = [(name, head) for name, head in heads.items() if head.part == part]
            self._parts.append((part, session(part), mine))
            self.runs[part] = 0

    def run(self, state: Array) -> tuple[NDArray[np.float32], dict[str, dict[str, float]], dict[str, str]]:
        """(embedding (D,), scores[head][label] summing to 1, best label by head) of a state (1, S)."""
        embedding: NDArray[np.float32] | None = None
        scores: dict[str, dict[str, float]] = {}
        labels: dict[str, str] = {}
        for part, session, heads in self._parts:
            answer = session.run({"state": state})
            self.runs[part] += 1
            for name, head in heads:
                if head.kind == "embedding":
                    embedding = answer[head.output][0].copy()
                else:
                    logits = answer[head.output].tolist()[0]
                    scores[name] = dict(zip(head.labels, softmax(logits, name), strict=True))
                    labels[name] = head.labels[logits.index(max(logits))]
        assert embedding is not None  # the manifest's rules ask for exactly one embedding head
        return embedding, scores, labels


def softmax(logits: list[float], name: str) -> list[float]:
    """exp(x − max) / Σ exp(x − max), in float64. Plain Python: faster than NumPy for a handful of labels."""
    peak = max(logits)
    exp = math.exp
    powers = [exp(value - peak) for value in logits] if math.isfinite(peak) else [math.nan]
    total = sum(powers)
    if not total < math.inf:
        raise BackendError(
            f"Head {name} gave a number that is not finite",
            found=logits,
            fix="Try precision='fp32'; if that helps, the variant is broken: run chiasm verify",
        )
    return [power / total for power in powers]
