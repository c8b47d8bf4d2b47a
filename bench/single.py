"""Scenarios single-stream and offline, with MLPerf Inference's meanings (Reddi et al. 2020, arXiv:1911.02549).

single-stream: the next sample is issued when the last one is done; the figure is the 90th percentile of the latency.
offline: all samples are there from the start; the figure is samples per second. The graphs have a batch of one, so
offline runs them one after another. A sample holds every modality of the bundle, all new: every encoder runs.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..targets.memory import peak_mib, reset_peak
from .inputs import Captures
from .percentiles import Spread, spread
from .settings import Progress, Settings

if TYPE_CHECKING:
    from ..runtime.pipeline import Pipeline
    from ..runtime.values import Result

__all__ = ["Stages", "durations", "milliseconds", "offline", "single_stream", "steps_all_new", "warm_up"]

RING = 32
"""Different samples; more would measure the memory bus."""


def milliseconds(seconds: Iterable[float]) -> Spread:
    """The spread of durations, in milliseconds."""
    return spread([1000.0 * value for value in seconds])


def durations() -> array[float]:
    """Where seconds are noted: 8 bytes each, a quarter of a list's, so that a bench hardly shows in what it reads."""
    return array("d")


class Stages:
    """Collects the timings of results, stage by stage."""

    def __init__(self) -> None:
        self._steps = 0
        self._seconds: dict[str, array[float]] = defaultdict(durations)

    def add(self, result: Result) -> None:
        self._steps += 1
        for stage, seconds in result.timings.items():
            self._seconds[stage].append(seconds)

    def spreads(self) -> dict[str, Spread]:
        """Milliseconds per run of a stage; `per_step`: its share of a mean step. Not the total: that is the latency."""
        return {
            stage: milliseconds(values) | {"per_step": 1000.0 * sum(values) / self._steps}
            for stage, values in self._seconds.items()
            if stage != "total"
        }


def steps_all_new(pipeline: Pipeline, captures: Captures, index: int) -> tuple[float, Result]:
    """One step on sample `index`; its duration in seconds, measured from outside, and its result."""
    time_s = 0.1 * (index + 1)
    packets = captures.all(index, time_s)
    start = time.perf_counter()
    result = pipeline(time_s=time_s, **packets)
    return time.perf_counter() - start, result


def warm_up(pipeline: Pipeline, captures: Captures, steps: int) -> None:
    """Steps before the clock starts."""
    for index in range(steps):
        steps_all_new(pipeline, captures, index)


def single_stream(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Latency of one sample at a time."""
    stages, latencies = Stages(), list[float]()
    reset_peak()
    with settings.open(cache=False) as pipeline:
        captures = Captures(pipeline.manifest.modalities, RING, settings.seed)
        warm_up(pipeline, captures, settings.warm_up)
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < settings.seconds or not latencies:
            seconds, result = steps_all_new(pipeline, captures, settings.warm_up + len(latencies))
            latencies.append(seconds)
            stages.add(result)
            if len(latencies) % 32 == 0:
                progress("single-stream", elapsed / settings.seconds)
        precisions = dict(pipeline.precisions)
    latency = milliseconds(latencies)
    return {
        "steps": len(latencies),
        "seconds": elapsed,
        "headline": {"name": "p90 latency", "value": latency["p90"], "unit": "ms"},
        "latency_ms": latency,
        "stages_ms": stages.spreads(),
        "samples_ms": [round(1000 * value, 4) for value in latencies[:2000]],
        "peak_rss_mib": peak_mib(),
        "precisions": precisions,
    }


def offline(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Samples per second, back to back, with nothing measured in between."""
    reset_peak()
    with settings.open(cache=False) as pipeline:
        captures = Captures(pipeline.manifest.modalities, RING, settings.seed)
        warm_up(pipeline, captures, settings.warm_up)
        done, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < settings.seconds or not done:
            for _ in range(RING):
                time_s = 0.1 * (settings.warm_up + done + 1)
                pipeline(time_s=time_s, **captures.all(done, time_s))
                done += 1
            progress("offline", elapsed / settings.seconds)
    return {
        "steps": done,
        "seconds": elapsed,
        "samples_per_s": done / elapsed,
        "headline": {"name": "throughput", "value": done / elapsed, "unit": "samples/s"},
        "peak_rss_mib": peak_mib(),
    }
