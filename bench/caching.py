"""Scenario caching: what is gained by not encoding again what has not changed.

The same stream, every modality at its own rate and text once, goes through two pipelines: one keeps unchanged
encodings, the other encodes everything in every step. They take turns, a second of the stream each, so that both see
the same machine; their answers must be equal, bit for bit. Unless threads are asked for, both have one: what is not
encoded counts, and not that the more there is to encode, the more of it runs side by side. As `load` runs it by itself,
with that, is measured beside it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.manifest import Modality, TextModality
from ..runtime.values import Packet, Result, Snapshot
from .inputs import Captures
from .settings import Progress, Settings
from .single import RING, milliseconds, warm_up

if TYPE_CHECKING:
    from ..runtime.pipeline import Pipeline

__all__ = ["caching", "schedule"]

SPEEDUP = 2.0
TURN = 30
"""Steps that a pipeline makes before the other's turn: a second of a camera. Alone it finds its own weights in the
processor's caches, as a program that streams does; turn about, both see the same machine."""


def schedule(
    modalities: Sequence[Modality], captures: Captures, seconds: float, *, every: bool = False
) -> Iterator[Snapshot]:
    """Snapshots of a stream in which each modality changes at its own rate, text never.

    A step for each capture of the fastest modality, or with `every` for each capture of any, as a stream's clock says.
    """
    rates = {m.name: 0.0 if isinstance(m, TextModality) else m.rate_hz for m in modalities}
    fastest = max(rates.values()) or max(m.rate_hz for m in modalities)
    clocks = {rate for rate in rates.values() if rate} if every else set[float]()
    current, last = dict[str, Packet](), 0.0
    for now in merge(*(_ticks(rate, seconds) for rate in clocks or {fastest})):
        if current and now - last < 1e-9:
            continue
        last = now
        for name, rate in rates.items():
            index = int(now * rate + 1e-9)
            captured = index / rate if rate else 0.0
            if name not in current or current[name].time_s < captured:
                current[name] = captures.packet(name, index, captured)
        yield Snapshot(now, dict(current), {name: max(0.0, now - packet.time_s) for name, packet in current.items()})


def _ticks(rate_hz: float, seconds: float) -> Iterator[float]:
    return (step / rate_hz for step in range(max(1, round(seconds * rate_hz))))


def caching(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Steps per second with and without kept encodings, on the same snapshots, at two paces (see `schedule`)."""
    from ..runtime.bundle import open_bundle

    modalities = open_bundle(settings.bundle).manifest.modalities
    one = replace(settings, threads=settings.threads or 1)
    ways = {f"{one.threads} thread{'s' * (one.threads != 1)}": _paces(one, modalities, progress)}
    if settings.threads is None:
        ways["as load runs it"] = _paces(settings, modalities, progress)
    paced, eager = next(iter(ways.values()))
    differing = sum(turns.differing for way in ways.values() for turns in way)
    return {
        "rates_hz": {m.name: "once" if isinstance(m, TextModality) else m.rate_hz for m in modalities},
        **paced.figures(),
        "every": eager.figures(),
        "speedups": {name: [turns.speedup for turns in way] for name, way in ways.items()},
        "headline": {"name": "speed-up", "value": paced.speedup, "unit": "x"},
        "criteria": [
            _criterion("a step for each capture of the fastest modality", paced.speedup),
            _criterion("a step for each capture of any modality", eager.speedup),
            {"name": "steps whose answers differ", "value": differing, "limit": 0, "unit": "steps",
             "met": differing == 0},
        ],
    }  # fmt: skip


def _paces(settings: Settings, modalities: Sequence[Modality], progress: Progress) -> tuple[_Turns, _Turns]:
    """A step for each capture of the fastest modality, and for each capture of any."""
    with settings.open(cache=True) as keeping, settings.open(cache=False) as plain:
        captures = Captures(modalities, RING, settings.seed)
        for pipeline in (keeping, plain):
            warm_up(pipeline, captures, settings.warm_up)
        paced, eager = (
            _both(keeping, plain, schedule(modalities, captures, 3600.0, every=every), settings, progress)
            for every in (False, True)
        )
    return paced, eager


def _criterion(pace: str, speedup: float) -> dict[str, Any]:
    name = f"steps/s against everything encoded, {pace}"
    return {"name": name, "value": speedup, "limit": SPEEDUP, "unit": "x", "met": speedup >= SPEEDUP}


@dataclass
class _Turns:
    """Durations in seconds of the keeping (`fast`) and the plain pipeline (`slow`), and what their encoders did."""

    fast: list[float] = field(default_factory=list)
    slow: list[float] = field(default_factory=list)
    by_encoded: dict[tuple[str, ...], list[float]] = field(default_factory=dict)
    encoded: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    differing: int = 0

    @property
    def speedup(self) -> float:
        return sum(self.slow) / sum(self.fast)

    def figures(self) -> dict[str, Any]:
        return {
            "steps": len(self.fast),
            "encoder_runs": {"kept": dict(self.encoded[0]), "everything": dict(self.encoded[1])},
            "steps_per_s": {"kept": len(self.fast) / sum(self.fast), "everything": len(self.slow) / sum(self.slow)},
            "speedup": self.speedup,
            "latency_ms": milliseconds(self.fast),
            "everything_ms": milliseconds(self.slow),
            "by_encoded_ms": {"+".join(ran) or "none": milliseconds(own) for ran, own in self.by_encoded.items()},
        }

    def take(self, keeping: Pipeline, plain: Pipeline, snapshots: Sequence[Snapshot]) -> None:
        """A stretch of the stream through one pipeline, then through the other. Who goes first alternates."""
        answers: tuple[list[Result], list[Result]] = ([], [])
        keeping_first = len(self.fast) // TURN % 2 == 0
        for which in (0, 1) if keeping_first else (1, 0):
            for snapshot in snapshots:
                start = time.perf_counter()
                result = (keeping, plain)[which].step(snapshot)
                seconds = time.perf_counter() - start
                (self.fast, self.slow)[which].append(seconds)
                self.encoded[which].update(result.encoded)
                if which == 0:
                    self.by_encoded.setdefault(result.encoded, []).append(seconds)
                answers[which].append(result)
        self.differing += sum(not _same(*pair) for pair in zip(*answers, strict=True))


def _both(
    keeping: Pipeline, plain: Pipeline, snapshots: Iterator[Snapshot], settings: Settings, progress: Progress
) -> _Turns:
    turns = _Turns()
    begun = time.perf_counter()
    while stretch := list(islice(snapshots, TURN)):
        turns.take(keeping, plain, stretch)
        elapsed = time.perf_counter() - begun
        if elapsed >= settings.seconds / 2:
            break
        progress("caching", 2 * elapsed / settings.seconds)
    return turns


def _same(one: Result, other: Result) -> bool:
    return (
        np.array_equal(one.embedding, other.embedding)
        and one.scores == other.scores
        and one.weights == other.weights
        and one.ages == other.ages
    )
