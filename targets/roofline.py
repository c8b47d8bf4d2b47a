"""The shortest time that a device could take, by the roofline model (Williams, Waterman, Patterson 2009).

Arithmetic takes operations / rate, memory takes bytes / bandwidth, and the two overlap at best, so the time is at least
the greater of the two. Nothing real is so fast: it is a bound, not a measurement, and no estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .schema import Target

__all__ = ["Bound", "bound", "together"]


@dataclass(frozen=True)
class Bound:
    """Seconds at least; `arithmetic` and `memory` are the two times. A rate that is not known makes None of it."""

    arithmetic: float | None
    memory: float

    @property
    def seconds(self) -> float:
        """The greater of the two."""
        return max(self.memory, self.arithmetic or 0.0)

    @property
    def limit(self) -> str:
        """What bounds it."""
        if self.arithmetic is None:
            return "memory (no rate is known)"
        return "arithmetic" if self.arithmetic >= self.memory else "memory"


def bound(target: Target, operations: Mapping[str, float], nbytes: float) -> Bound:
    """The bound of one run: `operations` by precision, and the bytes that it reads and writes at least once.

    What fits into the last-level cache may still be there from the run before, so only the rest counts.
    """
    cache = target.memory.cache_mib
    read = max(0.0, nbytes - (cache.value * 2**20 if cache is not None else 0.0))
    memory = read / (target.memory.bandwidth_gbs.value * 1e9)
    arithmetic = 0.0
    for precision, number in operations.items():
        rate = target.rate(precision)
        if rate is None:
            return Bound(None, memory)
        arithmetic += number / (rate[0] * 1e12)
    return Bound(arithmetic, memory)


def together(bounds: Mapping[str, tuple[Bound, int]]) -> Bound:
    """Several runs of several graphs: they may overlap, so each kind of time is summed for itself."""
    known = [(each.arithmetic, runs) for each, runs in bounds.values()]
    arithmetic = None if any(time is None for time, _ in known) else sum((time or 0.0) * runs for time, runs in known)
    return Bound(arithmetic, sum(each.memory * runs for each, runs in bounds.values()))
