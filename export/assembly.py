"""What one export is made of: modules by part, each with its interface, and what the manifest will say of them.

A checkpoint of chiasm's own format (`checkpoints.py`) and a recipe over public checkpoints (`assemble.py`) both become
an `Assembly`; what comes after, tracing, quantising, verifying and packing, does not know where the modules came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..runtime.manifest import Captioner, Decoder, Fusion, Head, Modality, Model, Space
from .interfaces import Interface

if TYPE_CHECKING:
    import torch

__all__ = ["Assembly", "PartSource"]


@dataclass(frozen=True)
class PartSource:
    """One part before it is traced. `load` gives its module in FP32 and eval mode; large ones are built when called."""

    interface: Interface
    load: Callable[[], torch.nn.Module]


@dataclass(frozen=True)
class Assembly:
    """`parts` in the order in which data meet them; `files` go into the bundle as they are, by name.

    What only draws has neither modalities nor fusion.
    """

    model: Model
    modalities: tuple[Modality, ...]
    fusion: Fusion | None
    heads: Mapping[str, Head]
    parts: Mapping[str, PartSource]
    decoder: Decoder | None = None
    captioner: Captioner | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    spaces: Mapping[str, Space] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """head → its labels, none for an embedding."""
        return {name: head.labels for name, head in self.heads.items()}
