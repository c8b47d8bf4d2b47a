"""When a stream makes a step, and of what: the freshest packet of each modality with its age. Rules: stream.py."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec.structs import replace

from .errors import ChiasmError, InputError, SourceError
from .feeds import Feed, FileFeed, LiveFeed, Source, Timeline
from .hints import unknown_modality
from .manifest import ImageModality, Modality
from .values import Packet, Snapshot

__all__ = ["EVERY", "Stepper"]

EVERY = "every"
"""The name of a clock that ticks with every packet of every modality."""
_EPSILON = 1e-6
FASTEST_HZ = 10_000.0
"""No decision is made more often; a step of a nanosecond would never come to an end."""


class Stepper:
    """Iterates over snapshots. `skipped` steps had nothing present; `errors` holds what ended a source, by modality."""

    def __init__(
        self,
        sources: Sequence[Source],
        modalities: Sequence[Modality],
        *,
        rate_hz: float | None,
        clock: str | None,
        realtime: bool,
        seconds: float | None,
        shared: Mapping[str, str] | None = None,
    ) -> None:
        self._sources = tuple(sources)
        try:
            known = {modality.name: modality for modality in modalities}
            _check(self._sources, known, rate_hz, clock, seconds)
            self._also = _followers(shared or {}, [source.modality for source in self._sources], known)
        except BaseException:
            self.close()
            raise
        self.skipped = 0
        self._modalities = known
        self._rate_hz, self._clock, self._seconds = rate_hz, clock, seconds
        self._max_age = {n: math.inf if m.max_age_s is None else m.max_age_s for n, m in known.items()}
        self._time = Timeline(live=any(source.live for source in sources), paced=realtime)
        self._feeds: dict[str, Feed] = {}
        self._current: dict[str, Packet] = {}
        self._fresh: set[str] = set()
        self._last: float | None = None
        self._made = 0
        self._iterator = self._run()

    @property
    def dropped(self) -> dict[str, int]:
        """modality → packets that were captured but came too late for any step."""
        own = {name: feed.dropped for name, feed in self._feeds.items()}
        return {source.modality: source.dropped + own.get(source.modality, 0) for source in self._sources}

    @property
    def errors(self) -> dict[str, ChiasmError]:
        """modality → the error that ended its source."""
        return {name: feed.error for name, feed in self._feeds.items() if feed.error is not None}

    def now(self) -> float:
        """The stream's clock in seconds: of files their own time, of live sources `time.monotonic()`."""
        return self._time.now() if self._time.running else self._last or 0.0

    def __iter__(self) -> Iterator[Snapshot]:
        return self

    def __next__(self) -> Snapshot:
        return next(self._iterator)

    def close(self) -> None:
        """End the iteration and close the sources. Safe from another thread; a second call does nothing."""
        timeline: Timeline | None = getattr(self, "_time", None)
        if timeline is not None:
            timeline.stop()
        for source in self._sources:
            source.close()
        for feed in getattr(self, "_feeds", {}).values():
            feed.close()

    def _run(self) -> Iterator[Snapshot]:
        try:
            self._open()
            steps = self._paced() if self._time.running else self._merged()
            for time_s in steps:
                self._last = time_s
                self._made += 1
                self._fresh.clear()
                snapshot = self._snapshot(time_s)
                if snapshot.packets:
                    yield snapshot
                else:
                    self.skipped += 1
            self._raise_if_all_died()
        finally:
            self.close()

    def _open(self) -> None:
        for source in self._sources:
            feed = LiveFeed(source, self._time) if source.live else FileFeed(source, self._time)
            self._feeds[source.modality] = feed
        firsts = [feed.head for feed in self._feeds.values() if feed.head is not None]
        self._time.start(min(firsts, default=0.0))

    def _merged(self) -> Iterator[float]:
        """Step times of files on their own clock."""
        first = self._time.origin
        while (tick := self._next_tick()) is not None:
            if self._seconds is not None and tick - first >= self._seconds - _EPSILON:
                return
            self._gather(tick)
            yield tick

    def _next_tick(self) -> float | None:
        last = self._last
        while True:
            heads = {name: feed.head for name, feed in self._feeds.items() if feed.head is not None}
            if not heads:
                return self._leftover()
            if self._rate_hz is not None:
                return self._time.origin + self._made / self._rate_hz
            clock = self._fastest(heads)
            if self._clock == EVERY:
                clock = min(heads, key=lambda name: heads[name])
            due, others = heads[clock], [time for name, time in heads.items() if name != clock]
            if last is not None and due <= last:
                self._gather(due)  # a clock that stands still or goes back gives no step of its own
                continue
            early = min(others, default=math.inf)
            period = self._period(clock)
            if last is None or due - last <= 1.5 * period or early >= due:
                return due
            if early >= last + period - _EPSILON:
                return early
            self._gather(early)

    def _leftover(self) -> float | None:
        """The time of packets that were taken along but came into no step, when nothing follows them."""
        end = max((self._current[name].time_s for name in self._fresh), default=-math.inf)
        return end if self._last is None or end > self._last else None

    def _paced(self) -> Iterator[float]:
        """Step times by the wall clock."""
        clock, start = self._time, self._time.now()
        tick = start
        while clock.running and any(feed.alive for feed in self._feeds.values()):
            now = clock.now()
            if self._seconds is not None and now - start >= self._seconds:
                return
            self._gather(now)
            if self._due(now, start, tick):
                if self._rate_hz is not None:
                    tick += max(1, math.ceil((now - tick) * self._rate_hz + _EPSILON)) / self._rate_hz
                yield now
            else:
                clock.wait(self._patience(now, start, tick))
        if clock.running and self._fresh:
            yield clock.now()

    def _due(self, now: float, start: float, tick: float) -> bool:
        if self._rate_hz is not None:
            return now >= tick
        clock = self._fastest(self._feeds)
        if self._clock == EVERY:
            ready = bool(self._fresh)
        elif self._clock is not None:
            ready = clock in self._fresh
        else:
            rates = [self._modalities[name].rate_hz for name in self._fresh]
            ready = max(rates, default=0.0) >= self._modalities[clock].rate_hz
        return ready or now >= self._silence_ends(start, clock)

    def _silence_ends(self, start: float, clock: str) -> float:
        """When a step is made without the clock modality. At the beginning all have one period to arrive."""
        return (start if self._last is None else self._last) + 1.5 * self._period(clock)

    def _patience(self, now: float, start: float, tick: float) -> float:
        """Seconds until something can be due, if no live source says so earlier."""
        until = tick if self._rate_hz is not None else self._silence_ends(start, self._fastest(self._feeds))
        heads = [feed.head for feed in self._feeds.values() if feed.head is not None]
        end = math.inf if self._seconds is None else start + self._seconds
        return max(0.0, min([until, end, *heads]) - now)

    def _fastest(self, names: Collection[str]) -> str:
        """The named clock while it lives, else the living modality with the highest rate (the first of equals)."""
        living = [name for name in names if self._feeds[name].alive] or list(names)
        if self._clock in living:
            return str(self._clock)
        return max(living, key=lambda name: self._modalities[name].rate_hz)

    def _period(self, name: str) -> float:
        """Seconds between packets: the manifest's, or longer where the source has shown itself slower."""
        shortest = self._feeds[name].shortest_gap
        return max(1 / self._modalities[name].rate_hz, 0.0 if math.isinf(shortest) else shortest)

    def _gather(self, until: float) -> None:
        for name, feed in self._feeds.items():
            packet = feed.take(until + _EPSILON, unseen=name in self._fresh)
            if packet is not None:
                self._current[name] = packet
                self._fresh.add(name)
                for other in self._also.get(name, ()):
                    self._current[other] = replace(packet, modality=other)

    def _snapshot(self, time_s: float) -> Snapshot:
        ages = {name: max(0.0, time_s - packet.time_s) for name, packet in self._current.items()}
        present = {name: age for name, age in ages.items() if age <= self._max_age[name]}
        return Snapshot(time_s, {name: self._current[name] for name in present}, present)

    def _raise_if_all_died(self) -> None:
        errors = self.errors
        if errors and len(errors) == len(self._feeds):
            raise next(iter(errors.values()))


