"""How much of everything one part can afford: a part that runs for seconds is not compared on a hundred captures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..runtime.values import TensorSpec
from .interfaces import example
from .sessions import Runner
from .settings import Settings

__all__ = ["Pace", "pace", "seconds_of"]

_FEWEST_SAMPLES, _FEWEST = 4, 3


@dataclass(frozen=True)
class Pace:
    """`samples`: feeds that set INT8 ranges; `checks`: feeds on which variants are compared; `rounds` of timing.

    `trajectories`: whole generations that feed a denoiser; None: as many as there are feeds.
    """

    samples: int
    checks: int
    rounds: int
    trajectories: int | None = None


def seconds_of(runner: Runner, inputs: Sequence[TensorSpec]) -> float:
    """Processor time of one run, the first one left out where a second costs little."""
    feeds = example(inputs)
    runner(feeds)
    if runner.seconds < 1.0:
        runner(feeds)
    return max(runner.seconds, 1e-6)


def pace(settings: Settings, seconds: float) -> Pace:
    """The settings' own numbers, or as many as `settings.pass_s` seconds allow of runs that take `seconds`."""
    runs = int(settings.pass_s / seconds)
    samples = min(settings.samples, max(_FEWEST_SAMPLES, 2 * runs))
    return Pace(
        samples=samples,
        checks=min(settings.checks, max(_FEWEST, runs)),
        rounds=min(settings.rounds, max(_FEWEST, runs)),
        trajectories=None if samples == settings.samples else max(2, runs // 8),
    )
