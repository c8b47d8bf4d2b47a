"""Which token comes next: greedy search and beam search over a model that is asked for logits.

Both are generators: they yield what the model must read next, one (beam whose past it continues, token) for each beam,
and are sent the logits (beams, vocabulary) of the token after it. What they return is the best text.

The beam search is that of transformers 5 for one text (`GenerationMixin._beam_search`), in FP32 like it: twice as many
continuations as beams are looked at, only the best `beams` of them may end a text, and an ended text counts as the sum
of its log-probabilities over its number of new tokens to the power of `length_penalty`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .values import Array

__all__ = ["Found", "Limits", "beam_search", "greedy_search", "log_softmax"]

Floats = NDArray[np.float32]
Asked = list[tuple[int, int]]
_NEVER = np.float32(-1.0e9)
"""The score of what must not be chosen."""


@dataclass(frozen=True)
class Limits:
    """`longest`: tokens of a text, prompt included. `early_stopping`: True ends when `beams` texts have ended, whatever
    might still come; False when what is running cannot, at its present length, be better; "never" when it could not at
    any length.
    """

    longest: int
    eos_id: int
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False


@dataclass(frozen=True)
class Found:
    """All tokens of a text, prompt included, and its score: the mean log-probability of the new ones, if the length
    penalty is 1.
    """

    tokens: tuple[int, ...]
    score: float


Search = Generator[Asked, Array, Found]


def log_softmax(logits: Array) -> Floats:
    """Logarithms of probabilities over the last axis, FP32."""
    shifted = logits.astype(np.float32) - logits.max(axis=-1, keepdims=True)
    powers = np.log(np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float32))
    return np.asarray(shifted - powers, np.float32)


def greedy_search(prompt: Sequence[int], logits: Array, limits: Limits) -> Search:
    """The likeliest token, each time. `logits` (1, V): of the token after the prompt, at least one token of room."""
    tokens, score = list(prompt), 0.0
    while True:
        best = int(logits[0].argmax())
        tokens.append(best)
        score += float(log_softmax(logits)[0, best])
        if best == limits.eos_id or len(tokens) >= limits.longest:
            return Found(tuple(tokens), score / (len(tokens) - len(prompt)) ** limits.length_penalty)
        logits = yield [(0, best)]


def beam_search(prompt: Sequence[int], logits: Array, limits: Limits) -> Search:
    """The best of `beams` texts that are followed at once. `logits` (1, V): of the token after the prompt."""
    beams, start = limits.beams, len(prompt)
    running = [list(prompt)] * beams
    scores = np.full(beams, _NEVER, np.float32)
    scores[0] = 0.0
    logits = np.repeat(logits, beams, axis=0)
    ended = _Ended(limits, start)
    while True:
        likely = log_softmax(logits) + scores[:, None]
        best, flat = _top(likely.reshape(-1), 2 * beams)
        parents, tokens = flat // likely.shape[1], flat % likely.shape[1]
        texts = [[*running[parent], int(token)] for parent, token in zip(parents, tokens, strict=True)]
        ends = (tokens == limits.eos_id) | (len(texts[0]) >= limits.longest)
        going = best + ends.astype(np.float32) * _NEVER
        scores, kept = _top(going, beams)
        running = [texts[index] for index in kept]
        ended.add(texts, best, ends)
        if ended.settled(float(scores[0]), len(texts[0])) or ends.all():
            return ended.best()
        logits = yield [(int(parents[index]), int(tokens[index])) for index in kept]


class _Ended:
    """The best `beams` texts that have ended so far, and whether running ones can still beat them."""

    def __init__(self, limits: Limits, start: int) -> None:
        self.limits, self.start = limits, start
        self.texts: list[list[int]] = [[] for _ in range(limits.beams)]
        self.scores = np.full(limits.beams, _NEVER, np.float32)
        self.real = np.zeros(limits.beams, bool)
        self.open = True

    def add(self, texts: Sequence[list[int]], scores: Floats, ends: Array) -> None:
        """Take in those of the first `beams` texts that end, if they are better."""
        count = self.limits.beams
        ends = ends & (np.arange(len(texts)) < count)
        values = scores / np.float32((len(texts[0]) - self.start) ** self.limits.length_penalty)
        if (self.limits.early_stopping is True and self.real.all()) or not self.open:
            values = values + _NEVER
        values = values + (~ends).astype(np.float32) * _NEVER
        self.scores, kept = _top(np.concatenate([self.scores, values]), count)
        pool = [*self.texts, *texts]
        self.texts = [pool[index] for index in kept]
        self.real = np.concatenate([self.real, ends])[kept]

    def settled(self, best_running: float, length: int) -> bool:
        """Whether no running text is worth following; `length`: of the running ones, prompt included."""
        limits = self.limits
        if limits.early_stopping == "never" and limits.length_penalty > 0.0:
            length = limits.longest
        hope = np.float32(best_running) / np.float32((length - self.start) ** limits.length_penalty)
        worst = np.where(self.real, self.scores.min(), _NEVER)
        self.open = self.open and bool((hope > worst).any())
        return not self.open or (limits.early_stopping is True and bool(self.real.all()))

    def best(self) -> Found:
        return Found(tuple(self.texts[0]), float(self.scores[0]))


def _top(values: Floats, count: int) -> tuple[Floats, NDArray[np.intp]]:
    """The `count` largest values, falling, and where they are; of equal ones the first comes first."""
    some = np.argpartition(values, len(values) - count)[len(values) - count :]
    order = some[np.lexsort((some, -values[some]))]
    return values[order], order
