"""What a source is, how files are checked, how windows are cut, and how an outage is staged."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from ..errors import InputError, SourceError
from ..values import Array, Packet

__all__ = ["FileSource", "LiveSource", "Outage", "Source", "WindowCutter", "existing_file", "quiet"]


class Source(Protocol):
    """Packets of one modality, in order of capture time.

    A file's clock starts at 0 s, a live source's clock is `time.monotonic()`. Closing twice does nothing.
    """

    modality: str
    live: bool

    @property
    def dropped(self) -> int:
        """Packets that were captured but thrown away; always 0 for files."""
        ...

    def __iter__(self) -> Iterator[Packet]: ...

    def close(self) -> None: ...


class LiveSource(Source, Protocol):
    """A source that does not wait: a reader thread keeps the newest packets in a short queue.

    `notify`, when set, is called from the reader thread after each packet and once when the source closes.
    """

    notify: Callable[[], None] | None

    def poll(self, timeout_s: float = 0.0) -> Packet | None:
        """The newest packet; older ones in the queue are dropped. None if none came within `timeout_s`."""
        ...


def existing_file(path: str | Path, what: str) -> Path:
    """The path, if it is a file. Raises `SourceError` naming `what` was looked for."""
    found = Path(path)
    try:
        mode = os.stat(found).st_mode
        if stat.S_ISREG(mode):
            return found
        state = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
    except (OSError, ValueError) as error:
        state = "nothing" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or str(error)
    raise SourceError(
        f"{what} {path} cannot be opened", found=state, expected="a file", fix="Check the path and its spelling."
    )


def quiet(cv2: Any) -> None:
    """OpenCV prints warnings of its own about what we report in one line."""
    with_level = getattr(getattr(cv2, "utils", None), "logging", None)
    if with_level is not None:
        with_level.setLogLevel(with_level.LOG_LEVEL_SILENT)


class FileSource:
    """What all file sources share: not live, nothing dropped, iteration ends after `close`."""

    live = False
    dropped = 0

    def __init__(self, modality: str) -> None:
        self.modality = modality
        self.closed = False

    def __iter__(self) -> Iterator[Packet]:
        for packet in self.packets():
            if self.closed:
                return
            yield packet

    def packets(self) -> Iterator[Packet]:
        """All packets from the start; every call begins anew."""
        raise NotImplementedError

    def close(self) -> None:
        """End the running iteration at its next packet."""
        self.closed = True


class WindowCutter:
    """Cuts a flow of samples, (n,) or (n, C), into windows: the last `length` samples, one every 1/`rate_hz` s.

    A window is stamped with the time of its end, which is one sample period after its last sample's start. Windows
    near the beginning are shorter than `length`. After a gap in the capture times the window starts anew, so that it
    never joins samples that do not belong together.
    """

    def __init__(self, length: int, sample_rate: float, rate_hz: float, *, gap_s: float = 0.05) -> None:
        if length < 1 or sample_rate <= 0 or rate_hz <= 0:
            raise InputError(
                "windows cannot be cut",
                found=f"length {length}, sample rate {sample_rate} Hz, {rate_hz} windows/s",
                expected="three numbers above zero",
            )
        self._length, self._rate, self._hop = length, sample_rate, 1.0 / rate_hz
        self._gap_s = gap_s
        self._tail: list[Array] = []
        self._held = 0
        self._origin: float | None = None
        self._expected = 0.0
        self._count = 0
        self._fresh = False
        self._emitted = 0

    def push(self, samples: Array, start_s: float | None = None) -> Iterator[tuple[float, Array]]:
        """Add samples captured from `start_s` on (None: right after the last ones); yields (end time, window)."""
        self._anchor(start_s)
        self._expected += len(samples) / self._rate
        position = 0
        while position < len(samples):
            piece = samples[position : position + max(1, self._due() - self._count)]
            self._keep(piece)
            position += len(piece)
            if self._count >= self._due():
                yield self._cut()

    def flush(self) -> Iterator[tuple[float, Array]]:
        """The window of the samples that came after the last full hop, if there are any."""
        if self._fresh:
            yield self._cut()

    def _anchor(self, start_s: float | None) -> None:
        """Follow the capture times: small differences move the clock (drift), a gap begins a new window."""
        if self._origin is None or (start_s is not None and start_s - self._expected > self._gap_s):
            self._origin = self._expected = start_s or 0.0
            self._count, self._emitted = 0, 0
            self._tail, self._held, self._fresh = [], 0, False
        elif start_s is not None and abs(start_s - self._expected) <= self._gap_s:
            self._origin, self._expected = start_s - self._count / self._rate, start_s

    def _now(self) -> float:
        return (self._origin or 0.0) + self._count / self._rate

    def _due(self) -> int:
        return max(1, round((self._emitted + 1) * self._hop * self._rate))

    def _keep(self, piece: Array) -> None:
        self._tail.append(piece)
        self._held += len(piece)
        self._count += len(piece)
        self._fresh = True
        while self._held - len(self._tail[0]) >= self._length:
            self._held -= len(self._tail.pop(0))

    def _cut(self) -> tuple[float, Array]:
        window = np.concatenate(self._tail)[-self._length :]
        self._tail, self._held = [window], len(window)
        self._fresh = False
        while self._due() <= self._count:
            self._emitted += 1
        return self._now(), window.copy()


class Outage:
    """A source that loses the packets of given times, as if a plug were pulled.

    `windows`: (from, to) in seconds, from ≤ t < to, on a file's own clock; for a live source since its first packet.
    `lost` counts the packets that fell into them.
    """

    def __init__(self, source: Source, windows: Sequence[tuple[float, float]]) -> None:
        for start, end in windows:
            if not (math.isfinite(start) and start < end):
                raise InputError(
                    "an outage cannot be staged", found=f"from {start} s to {end} s", expected="a start before its end"
                )
        self._source = source
        self._windows = tuple(windows)
        self._zero: float | None = None if source.live else 0.0
        self.modality = source.modality
        self.live = source.live
        self.lost = 0

    @property
    def dropped(self) -> int:
        """Packets that the wrapped source dropped; those of the outage are in `lost`."""
        return self._source.dropped

    @property
    def notify(self) -> Callable[[], None] | None:
        """The live source's callback."""
        return self._live().notify

    @notify.setter
    def notify(self, callback: Callable[[], None] | None) -> None:
        self._live().notify = callback

    def poll(self, timeout_s: float = 0.0) -> Packet | None:
        """As the live source's; None while the outage lasts."""
        packet = self._live().poll(timeout_s)
        return packet if packet is not None and self._passes(packet) else None

    def __iter__(self) -> Iterator[Packet]:
        return (packet for packet in self._source if self._passes(packet))

    def close(self) -> None:
        """Close the wrapped source."""
        self._source.close()

    def _live(self) -> LiveSource:
        if self._source.live:
            return cast(LiveSource, self._source)
        raise InputError(f"the {self.modality} source cannot be polled", found="a file", expected="a live source")

    def _passes(self, packet: Packet) -> bool:
        if self._zero is None:
            self._zero = packet.time_s
        time_s = packet.time_s - self._zero
        passes = not any(start <= time_s < end for start, end in self._windows)
        self.lost += not passes
        return passes
