"""What a peer hands to a race: something to prepare with, something to run, and how exact it has to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .parts import HEAD, Arrays, processor
from .works import Capture, Work

__all__ = ["AbsentError", "Network", "Racer", "assembled"]

Network = Callable[[Arrays], Arrays]
"""The arrays of one part of a workload, in its order → its outputs."""


class AbsentError(Exception):
    """This peer is not here, or not for this workload; the words say why."""


@dataclass
class Racer:
    """`run(prepare(capture))` gives the answer, (E,), of any length; a race of networks alone times `run` only."""

    name: str
    precision: Literal["fp32", "int8"]
    prepare: Callable[[Capture], Any]
    run: Callable[[Any], NDArray[np.float32]]
    notes: Mapping[str, Any] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


def assembled(
    name: str, precision: Literal["fp32", "int8"], work: Work, folder: Path, open_part: Callable[[str], Network],
    notes: Mapping[str, Any] | None = None,
) -> Racer:  # fmt: skip
    """A racer of transformers' processors in front of networks, one after another, as an example page would write it.

    `open_part`: modality, or `HEAD` for what fuses, → the network.
    """
    processors = {str(each.modality): processor(each, folder) for each in work.encoders}
    networks = {name: open_part(name) for name in processors}
    head = open_part(HEAD) if work.fused else None

    def prepare(capture: Capture) -> dict[str, Arrays]:
        return {name: make(capture[name]) for name, make in processors.items()}

    def run(prepared: dict[str, Arrays]) -> NDArray[np.float32]:
        vectors = tuple(networks[name](arrays)[0] for name, arrays in prepared.items())
        answer: NDArray[np.float32] = (head(vectors) if head is not None else vectors)[0][0]
        return answer

    return Racer(name, precision, prepare, run, notes or {})
