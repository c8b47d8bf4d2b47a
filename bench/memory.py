"""Memory of this process over the time of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["growth_mib"]


def growth_mib(times_s: Sequence[float], resident: Sequence[float]) -> float | None:
    """Growth over the later half of a run, MiB: least-squares slope times that half's length.

    The first half is left out: buffers are still being made then. None with fewer than eight samples.
    """
    times, values = np.asarray(times_s, np.float64), np.asarray(resident, np.float64)
    half = len(times) // 2
    if len(times) < 8:
        return None
    times, values = times[half:], values[half:]
    slope = float(np.polyfit(times - times[0], values, 1)[0])
    return slope * float(times[-1] - times[0])
