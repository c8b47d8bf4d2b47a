"""The null backend runs nothing: it gives values of the promised names, dtypes and shapes, at once.

For tests of streams, sinks and commands, and to see what everything but inference costs. Every floating-point output of
last axis n is 1/n throughout (so that weights sum to 1), integers are 0. It checks feeds as strictly as a real backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import BackendError
from ..values import Array, OnnxGraph, TensorSpec
from .base import Feed, SessionOptions, check_feeds

__all__ = ["RANK", "NullBackend", "NullSession", "open_backend", "why_not"]

RANK: int | None = None


def why_not() -> str | None:
    """None: it always runs."""
    return None


def open_backend(options: SessionOptions) -> NullBackend:
    """The options are accepted and change nothing."""
    return NullBackend()


class NullSession:
    """One graph that is never run."""

    bring: Callable[[Sequence[str]], None] | None = None
    note: str | None = None

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._expected = {spec.name: np.empty(spec.shape, spec.dtype) for spec in inputs}
        self._constants = {spec.name: _constant(spec) for spec in outputs}
        self.results = {name: value.copy() for name, value in self._constants.items()}
        self.values = self.results
        self._open = True

    def run(self, feeds: Mapping[str, Feed]) -> dict[str, Array]:
        """The constants of this graph, after checking the feeds."""
        if not self._open:
            raise BackendError("The session is closed")
        check_feeds(feeds, self._expected)
        for name, value in self._constants.items():
            self.results[name][...] = value
        return self.results

    def close(self) -> None:
        """A second call does nothing."""
        self._open = False


class NullBackend:
    """Opens graphs without looking at them."""

    name = "null"
    together = False

    def precisions(self) -> tuple[str, ...]:
        """All of them."""
        return ("fp32", "fp16", "int8-cpu", "int8-trt")

    def open(self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> NullSession:
        """A session that gives constants of the promised shapes."""
        return NullSession(inputs, outputs)

    def close(self) -> None:
        """Nothing is held."""


def _constant(spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.dtype)
    return np.full(spec.shape, 1 / spec.shape[-1] if dtype.kind == "f" else 0, dtype)
