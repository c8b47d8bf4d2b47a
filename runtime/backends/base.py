"""What a backend is: it opens a graph and runs it. One file a vendor, found by name, its SDK imported inside."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from ..errors import BackendError
from ..values import Array, OnnxGraph, TensorSpec

__all__ = [
    "Backend",
    "Candidates",
    "Feed",
    "Session",
    "SessionOptions",
    "Value",
    "as_array",
    "check_feeds",
    "usable_threads",
]


@dataclass(frozen=True)
class SessionOptions:
    """Settings of sessions. `threads` None: the backend's choice for each graph. A backend ignores what it has not.

    `spinning`: idle threads wait busily. `arena`: memory is kept between runs, in one arena for all sessions. `level`:
    how far a graph is rewritten when it is opened. `own_products`: our kernel multiplies bytes where it is
    faster. `build`: what a backend of engines does where one is missing: "never", or build it
    when the pipeline is loaded. `device`: where a backend that has several runs, "" its usual one. On a GPU, `overlap`:
    encoders run beside each other, each in memory of its own; `graphs`: what has fixed addresses is recorded as a CUDA
    graph and replayed.
    """

    threads: int | None = None
    spinning: bool = False
    arena: bool = True
    level: Literal["all", "extended", "basic"] = "all"
    own_products: bool = True
    build: Literal["never", "missing"] = "never"
    device: str = ""
    overlap: bool = True
    graphs: bool = True


Candidates = tuple[tuple[SessionOptions, ...], tuple[dict[str, object], ...]]
"""What `chiasm tune` tries on a backend with so many cores: settings that are raced first, the default among them or
its equal, and changes to the best of these that are raced after."""


class Value(Protocol):
    """An output where its backend keeps it, on a GPU say. A session of the same backend is fed with it and copies
    nothing; any other takes what `numpy` brings. It changes with the next run of the session that it is of."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def numpy(self) -> Array:
        """The values now, in an array that stays the same one."""
        ...

    def fill(self, value: float) -> object:
        """Overwrite every value, as the method of that name of an array does."""
        ...


Feed: TypeAlias = Array | Value
"""What an input is fed with."""


def as_array(feed: Feed) -> Array:
    """The feed as NumPy has it: itself, or brought from where it is."""
    return feed if isinstance(feed, np.ndarray) else feed.numpy()


def check_feeds(feeds: Mapping[str, Feed], buffers: Mapping[str, Array]) -> None:
    """Raise `BackendError` unless the feeds are exactly the inputs, each of its buffer's dtype and shape."""
    if feeds.keys() != buffers.keys():
        raise BackendError("Wrong inputs", found=", ".join(feeds), expected=", ".join(buffers))
    for name, value in feeds.items():
        own = buffers[name]
        if value.dtype != own.dtype or value.shape != own.shape:
            found, expected = (f"{each.dtype} {each.shape}" for each in (value, own))
            raise BackendError(f"Input {name}", found=found, expected=expected)


class Session(Protocol):
    """One opened graph. Every `run` overwrites its outputs, so copy what must last.

    `results` has them for reading: what is looked up there is waited for and brought from wherever it is, always into
    the same array. Who keeps that array and does not look up again calls `bring` first, where there is one. `values`
    has the outputs for feeding other sessions, which need no waiting.
    """

    @property
    def results(self) -> Mapping[str, Array]: ...

    @property
    def values(self) -> Mapping[str, Feed]: ...

    @property
    def bring(self) -> Callable[[Sequence[str]], None] | None:
        """Makes the arrays of these outputs what the last run gave; None where they always are."""
        ...

    @property
    def note(self) -> str | None:
        """What is not as it could be, for people; None where nothing is."""
        ...

    @property
    def inputs(self) -> Sequence[TensorSpec]: ...

    @property
    def outputs(self) -> Sequence[TensorSpec]: ...

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, Array]:
        """Run once and give `results`. Every input must be fed with its exact dtype and shape.

        On a GPU this may return before anything is done; then errors come where a result is looked up.
        """
        ...

    def close(self) -> None:
        """Free what the session holds; a second call does nothing."""
        ...


class Backend(Protocol):
    """A vendor: opens graphs with shared resources (threads, arena)."""

    name: str
    together: bool
    """Whether graphs may be opened in several threads at once, and gain by it."""

    def precisions(self) -> tuple[str, ...]:
        """Precisions of variants that this backend can run here, best first."""
        ...

    def open(self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Session:
        """Open a graph; checks that its inputs and outputs are the promised ones."""
        ...

    def close(self) -> None:
        """Close the shared resources; sessions must be closed before."""
        ...


def usable_threads() -> int:
    """CPUs that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
