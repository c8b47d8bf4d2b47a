"""Weights once: what occurs in several graphs, or in one too large to read whole, lies in files beside the graphs.

Weights with the same users lie together in one file, `parts/<start of its SHA-256>.weights`, so that a device reads
nothing that it does not run. Two parts with a common encoder, the steps of one decoder, FP32 weights that are the FP16
ones: all of them are found here by their bytes, however they came about.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..runtime.bundle import INLINE
from ..runtime.errors import ExportError
from ..runtime.manifest import ExternalFile
from ..runtime.values import Array, OnnxGraph
from .model import Model, Place, parse, refer
from .shelf import LEAST, raw, write_weights

__all__ = ["Shared", "share"]

_WORTH = 4 * 2**20
"""Bytes; a bundle that would save less by sharing keeps its graphs whole."""


@dataclass(frozen=True)
class Shared:
    """`graphs`: final bytes by file name; `external`: what each refers to; `files`: those, by name in the bundle, and
    where they lie now."""

    graphs: Mapping[str, bytes]
    external: Mapping[str, tuple[ExternalFile, ...]] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)


def share(
    graphs: Mapping[str, OnnxGraph], folder: Path, *, inline: int = INLINE, least: int = LEAST, worth: int = _WORTH
) -> Shared:
    """Decide for graphs (by file name in the bundle, where they share a folder) which weights lie outside; write those.

    Outside lie the weights of `least` bytes and more of every graph that has more than `inline` bytes of them, and
    those that occur again, if that saves `worth` bytes in all.
    """
    models = {file: parse(graph) for file, graph in graphs.items()}
    digests = {file: _digests(model, least) for file, model in models.items()}
    outside = _outside(models, digests, inline, worth)
    if not outside:
        return Shared({file: refer(model, {}) for file, model in models.items()})
    arrays = {digests[file][name]: value for file, model in models.items() for name, value in model.weights.items()
              if name in digests[file]}  # fmt: skip
    places: dict[str, Place] = {}
    listed: dict[str, ExternalFile] = {}
    for group in _groups(outside):
        entry, offsets = _write({digest: arrays[digest] for digest in group}, folder)
        name = entry.file.rpartition("/")[2]
        places |= {digest: Place(folder, name, at) for digest, at in offsets.items()}
        listed[name] = entry
    return _refer(models, digests, places, listed, folder)


def _digests(model: Model, least: int) -> dict[str, str]:
    """SHA-256 of each large weight's bytes."""
    return {
        name: hashlib.sha256(raw(value)).hexdigest() for name, value in model.weights.items() if value.nbytes >= least
    }


def _outside(
    models: Mapping[str, Model], digests: Mapping[str, Mapping[str, str]], inline: int, worth: int
) -> dict[str, tuple[str, ...]]:
    """Digest → the files that use it, of every weight that is to lie outside its graphs."""
    users: dict[str, dict[str, None]] = defaultdict(dict)
    uses: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = {}
    for file, found in digests.items():
        for name, digest in found.items():
            users[digest][file] = None
            uses[digest] += 1
            sizes[digest] = models[file].weights[name].nbytes
    saving = sum(size * (uses[digest] - 1) for digest, size in sizes.items()) >= worth
    large = {file for file, model in models.items() if model.nbytes > inline}
    return {
        digest: tuple(files)
        for digest, files in users.items()
        if not large.isdisjoint(files) or (saving and uses[digest] > 1)
    }


def _groups(outside: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for digest, users in outside.items():
        groups[users].append(digest)
    return list(groups.values())


def _write(weights: Mapping[str, Array], folder: Path) -> tuple[ExternalFile, dict[str, int]]:
    """One file of weights, durable, under its final name; and where in it they lie."""
    path = folder / "new.weights"
    try:
        with open(path, "wb") as file:
            hashing = _Hashing(file)
            offsets = write_weights(hashing, weights)
            file.flush()
            os.fsync(file.fileno())
        name = f"{hashing.digest.hexdigest()[:16]}.weights"
        os.replace(path, folder / name)
    except OSError as error:
        raise ExportError("Cannot write the weights of the bundle", found=error.strerror or str(error)) from error
    size = (folder / name).stat().st_size
    return ExternalFile(file=f"parts/{name}", sha256=hashing.digest.hexdigest(), bytes=size), offsets


class _Hashing:
    """A file that is hashed as it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def tell(self) -> int:
        return self.file.tell()

    def write(self, data: bytes | memoryview) -> None:
        self.digest.update(data)
        self.file.write(data)


def _refer(
    models: Mapping[str, Model],
    digests: Mapping[str, Mapping[str, str]],
    places: Mapping[str, Place],
    listed: Mapping[str, ExternalFile],
    folder: Path,
) -> Shared:
    graphs: dict[str, bytes] = {}
    external: dict[str, tuple[ExternalFile, ...]] = {}
    for file, model in models.items():
        own = {name: places[digest] for name, digest in digests[file].items() if digest in places}
        graphs[file] = refer(model, own)
        names: Sequence[str] = list(dict.fromkeys(place.file for place in own.values()))
        external[file] = tuple(listed[name] for name in names)
    return Shared(graphs, external, {entry.file: folder / name for name, entry in listed.items()})
