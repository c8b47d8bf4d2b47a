"""The six fusion kinds. All take the same inputs and return a state in the same space: see `common.FusionHead`."""

from __future__ import annotations

from .adaptive import AdaptiveFusion
from .common import FusionHead
from .early import EarlyFusion
from .gated import GatedFusion
from .hybrid import HybridFusion
from .late import LateFusion
from .middle import MiddleFusion

__all__ = ["FUSIONS", "FusionHead"]

FUSIONS: dict[str, type[FusionHead]] = {
    "early": EarlyFusion,
    "middle": MiddleFusion,
    "late": LateFusion,
    "hybrid": HybridFusion,
    "gated": GatedFusion,
    "adaptive": AdaptiveFusion,
}
"""Fusion classes by the ``kind`` that a checkpoint's config.json names."""
