"""One interleaved race: every racer answers first, and only those that answer as transformers does are timed.

Racers run in turns, in an order that changes from round to round, so that a slow minute of the machine meets all of
them. A turn is a few runs in a row, the first of which is not counted: it finds the caches and the cores as another
racer left them. A ratio is taken within each round, and its spread over the rounds is told.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..percentiles import spread
from .racer import Racer
from .works import Capture

__all__ = ["LIMITS", "Pace", "agreement", "race", "ratio"]

LIMITS = {"fp32": 0.999, "int8": 0.99}
"""Least cosine to transformers' FP32 answer; a faster wrong answer is refused."""


@dataclass(frozen=True)
class Pace:
    """A race ends after `samples` timed runs of each racer, or after `seconds` of racing in all."""

    seconds: float = 60.0
    samples: int = 200
    turn: int = 4
    warm_up: int = 3


def agreement(racers: Sequence[Racer], captures: Sequence[Capture], truth: Racer) -> dict[str, dict[str, Any]]:
    """Racer → the least cosine to `truth` over the captures, and whether it may race.

    `alike` is the greatest cosine between the truth's answers to different captures: where it is near 1, the captures
    look alike to such weights and the check says little.
    """
    wanted = [_unit(truth.run(truth.prepare(each))) for each in captures]
    alike = max(
        (float(a @ b) for index, a in enumerate(wanted) for b in wanted[:index]), default=float("nan")
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    for racer in racers:
        cosine = min(
            float(_unit(racer.run(racer.prepare(each))) @ want) for each, want in zip(captures, wanted, strict=True)
        )
        limit = LIMITS[racer.precision]
        found[racer.name] = {"cosine": cosine, "limit": limit, "agrees": cosine >= limit, "alike": alike}
    return found


def _unit(answer: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    vector = np.array(answer, np.float64).ravel()
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def race(
    racers: Sequence[Racer], captures: Sequence[Capture], pace: Pace, *, network: bool = False,
    advance: Callable[[float], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Racer → samples and medians of its turns, in milliseconds. `network`: what prepares is not timed."""
    times: dict[str, list[list[float]]] = {racer.name: [] for racer in racers}
    count = 0
    for racer in racers:
        for index in range(pace.warm_up):
            _once(racer, captures[index % len(captures)], network)
    order, start = list(racers), time.perf_counter()
    shuffled = random.Random(0)
    while True:
        shuffled.shuffle(order)
        for racer in order:
            turn = [_once(racer, captures[(count + index) % len(captures)], network) for index in range(pace.turn)]
            times[racer.name].append(turn[1:])
        count += pace.turn
        elapsed = time.perf_counter() - start
        done = len(times[racers[0].name]) * (pace.turn - 1)
        advance(min(1.0, max(elapsed / pace.seconds, done / pace.samples)))
        if elapsed >= pace.seconds or done >= pace.samples:
            break
    return {name: _figures(turns) for name, turns in times.items()}


def _once(racer: Racer, capture: Capture, network: bool) -> float:
    """Milliseconds from the capture, or from what was prepared of it, to the answer."""
    start = time.perf_counter()
    ready = racer.prepare(capture)
    if network:
        start = time.perf_counter()
    racer.run(ready)
    return 1000.0 * (time.perf_counter() - start)


def _figures(turns: list[list[float]]) -> dict[str, Any]:
    samples = [each for turn in turns for each in turn]
    return {
        "latency_ms": spread(samples),
        "samples": len(samples),
        "turns_ms": [round(float(np.median(turn)), 4) for turn in turns],
    }


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """How many times longer they take: the median over rounds, with its 10th and 90th percentile."""
    low, middle, high = np.quantile(np.asarray(theirs) / np.asarray(ours), [0.1, 0.5, 0.9])
    return {"median": float(middle), "p10": float(low), "p90": float(high)}
