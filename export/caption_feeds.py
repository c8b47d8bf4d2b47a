"""What the two parts of a captioner are fed with while variants are made and compared: real captions, token by token.

The prefill reads the tokens of the encoder; the step reads the keys and values that the prefill gives for them, and
those of the tokens that it has itself found likeliest so far, from the first token to the end of the caption.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..runtime.manifest import Captioner
from ..runtime.values import Array

__all__ = ["CaptionFeeds"]

Feeds = dict[str, Array]
Run = Callable[[Feeds], dict[str, Array]]
_PICTURES = 8
"""Pictures whose keys and values are kept: 42 MB each of a ViT-B/16 at 384 and twelve layers."""
_PREFILLS = 32
"""Pictures that the prefill is fed with at most, for the same reason: its answers are kept for every comparison."""


class CaptionFeeds:
    """The prefill must be asked for before the step: its answers are what the step sees."""

    def __init__(self, captioner: Captioner, random: np.random.Generator) -> None:
        self._captioner, self._random = captioner, random
        self._seen: list[Feeds] = []

    def take(self, part: str, run: Run, count: int, tokens: Sequence[Array]) -> list[Feeds]:
        """Up to `count` feeds of prefill or step; `run` is that part's FP32 graph, `tokens` (1, N, D) of captures."""
        if part == self._captioner.prefill:
            feeds = [{"tokens": each} for each in tokens[: min(count, _PREFILLS)]]
            made = (run(feed) for feed in feeds[:_PICTURES])
            self._seen = [{name: each[name].copy() for name in ("seen_keys", "seen_values")} for each in made]
            return feeds
        captions = max(2, math.ceil(2 * count / self._captioner.max_tokens))
        steps = [step for seen in self._seen[:captions] for step in self._caption(seen, run)]
        return [steps[index] for index in self._random.permutation(len(steps))[:count]]

    def _caption(self, seen: Feeds, run: Run) -> Iterator[Feeds]:
        """What every step of one greedy caption without a prompt is fed with."""
        own = self._captioner
        layers, heads, size = own.cache
        keys, values = np.zeros((2, layers, heads, own.length, size), np.float32)
        token = own.bos_id
        for position in range(min(own.max_tokens, own.length)):
            feed = {
                "token": np.array([[token]], np.int64), "position": np.array([[position]], np.int64),
                "keys": keys.copy(), "values": values.copy(), **seen,
            }  # fmt: skip
            yield feed
            answer = run(feed)
            keys[:, :, position], values[:, :, position] = answer["key"][:, :, 0], answer["value"][:, :, 0]
            token = int(answer["logits"][0].argmax())
            if token == own.eos_id:
                return
