"""Text conditioning: one prompt, through every text encoder of a decoder → the denoiser's inputs named after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .backends import Session
from .manifest import Part, Prompt
from .preprocess.text import TextPreparer
from .values import Array

__all__ = ["Condition", "Prompts"]

Condition = Mapping[str, Array]
"""Input of the denoiser → array."""

_KEPT = 4
"""Encoded texts that are kept: the prompt of now, what it is guided away from, and those before."""


@dataclass(frozen=True)
class _Words:
    """One prompt's constants under the name that an error gives it."""

    name: str
    tokenizer: str
    length: int
    pad_id: int
    padding: Literal["left", "right"] = "right"
    truncation: Literal["left", "right"] = "right"


class Prompts:
    """The text encoders of one decoder. Sessions and tokenizers are opened when a text first needs them.

    `wanted`: the inputs of the denoiser; outputs that are none of them are dropped.
    """

    def __init__(
        self,
        prompts: Mapping[str, Prompt],
        parts: Mapping[str, Part],
        wanted: set[str],
        read: Callable[[str], bytes],
        session: Callable[[str], Session],
    ) -> None:
        self.runs: dict[str, int] = {}
        self._prompts, self._parts, self._wanted, self._session = prompts, parts, wanted, session
        self._read = read
        self._preparers: dict[str, TextPreparer] = {}
        self._kept: dict[str, Condition] = {}

    def __call__(self, text: Any) -> Condition:
        """The condition of a text; of one that was encoded lately, what was kept. Raises InputError."""
        known = isinstance(text, str) and text in self._kept
        condition = self._kept.pop(text) if known else self._encode(text)
        self._kept[text] = condition  # the newest last
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return condition

    def zeros(self) -> Condition:
        """A condition of nothing but zeros."""
        shapes = {
            f"{name}.{spec.name}": (spec.shape, spec.dtype)
            for name, prompt in self._prompts.items()
            for spec in self._parts[prompt.part].outputs
        }
        return {name: np.zeros(*shape) for name, shape in shapes.items() if name in self._wanted}

    def _encode(self, text: Any) -> Condition:
        condition: dict[str, Array] = {}
        for name, prompt in self._prompts.items():
            ids, mask = self._preparer(name, prompt)(text)
            feeds = {
                spec.name: mask if spec.name == "mask" or spec.name.endswith("_mask") else ids
                for spec in self._parts[prompt.part].inputs
            }
            answer = self._session(prompt.part).run(feeds)
            self.runs[prompt.part] = self.runs.get(prompt.part, 0) + 1
            wanted = {f"{name}.{output}": output for output in answer if f"{name}.{output}" in self._wanted}
            condition |= {key: np.array(answer[output]) for key, output in wanted.items()}
        for value in condition.values():
            value.setflags(write=False)  # so that a session may know it by its identity
        return condition

    def _preparer(self, name: str, prompt: Prompt) -> TextPreparer:
        preparer = self._preparers.get(name)
        if preparer is None:
            words = _Words("text", prompt.tokenizer, prompt.length, prompt.pad_id)
            preparer = self._preparers[name] = TextPreparer(self._read(prompt.tokenizer), words, empty=True)
        return preparer
