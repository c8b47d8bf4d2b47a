"""The six learned fusion kinds, and the plain mean. All take the same inputs: see `common.FusionHead`."""

from __future__ import annotations

from .adaptive import AdaptiveFusion
from .common import FusionHead
from .early import EarlyFusion
from .gated import GatedFusion
from .hybrid import HybridFusion
from .late import LateFusion
from .mean import MeanFusion
from .middle import MiddleFusion

__all__ = ["FUSIONS", "FusionHead", "MeanFusion"]

FUSIONS: dict[str, type[FusionHead]] = {
    "early": EarlyFusion,
    "middle": MiddleFusion,
    "late": LateFusion,
    "hybrid": HybridFusion,
    "gated": GatedFusion,
    "adaptive": AdaptiveFusion,
}
"""Fusion classes by the ``kind`` that a checkpoint's config.json names."""
