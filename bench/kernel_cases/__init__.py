"""What `chiasm bench kernels` measures: one file a subject, each with a function `cases() -> list[Case]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module, util
from pathlib import Path
from typing import cast

__all__ = ["Case", "absences", "cases", "subjects"]

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One operation on one input, and others that do the same.

    `bytes_moved` is what the operation cannot avoid to read and to write: beside the copy bandwidth of the same run it
    gives the bound. `absent` names peers that are not here, with what would bring them. `wanted` holds, for peers, how
    many times as fast as they are ours has to be.
    """

    name: str
    ours: Call
    peers: Mapping[str, Call]
    bytes_moved: int
    note: str = ""
    absent: Mapping[str, str] = field(default_factory=dict)
    wanted: Mapping[str, float] = field(default_factory=dict)


def subjects() -> list[str]:
    """Names of the subjects: the files here."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def cases(subject: str) -> list[Case]:
    """The cases of one subject. They make their inputs when they are asked for."""
    return cast("list[Case]", import_module(f".{subject}", __name__).cases())


def absences(peers: Mapping[str, str]) -> dict[str, str]:
    """Of peers and the modules that they need, those that cannot be imported, as `Case.absent` says it."""
    return {
        peer: f"{module} is not installed"
        for peer, module in peers.items()
        if util.find_spec(module.partition(".")[0]) is None
    }
