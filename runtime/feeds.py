"""Sources as a stream sees them: what is due by now. A file is read ahead by one packet; a live source is polled.

`Timeline` is the stream's clock; live sources wake it from their threads.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from msgspec.structs import replace

from .errors import ChiasmError
from .values import Packet

__all__ = ["Feed", "FileFeed", "LiveFeed", "Source", "Timeline"]


class Source(Protocol):
    """What a stream needs of a source; see sources/base.py. A live one may have `poll` and `notify`."""

    modality: str
    live: bool

    @property
    def dropped(self) -> int: ...

    def __iter__(self) -> Iterator[Packet]: ...

    def close(self) -> None: ...


class Timeline:
    """The clock of a stream. `live`: monotonic seconds; `paced`: file time that advances with the wall; else stands."""

    def __init__(self, *, live: bool, paced: bool) -> None:
        self.live = live
        self.running = live or paced
        self.origin = 0.0
        self.file_shift = time.monotonic() if live else 0.0
        self._zero = 0.0
        self._event = threading.Event()

    def start(self, first: float) -> None:
        """Begin at the first packet's time."""
        self.origin = first
        if not self.live:
            self._zero = time.monotonic() - first

    def now(self) -> float:
        """Seconds on the stream's clock."""
        return time.monotonic() - self._zero

    def wait(self, seconds: float) -> None:
        """Sleep, but not past a `wake`."""
        if seconds > 0 and self.running:
            self._event.wait(seconds)
        self._event.clear()

    def wake(self) -> None:
        """Something arrived."""
        self._event.set()

    def stop(self) -> None:
        """End every wait, now and later."""
        self.running = False
        self._event.set()


class Feed(Protocol):
    """One source in a stream. `head`: time of the next packet, where that is known."""

    dropped: int
    error: ChiasmError | None
    shortest_gap: float

    @property
    def alive(self) -> bool: ...

    @property
    def head(self) -> float | None: ...

    def take(self, until: float, *, unseen: bool) -> Packet | None:
        """The newest packet captured at or before `until`; `unseen`: the one before it was in no step."""
        ...

    def close(self) -> None: ...


class FileFeed:
    """A file, read ahead by one packet. Beside live sources its times are moved to their clock."""

    def __init__(self, source: Source, timeline: Timeline) -> None:
        self.dropped = 0
        self.error: ChiasmError | None = None
        self.shortest_gap = math.inf
        self._timeline = timeline
        self._packets = iter(source)
        self._next = self._pull()

    @property
    def alive(self) -> bool:
        return self._next is not None

    @property
    def head(self) -> float | None:
        return None if self._next is None else self._next.time_s

    def take(self, until: float, *, unseen: bool) -> Packet | None:
        newest: Packet | None = None
        while self._next is not None and self._next.time_s <= until:
            if self._timeline.running and (newest is not None or unseen):
                self.dropped += 1
            newest = self._next
            self._next = self._pull()
            if self._next is not None and (gap := self._next.time_s - newest.time_s) > 0:
                self.shortest_gap = min(self.shortest_gap, gap)
        return newest

    def close(self) -> None:
        self._next = None

    def _pull(self) -> Packet | None:
        try:
            packet = next(self._packets, None)
        except ChiasmError as error:
            self.error = error
            return None
        shift = self._timeline.file_shift
        return packet if packet is None or not shift else replace(packet, time_s=packet.time_s + shift)


class LiveFeed:
    """A live source: polled if it can be, else read by a thread of its own that keeps the newest packet."""

    def __init__(self, source: Any, timeline: Timeline) -> None:
        self.dropped = 0
        self.error: ChiasmError | None = None
        self.shortest_gap = math.inf
        self.head: float | None = None
        self._source = source
        self._last_time: float | None = None
        self._pump: _Pump | None = None
        self._poll: Callable[[], Packet | None]
        if hasattr(source, "poll"):
            source.notify = timeline.wake
            self._poll = source.poll
        else:
            self._pump = _Pump(source, timeline.wake)
            self._poll = self._pump.poll

    @property
    def alive(self) -> bool:
        if self._pump is not None:
            self.error = self._pump.error
            return self._pump.alive
        return not getattr(self._source, "closed", False)

    def take(self, until: float, *, unseen: bool) -> Packet | None:
        packet = self._poll()
        if self._pump is not None:
            self.error, self.dropped = self._pump.error, self._pump.dropped
        if packet is None:
            return None
        if unseen:
            self.dropped += 1
        if self._last_time is not None and packet.time_s > self._last_time:
            self.shortest_gap = min(self.shortest_gap, packet.time_s - self._last_time)
        self._last_time = packet.time_s
        return packet

    def close(self) -> None:
        if self._pump is not None:
            self._pump.join()


class _Pump:
    """Reads a source in a thread and holds its newest packet."""

    def __init__(self, source: Source, wake: Callable[[], None]) -> None:
        self.dropped = 0
        self.error: ChiasmError | None = None
        self._newest: Packet | None = None
        self._ended = False
        self._lock = threading.Lock()
        self._wake = wake
        self._thread = threading.Thread(
            target=self._read, args=(source,), name=f"chiasm-{source.modality}", daemon=True
        )
        self._thread.start()

    @property
    def alive(self) -> bool:
        with self._lock:
            return not self._ended or self._newest is not None

    def poll(self) -> Packet | None:
        with self._lock:
            newest, self._newest = self._newest, None
            return newest

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def _read(self, source: Source) -> None:
        try:
            for packet in source:
                with self._lock:
                    self.dropped += self._newest is not None
                    self._newest = packet
                self._wake()
        except ChiasmError as error:
            self.error = error
        finally:
            with self._lock:
                self._ended = True
            self._wake()