def _check(
    sources: Sequence[Source],
    modalities: dict[str, Modality],
    rate_hz: float | None,
    clock: str | None,
    seconds: float | None,
) -> None:
    names = [source.modality for source in sources]
    if not names:
        raise InputError("A stream needs a source", expected=f"one for any of {', '.join(modalities)}")
    for name in names:
        if name not in modalities:
            raise InputError("A source of an unknown modality", found=name, expected=f"one of {', '.join(modalities)}")
        if names.count(name) > 1:
            raise SourceError(f"Two sources of {name}", expected="one source a modality")
    if clock is not None and clock not in (*names, EVERY):
        raise InputError("The clock has no source", found=clock, expected=f"one of {', '.join(names)}, or {EVERY}")
    for what, value in (("rate_hz", rate_hz), ("seconds", seconds)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{what} cannot be used", found=value, expected="more than zero, or None")
    if rate_hz is not None and rate_hz > FASTEST_HZ:
        raise InputError("rate_hz cannot be used", found=rate_hz, expected=f"at most {FASTEST_HZ:g}")


def _followers(
    shared: Mapping[str, str], sources: Sequence[str], modalities: Mapping[str, Modality]
) -> dict[str, list[str]]:
    """modality with a source → those that see its packets as well."""
    followers: dict[str, list[str]] = {}
    for name, source in shared.items():
        for one in (name, source):
            if one not in modalities:
                raise unknown_modality(one, tuple(modalities))
        if name in sources:
            raise SourceError(f"Two sources of {name}", found=f"its own, and that of {source}", expected="one of them")
        if source not in sources:
            raise SourceError(f"{name} shares a source that is not there", found=source,
                              expected=f"one of {', '.join(sources)}")  # fmt: skip
        if not all(isinstance(modalities[one], ImageModality) for one in (name, source)):
            raise SourceError(f"{name} cannot share the source of {source}", expected="two image modalities",
                              fix="Open a source for each: sound and series are cut for one encoder")  # fmt: skip
        followers.setdefault(source, []).append(name)
    return followers
