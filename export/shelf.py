"""Where the graphs of one export wait until they are packed: small ones in memory, the weights of large ones in files.

A large graph is opened from files by ONNX Runtime, which maps one weight after the other, so what a run costs in memory
is its session and nothing beside it. Edited graphs refer to weights that lie here already; only new ones are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..runtime.bundle import INLINE
from ..runtime.errors import ExportError
from ..runtime.values import Array, OnnxGraph
from .model import Mapped, Model, Place, as_model, parse, refer

__all__ = ["LEAST", "Shelf", "raw", "write_weights"]

LEAST = 2**16
"""Bytes; smaller weights stay in their graph: they may be shapes, and a file each gains nothing."""
_PAGE = 4096


class Shelf:
    """`folder` None: everything stays in memory. `inline`: graphs with at most so many bytes of weights stay whole;
    `least`: weights of fewer bytes always lie in their graph."""

    def __init__(self, folder: Path | None = None, *, inline: int = INLINE, least: int = LEAST) -> None:
        self.folder, self.inline, self.least = folder, inline, least
        self._count = 0
        self._files: dict[int, tuple[OnnxGraph, Path]] = {}

    def keep(self, model: Any) -> OnnxGraph:
        """The model as a graph that can be opened; its weights are written unless they lie here already."""
        model = as_model(model)
        if self.folder is None or model.nbytes <= self.inline:
            return OnnxGraph(refer(model, {}))
        large = {name: value for name, value in model.weights.items() if value.nbytes >= self.least}
        places = {name: place for name, value in large.items() if (place := self._place(value)) is not None}
        new = {name: value for name, value in large.items() if name not in places}
        path = self.folder / f"{self._count}.weights"
        self._count += 1
        if new:
            places |= {name: Place(self.folder, path.name, at) for name, at in _write(path, new).items()}
        graph = OnnxGraph(refer(model, places), self.folder, sum(value.nbytes for value in large.values()))
        if new:
            self._files[id(graph)] = graph, path
        return graph

    def _place(self, value: Array) -> Place | None:
        place = value.place if isinstance(value, Mapped) else None
        return place if place is not None and place.folder == self.folder else None

    def settle(self, model: Any) -> tuple[OnnxGraph, Model]:
        """`keep`, and the same model with its weights where they lie now: the memory they had can be freed."""
        graph = self.keep(model)
        return graph, as_model(model) if graph.folder is None else parse(graph)

    def drop(self, graph: OnnxGraph) -> None:
        """Forget a graph that `keep` gave, with what was written for it; no other graph may refer to that."""
        if id(graph) in self._files:
            self._files.pop(id(graph))[1].unlink(missing_ok=True)


def _write(path: Path, weights: Mapping[str, Array]) -> dict[str, int]:
    try:
        with open(path, "wb") as file:
            return write_weights(file, weights)
    except OSError as error:
        raise ExportError(
            "Cannot write the weights of a graph", found=error.strerror or str(error),
            fix=f"Make room in {path.parent.parent}, or choose another --out.",
        ) from error  # fmt: skip


def raw(value: Array) -> memoryview:
    """The bytes of an array in C order; a copy only where it lies otherwise."""
    return memoryview(np.ascontiguousarray(value).data).cast("B")


class _Writer(Protocol):
    def tell(self) -> int: ...
    def write(self, data: bytes | memoryview, /) -> object: ...


def write_weights(file: _Writer, weights: Mapping[str, Array]) -> dict[str, int]:
    """Write weights one after the other, each from a new page on; their offsets by name."""
    offsets: dict[str, int] = {}
    for name, value in weights.items():
        at = -(-file.tell() // _PAGE) * _PAGE
        file.write(bytes(at - file.tell()))
        file.write(raw(value))
        offsets[name] = at
    return offsets
