"""One pull loop over several sources: the freshest packet of each modality, with its age, and a result for each step.

Three clocks:

- **Files** run on their own clock: capture times are merged in order, nothing is dropped, every run gives the same.
- **Files in real time** are paced by the wall clock. A step that comes late takes the newest packet that is due; those
  it passes over are counted in `dropped`.
- **Live** (one source or more is live): the clock is `time.monotonic()`, the clock of live sources. Files beside them
  begin when the stream begins.

A step is made for each packet of the clock modality: the one named, else the fastest source that has not ended. When it
is overdue by half its period, the other modalities go on without it: on files at their packets, live at its usual rate.
With the clock "every" a step is made for each packet of any modality: nothing heard waits for the next picture.
With `rate_hz`, steps are made at that rate instead, whatever arrives. A step at which every modality is absent (none
came yet, or all are older than `max_age_s`) gives no result and is counted in `skipped`.

`shared`: modality → another one with a source, whose packets it sees as well: one camera for two encoders. The frame is
then captured once, and prepared once for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from .errors import ChiasmError
from .feeds import Source
from .manifest import Modality
from .stepper import Stepper
from .values import Result, Snapshot

__all__ = ["Stream", "snapshots"]


def snapshots(
    sources: Sequence[Source],
    modalities: Sequence[Modality],
    *,
    rate_hz: float | None = None,
    clock: str | None = None,
    realtime: bool = False,
    seconds: float | None = None,
    shared: Mapping[str, str] | None = None,
) -> Stepper:
    """The snapshots of a stream without a pipeline: an iterator with the counters of `Stream`."""
    return Stepper(sources, modalities, rate_hz=rate_hz, clock=clock, realtime=realtime, seconds=seconds, shared=shared)


class Stream:
    """Results of a stream, one a step; also a context manager. `steps` results were given so far."""

    def __init__(
        self,
        sources: Sequence[Source],
        modalities: Sequence[Modality],
        step: Callable[[Snapshot], Result],
        *,
        rate_hz: float | None = None,
        clock: str | None = None,
        realtime: bool = False,
        seconds: float | None = None,
        shared: Mapping[str, str] | None = None,
    ) -> None:
        self.steps = 0
        self._step = step
        self._stepper = snapshots(
            sources, modalities, rate_hz=rate_hz, clock=clock, realtime=realtime, seconds=seconds, shared=shared
        )

    @property
    def skipped(self) -> int:
        """Steps that gave no result, because every modality was absent."""
        return self._stepper.skipped

    @property
    def dropped(self) -> dict[str, int]:
        """modality → packets that were captured but came too late for any step (always 0 for files on their clock)."""
        return self._stepper.dropped

    @property
    def errors(self) -> dict[str, ChiasmError]:
        """modality → the error that ended its source while the others went on."""
        return self._stepper.errors

    def now(self) -> float:
        """The stream's clock in seconds; `now() − packet.time_s` after a step is the age of a packet at completion."""
        return self._stepper.now()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Result:
        try:
            result = self._step(next(self._stepper))
        except BaseException:
            self.close()
            raise
        self.steps += 1
        return result

    def close(self) -> None:
        """End the stream and close its sources. A second call does nothing."""
        self._stepper.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
