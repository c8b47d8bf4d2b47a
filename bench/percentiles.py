"""Percentiles that are always an observed value, and only where enough values were observed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Spread", "spread"]

Spread = dict[str, float | None]
_PER_MILLE = {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999}


def spread(values: Sequence[float]) -> Spread:
    """mean, p50, p90, p99, p99.9, max of `values`, in their unit.

    A percentile is the smallest observed value that at least that share of the values does not exceed (nearest rank:
    Hyndman and Fan 1996, definition 1). One for which fewer than one value lies above (p99 of 60 values) is None rather
    than the maximum under another name. Raises ValueError when there are no values.
    """
    if not len(values):
        raise ValueError("no values to summarise")
    numbers = np.sort(np.asarray(values, np.float64))
    out: Spread = {"mean": float(numbers.mean())}
    for name, share in _PER_MILLE.items():
        rank = -(-numbers.size * share // 1000)
        enough = share == 500 or numbers.size * (1000 - share) >= 1000
        out[name] = float(numbers[rank - 1]) if enough else None
    out["max"] = float(numbers[-1])
    return out
