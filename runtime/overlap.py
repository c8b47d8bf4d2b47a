"""The encoders of a step on a CPU: one after the other, or two at a time, whichever takes less time here."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Sequence
from time import perf_counter

from .encode import Encoder

__all__ = ["Overlap"]

WORTH_S = 0.0002
"""Only when two encoders took as long as this: waking a thread takes 0.02 to 0.1 ms."""
TRIES = 8
"""Steps of each way, in turn, before one is chosen for a set of encoders by its shortest step."""
CLEARLY = 0.97
"""Two at a time must take less than this share."""


class _Trial:
    """What steps of one set of encoders took, in seconds: `apart` one after the other, `beside` two at a time."""

    __slots__ = ("apart", "beside")

    def __init__(self) -> None:
        self.apart: list[float] = []
        self.beside: list[float] = []

    @property
    def side_by_side(self) -> bool:
        """How the next step is to be run."""
        if len(self.beside) < TRIES:
            return len(self.beside) < len(self.apart)
        return min(self.beside) < CLEARLY * min(self.apart)

    def note(self, seconds: float, *, beside: bool) -> None:
        if len(self.beside) < TRIES:
            (self.beside if beside else self.apart).append(seconds)


class Overlap:
    """Runs encoders that are ready. A network seldom keeps all cores busy; another one fills its gaps.

    What they give does not depend on it, and `timings` has what each took, which is more when they share the cores.
    `allowed` false: always one after the other.
    """

    def __init__(self, *, allowed: bool = True) -> None:
        self._helper: _Helper | None = None
        self._allowed = allowed
        self._trials: dict[tuple[str, ...], _Trial] = {}

    def run(self, ready: Sequence[Encoder], timings: dict[str, float]) -> None:
        """Encode what is ready. Raises what an encoder raises, after all have ended."""
        if not self._allowed or not _two_are_long(ready):
            for encoder in ready:
                encoder.run(timings)
            return
        key = tuple(encoder.modality for encoder in ready)
        trial = self._trials.get(key) or self._trials.setdefault(key, _Trial())
        beside, start = trial.side_by_side, perf_counter()
        if beside:
            self._run_beside(ready, timings)
        else:
            for encoder in ready:
                encoder.run(timings)
        trial.note(perf_counter() - start, beside=beside)

    def _run_beside(self, ready: Sequence[Encoder], timings: dict[str, float]) -> None:
        """This thread and another one take the next encoder, the longest first, until none is left."""
        left = sorted(ready, key=_seconds)

        def work() -> None:
            while left:
                try:
                    encoder = left.pop()
                except IndexError:  # the other one was faster
                    return
                try:
                    encoder.run(timings)
                except BaseException:
                    left.clear()
                    raise

        helper, self._helper = self._helper or _Helper(), None
        helper.begin(work)
        try:
            work()
        finally:
            error = helper.wait()
            self._helper = helper  # not that of a wait that was interrupted: it may be working still
        if error is not None:
            raise error

    def close(self) -> None:
        """Let the other thread end; a second call does nothing."""
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.end()

    def __del__(self) -> None:
        self.close()


class _Helper:
    """A thread that does one thing after another; two locks, because an executor takes as long as a small encoder."""

    def __init__(self) -> None:
        self._job: Callable[[], None] | None = None
        self._error: BaseException | None = None
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        threading.Thread(target=self._loop, name="chiasm-encoder", daemon=True).start()

    def begin(self, job: Callable[[], None]) -> None:
        """Start on a job; `wait` has to come before the next."""
        self._job = job
        self._go.release()

    def wait(self) -> BaseException | None:
        """Until the job is done. Gives what it raised."""
        self._done.acquire()
        error, self._error = self._error, None
        return error

    def end(self) -> None:
        """No job any more."""
        self._job = None
        self._go.release()

    def _loop(self) -> None:
        while self._go.acquire() and self._job is not None:
            try:
                self._job()
            except BaseException as error:
                self._error = error
            self._done.release()


_seconds = operator.attrgetter("seconds")


def _two_are_long(encoders: Sequence[Encoder]) -> bool:
    longest = 0
    for encoder in encoders:
        longest += encoder.seconds >= WORTH_S
    return longest > 1
