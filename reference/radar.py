"""What the radar sees: echo strength over time and range.

A row is one sweep; the last row is now. The main target draws a line whose slope is its closing speed, fixed clutter
draws faint upright lines, and receiver noise lies over everything. Strength is in [0, 1], a range bin is `BIN_M`
metres deep.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .scene import Scene

BIN_M = 2.0
_STRENGTH = {"none": 0.0, "small": 0.45, "medium": 0.7, "large": 0.95}
_SPREAD_M = {"none": 1.0, "small": 1.3, "medium": 1.9, "large": 2.8}


def render_radar(
    scene: Scene, frames: int = 32, bins: int = 32, rate_hz: float = 20.0, time_s: float = 0.0
) -> NDArray[np.float32]:
    """Echo map (frames, bins), float32 in [0, 1], of the `frames / rate_hz` seconds that end at `time_s`."""
    rng = np.random.default_rng([scene.seed & 0x7FFFFFFFFFFFFFFF, 11, round(time_s * rate_hz) & 0x7FFFFFFF])
    ago = np.arange(frames - 1, -1, -1) / rate_hz
    rows = noise_rows(rng, frames, bins) + clutter(scene.seed, bins)
    if scene.target != "none":
        start = scene.distance_m + rng.uniform(-0.5, 0.5)
        rows += echo(scene.target, start + scene.closing_mps * ago, bins) * rng.uniform(0.8, 1.05, (frames, 1))
    return np.clip(rows, 0.0, 1.0).astype(np.float32)


def echo(target: str, ranges_m: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """A target at `ranges_m` (N,) as rows (N, bins): a bell curve, higher and wider for larger targets."""
    centres = (np.arange(bins) + 0.5) * BIN_M
    offset = (centres[None, :] - ranges_m[:, None]) / _SPREAD_M[target]
    return _STRENGTH[target] * np.exp(-0.5 * offset**2)


def clutter(seed: int, bins: int) -> NDArray[np.float64]:
    """Things that stand still beside the road: two to four faint returns, (bins,)."""
    rng = np.random.default_rng([seed & 0x7FFFFFFFFFFFFFFF, 13])
    row = np.zeros(bins)
    spots = rng.integers(0, bins, rng.integers(2, 5))
    row[spots] = rng.uniform(0.08, 0.22, spots.size)
    return row


def noise_rows(rng: np.random.Generator, frames: int, bins: int) -> NDArray[np.float64]:
    """Receiver noise, (frames, bins), never negative."""
    return np.abs(rng.normal(0.0, 0.05, (frames, bins)))
