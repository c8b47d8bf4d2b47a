"""What a backend is: it opens a graph and runs it. One file a vendor, found by name, its SDK imported inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..errors import BackendError
from ..values import Array, OnnxGraph, TensorSpec

__all__ = ["Backend", "Candidates", "Session", "SessionOptions", "check_feeds"]


@dataclass(frozen=True)
class SessionOptions:
    """Settings of sessions. `threads` None: the backend's choice for each graph. A backend ignores what it has not.

    `spinning`: idle threads wait busily. `arena`: memory is kept between runs, in one arena for all sessions. `level`:
    how far a graph is rewritten when it is opened. `build`: what a backend of engines does where one is missing:
    "never", or build it when the pipeline is loaded.
    """

    threads: int | None = None
    spinning: bool = False
    arena: bool = True
    level: Literal["all", "extended", "basic"] = "all"
    build: Literal["never", "missing"] = "never"


Candidates = tuple[tuple[SessionOptions, ...], tuple[dict[str, object], ...]]
"""What `chiasm tune` tries on a backend with so many cores: settings that are raced first, the default among them or
its equal, and changes to the best of these that are raced after."""


def check_feeds(feeds: Mapping[str, Array], buffers: Mapping[str, Array]) -> None:
    """Raise `BackendError` unless the feeds are exactly the inputs, each of its buffer's dtype and shape."""
    if feeds.keys() != buffers.keys():
        raise BackendError("Wrong inputs", found=", ".join(feeds), expected=", ".join(buffers))
    for name, value in feeds.items():
        own = buffers[name]
        if value.dtype != own.dtype or value.shape != own.shape:
            found, expected = (f"{each.dtype} {each.shape}" for each in (value, own))
            raise BackendError(f"Input {name}", found=found, expected=expected)


class Session(Protocol):
    """One opened graph. `results` are its outputs: buffers that every `run` fills again, so copy what must last."""

    results: dict[str, Array]

    @property
    def inputs(self) -> Sequence[TensorSpec]: ...

    @property
    def outputs(self) -> Sequence[TensorSpec]: ...

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once and give `results`. Every input must be fed with its exact dtype and shape."""
        ...

    def close(self) -> None:
        """Free what the session holds; a second call does nothing."""
        ...


class Backend(Protocol):
    """A vendor: opens graphs with shared resources (threads, arena)."""

    name: str

    def precisions(self) -> tuple[str, ...]:
        """Precisions of variants that this backend can run here, best first."""
        ...

    def open(self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Session:
        """Open a graph; checks that its inputs and outputs are the promised ones."""
        ...

    def close(self) -> None:
        """Close the shared resources; sessions must be closed before."""
        ...
