"""The time that a whole tuning may take: what is left of it, what had to be left out, and what all would have taken."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Budget"]

_MINUTE = 60.0
_MORE = 1.25
"""What was too little needs so many times as much, whatever was estimated."""
_LISTED = 6
"""Of what was left out in one way so many are named."""


class Budget:
    """`seconds` on the clock `wall`, from now on, less those `spent` before. It stops nobody: who takes time asks."""

    def __init__(self, seconds: float, wall: Callable[[], float] = time.perf_counter, spent: float = 0.0) -> None:
        self.seconds, self.wall = seconds, wall
        self.short: dict[str, list[str]] = {}
        self._start = wall() - spent
        self._needs: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self.wall() - self._start

    @property
    def left(self) -> float:
        """Seconds until the end; below zero after it."""
        return self.seconds - self.spent

    def end(self, share: float) -> float:
        """When that share of the whole is over, on the clock `wall`."""
        return self._start + share * self.seconds

    def cut(self, how: str, what: str) -> None:
        """Remember what was left out for lack of time, and in which way."""
        if what not in self.short.setdefault(how, []):
            self.short[how].append(what)

    def needs(self, what: str, seconds: float) -> None:
        """Remember what a stage takes when nothing is left out."""
        self._needs[what] = max(seconds, self._needs.get(what, 0.0))

    def verdict(self) -> str | None:
        """What was too much for the time, and how much would do; None where nothing was left out."""
        if not self.short:
            return None
        words = "; ".join(f"{how}: {_listed(whats)}" for how, whats in self.short.items())
        whole = max(sum(self._needs.values()), _MORE * self.seconds)
        shares = ", ".join(f"{what} {seconds / _MINUTE:.1f}" for what, seconds in self._needs.items() if seconds > 0)
        return (
            f"{self.seconds / _MINUTE:g} minutes were too short ({words}). What is chosen is the best that is "
            f"known. All of it takes about {whole / _MINUTE:.1f} minutes ({shares}): give --budget "
            f"{_rounded(whole):g}."
        )


def _listed(words: list[str]) -> str:
    more = len(words) - _LISTED
    return ", ".join(words[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _rounded(seconds: float) -> float:
    """Minutes, half of a minute at least beyond what was estimated."""
    return (int(2 * 1.15 * seconds / _MINUTE) + 1) / 2
