"""Checkpoints to try the exporter on where no hub can be reached: folders exactly as a hub serves them, with seeded
random weights.

One file a kind (`image`, `text`, `audio`, `pairs`, `diffusion`), each with `MODELS`, name → `Model`. `tiny` is for
tests: a fraction of a second to make; `real` has the published architecture, for sizes and latencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

__all__ = ["Make", "Model", "Size"]

Size = Literal["tiny", "real"]


class Make(Protocol):
    """Writes the checkpoint into `folder`, which it makes."""

    def __call__(self, folder: Path, size: Size, seed: int = 0) -> None: ...


@dataclass(frozen=True)
class Model:
    """`family`: the file of `export/families` that reads it; `kinds`: the kinds of modality that it encodes."""

    name: str
    family: str
    kinds: tuple[str, ...]
    make: Make
