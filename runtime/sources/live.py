"""Live capture: a reader thread, a short queue that drops the oldest, reconnection with backoff.

The thread owns the device (the grabber); the pipeline owns the models. A camera that goes away costs its packets and
nothing else: the reader opens it again after 0.2 s, 0.4 s, … at most 5 s, while the models stay loaded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from ..errors import ChiasmError, SourceError
from ..values import Packet

__all__ = ["Backoff", "Grabber", "Live"]

QUEUE = 4
"""Packets kept for a consumer that is late; the oldest goes first."""

JOIN_S = 6.0
"""How long `close` waits for the reader, which may be inside a blocking read of the device."""


class Grabber(Protocol):
    """An opened device."""

    def read(self) -> Packet | None:
        """Wait for the next packet; None when the device has nothing more or is gone. May raise `SourceError`."""
        ...

    def close(self) -> None: ...


class Backoff:
    """Waiting times between attempts: `first`, doubled each time, at most `limit` seconds."""

    def __init__(self, first: float = 0.2, limit: float = 5.0) -> None:
        self.first, self.limit = first, limit
        self._next = first

    def wait_s(self) -> float:
        """The next waiting time."""
        wait, self._next = self._next, min(self._next * 2, self.limit)
        return wait

    def reset(self) -> None:
        """After a success: begin with the shortest wait again."""
        self._next = self.first


class Live:
    """A live source (see `LiveSource`) around anything that can `read()`.

    `open_grabber` opens the device and raises `SourceError` if it cannot. The first opening happens here, so a device
    that is not there is an error at once; one that opens but gives nothing within `timeout_s` is a dead device.
    """

    live = True

    def __init__(
        self,
        modality: str,
        open_grabber: Callable[[], Grabber],
        *,
        timeout_s: float = 10.0,
        capacity: int = QUEUE,
        backoff: Backoff | None = None,
        name: str = "device",
    ) -> None:
        self.modality = modality
        self.name = name
        self.dropped = 0
        self.reconnects = 0
        self.connected = True
        self.notify: Callable[[], None] | None = None
        self._open = open_grabber
        self._backoff = backoff or Backoff()
        self._queue: deque[Packet] = deque()
        self._capacity = capacity
        self._ready = threading.Condition()
        self._stop = threading.Event()
        self._trouble: str | None = None
        self._thread = threading.Thread(
            target=self._run, args=(open_grabber(),), name=f"chiasm-{modality}", daemon=True
        )
        self._thread.start()
        self._await_first(timeout_s)

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._stop.is_set()

    def poll(self, timeout_s: float = 0.0) -> Packet | None:
        """The newest packet; older ones in the queue are dropped and counted. None if none came in time."""
        with self._ready:
            if not self._queue and timeout_s > 0:
                self._ready.wait_for(lambda: self._queue or self.closed, timeout_s)
            if not self._queue:
                return None
            newest = self._queue.pop()
            self.dropped += len(self._queue)
            self._queue.clear()
            return newest

    def __iter__(self) -> Iterator[Packet]:
        """Packets in order, oldest first, waiting for each; ends when the source is closed."""
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._queue or self.closed)
                if self.closed:
                    return
                packet = self._queue.popleft()
            yield packet

    def close(self) -> None:
        """Stop the reader and wait for it. A second call does nothing."""
        self._stop.set()
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)

    def _await_first(self, timeout_s: float) -> None:
        with self._ready:
            came = self._ready.wait_for(lambda: bool(self._queue), timeout_s)
        if not came:
            self.close()
            raise SourceError(
                f"the {self.name} gave nothing",
                found=self._trouble or f"no packet within {timeout_s:g} s",
                expected=f"{self.modality} packets",
                fix="Check that it is plugged in, switched on and not used by another program.",
            )

    def _run(self, grabber: Grabber | None) -> None:
        while not self._stop.is_set():
            if grabber is None:
                grabber = self._reopen()
                continue
            try:
                packet = grabber.read()
            except Exception as error:  # whatever a driver throws, the remedy is the same: open it again
                self._trouble, packet = str(error), None
            if packet is None:
                self.connected = False
                grabber.close()
                grabber = None
            else:
                self._put(packet)
        if grabber is not None:
            grabber.close()
        self._wake()

    def _reopen(self) -> Grabber | None:
        if self._stop.wait(self._backoff.wait_s()):
            return None
        try:
            grabber = self._open()
        except ChiasmError as error:
            self._trouble = str(error)
            return None
        self.reconnects += 1
        return grabber

    def _put(self, packet: Packet) -> None:
        # Only a packet proves the connection: a camera that opens but stays dark must not reset the waiting time.
        self._backoff.reset()
        self.connected = True
        with self._ready:
            if len(self._queue) >= self._capacity:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(packet)
        self._wake()

    def _wake(self) -> None:
        with self._ready:
            self._ready.notify_all()
        if self.notify is not None:
            self.notify()
