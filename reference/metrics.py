"""What "right" means: retrieval among scenes, and accuracy on every set of present modalities."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .dataset import MODALITIES

__all__ = ["SUBSETS", "subset_name", "top_hit_right"]

SUBSETS: tuple[tuple[int, ...], ...] = tuple(
    members for size in range(1, len(MODALITIES) + 1) for members in combinations(range(len(MODALITIES)), size)
)
"""All 15 sets of present modalities, as indices into `MODALITIES`, small sets first."""


def subset_name(members: tuple[int, ...]) -> str:
    """``image+audio`` for (0, 2)."""
    return "+".join(MODALITIES[m] for m in members)


def top_hit_right(
    queries: NDArray[np.float32], index: NDArray[np.float32], said: NDArray[np.int8], truth: NDArray[np.int64]
) -> float:
    """Share of queries (N, D) whose nearest entry of ``index`` (M, D) is a scene where all that the query says holds.

    ``said`` (N, K): attribute indices the query states, -1 where it states nothing; ``truth`` (M, K): those of the
    scenes.
    """
    best = np.argmax(queries @ index.T, axis=1)
    agrees = (said < 0) | (said == truth[best])
    return float(agrees.all(axis=1).mean())
