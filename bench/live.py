"""Scenarios fixed-rate and overload: samples arrive by the clock, whatever the pipeline does.

fixed-rate: every modality arrives at its own rate, as LoadGen's first multi-stream scenario issued queries at fixed
intervals: one at a time, and what comes while the system is busy is skipped. overload: every modality arrives, all new,
at twice the rate that the pipeline sustains; what counts is that decisions stay fresh and memory flat.
Both run the pipeline's own stream on the runtime's own live sources (thread, queue that drops the oldest).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..runtime.sources.live import Live
from ..runtime.values import Packet
from ..targets.memory import peak_mib, reset_peak, resident_mib
from .inputs import Captures
from .memory import growth_mib
from .settings import Progress, Settings
from .single import RING, Stages, durations, milliseconds, steps_all_new, warm_up

if TYPE_CHECKING:
    from ..runtime.pipeline import Pipeline
    from ..runtime.values import Result

__all__ = ["Metronome", "fixed_rate", "overload"]

FLAT_MIB = 4.0
"""Growth below this over half a run is flat: the allocator's noise, not a leak."""


class Metronome:
    """A device that captures at a fixed rate: capture k happens at `start + k / rate_hz` on the monotonic clock.

    Its packets carry that time, not the later one at which the thread woke up. `read` may be late, never early. Setting
    `unplugged` ends a wait at once: a slow device must not hold up the end of a bench.
    """

    def __init__(
        self, modality: str, captures: Captures, rate_hz: float, start_s: float, unplugged: threading.Event
    ) -> None:
        self._modality, self._captures, self._unplugged = modality, captures, unplugged
        self._period, self._start, self._index = 1.0 / rate_hz, start_s, 0

    def read(self) -> Packet | None:
        """Wait for the next capture; None when unplugged."""
        due = self._start + self._index * self._period
        packet = self._captures.packet(self._modality, self._index, due)
        self._index += 1
        while (left := due - time.monotonic()) > 0:
            if self._unplugged.wait(left):
                return None
        return packet

    def close(self) -> None:
        """Nothing to give back."""


class _Watch:
    """Everything that is noted while a live stream runs."""

    def __init__(self, clock: str) -> None:
        self.clock = clock
        self.stages, self.services, self.ages = Stages(), durations(), durations()
        self.times, self.resident = list[float](), list[float]()

    def note(self, result: Result) -> None:
        now = time.monotonic()
        self.stages.add(result)
        self.services.append(result.timings["total"])
        snapshot = result.snapshot
        if snapshot is not None and self.clock in snapshot.packets:
            self.ages.append(now - snapshot.packets[self.clock].time_s)
        if not self.times or now - self.times[-1] > 0.25:
            memory = resident_mib()
            if memory is not None:
                self.times.append(now)
                self.resident.append(memory)

    def figures(self) -> dict[str, Any]:
        return {
            "steps": len(self.services),
            "latency_ms": milliseconds(self.services),
            "stages_ms": self.stages.spreads(),
            "frame_age_ms": milliseconds(self.ages),
            "samples_ms": [round(1000 * value, 4) for value in self.services[:2000]],
            "age_samples_ms": [round(1000 * value, 4) for value in self.ages[:2000]],
            "peak_rss_mib": peak_mib(),
        }


def fixed_rate(settings: Settings, progress: Progress) -> dict[str, Any]:
    """The stream as a vehicle has it: each modality at the manifest's rate, the fastest one sets the pace."""
    reset_peak()
    with settings.open() as pipeline:
        own = {modality.name: modality.rate_hz for modality in pipeline.manifest.modalities}
        clock = max(own, key=lambda name: own[name])
        rates = own | {clock: settings.rate_hz or own[clock]}
        captures = Captures(pipeline.manifest.modalities, RING, settings.seed)
        warm_up(pipeline, captures, settings.warm_up)
        watch, counts = _watch(pipeline, captures, rates, clock, settings.seconds, partial(progress, "fixed-rate"))
    figures = watch.figures()
    headline = {"name": "p99 frame age", "value": figures["frame_age_ms"]["p99"], "unit": "ms"}
    return {"rate_hz": rates[clock], "rates_hz": rates, "headline": headline, **figures, **counts}


def overload(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Everything new at twice the sustainable rate, which is measured in calm, right before.

    The service time of the limit is the mean of the run itself: the same machine, the same load.
    """
    reset_peak()
    with settings.open(cache=False) as pipeline:
        captures = Captures(pipeline.manifest.modalities, RING, settings.seed)
        warm_up(pipeline, captures, settings.warm_up)
        calm = _service_times(pipeline, captures, max(50, settings.warm_up))
        service = sum(calm) / len(calm)
        rate_hz = 2.0 / service
        rates = dict.fromkeys(captures.names, rate_hz)
        clock = captures.names[0]
        watch, counts = _watch(pipeline, captures, rates, clock, settings.seconds, partial(progress, "overload"))
    figures = watch.figures()
    p99 = figures["frame_age_ms"]["p99"]
    growth = growth_mib(watch.times, watch.resident)
    served = sum(watch.services) / max(1, len(watch.services))
    limit = 1000.0 * (2.0 * served + 1.0 / rate_hz)
    return {
        "rate_hz": rate_hz,
        "sustainable_hz": 1.0 / service,
        "service_ms": 1000.0 * served,
        "headline": {"name": "p99 frame age", "value": p99, "unit": "ms"},
        "criteria": [
            {"name": "p99 frame age <= 2 x service time + one period", "value": p99, "limit": limit, "unit": "ms",
             "met": None if p99 is None else p99 <= limit},
            {"name": "memory growth over the later half", "value": growth, "limit": FLAT_MIB, "unit": "MiB",
             "met": None if growth is None else growth <= FLAT_MIB},
        ],
        "resident_mib": [round(value, 2) for value in watch.resident],
        **figures,
        **counts,
    }  # fmt: skip


def _service_times(pipeline: Pipeline, captures: Captures, steps: int) -> list[float]:
    return [steps_all_new(pipeline, captures, 10_000 + index)[0] for index in range(steps)]


def _watch(
    pipeline: Pipeline, captures: Captures, rates: Mapping[str, float], clock: str, seconds: float,
    advance: Callable[[float], None],
) -> tuple[_Watch, dict[str, Any]]:  # fmt: skip
    """Run the pipeline's stream on metronomes for `seconds`."""
    start = time.monotonic() + 0.05
    unplugged = threading.Event()
    sources = [
        Live(name, partial(Metronome, name, captures, rate, start, unplugged), name=f"synthetic {name}")
        for name, rate in rates.items()
    ]
    watch = _Watch(clock)
    stream = pipeline.stream(sources)
    try:
        begun = time.monotonic()
        for count, result in enumerate(stream):
            watch.note(result)
            elapsed = time.monotonic() - begun
            if elapsed >= seconds:
                break
            if count % 32 == 0:
                advance(elapsed / seconds)
    finally:
        unplugged.set()
        stream.close()
    counts = {"seconds": elapsed, "dropped": dict(stream.dropped), "skipped": stream.skipped}
    return watch, counts
