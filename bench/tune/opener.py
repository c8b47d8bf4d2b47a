"""Sessions of a bundle's parts: opened and timed, and no more of them kept than memory has room for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ...runtime.backends import Backend, Session, SessionOptions, available, candidates, open_backend
from ...runtime.backends.ort import threads_for, usable_threads
from ...runtime.bundle import Bundle
from ...runtime.tuned import Choice

__all__ = ["FP32", "PLAIN", "Kind", "Opener", "kind_name", "kind_of"]

Kind = tuple[str, str]
"""(backend, precision): what an answer depends on; threads and the like change no more than rounding."""
FP32: Kind = ("ort", "fp32")
PLAIN = ("fp32", "fp16", "int8-cpu", "int8-trt")
_LIKELY = ("fp32", "int8-cpu", "int8-trt", "fp16")
"""The order in which they are judged, as long as there is time: those that can be the fastest first."""
_MOST = 4 * 2**30
"""Bytes of graphs that are open at the same time, where there is memory for three times as much."""
_KEPT = 8
"""Sessions that are kept to judge with."""


def kind_name(kind: Kind) -> str:
    """As a key of a report."""
    return " ".join(kind)


def kind_of(choice: Choice) -> Kind:
    """What a choice's answers depend on."""
    return choice.backend, choice.precision


class Opener:
    """Sessions of a bundle's parts in any choice; backends are kept, sessions are the caller's.

    `opening` and `running`: seconds, on the clock `wall`, that opening a part in a kind and one run of it took.
    """

    def __init__(self, bundle: Bundle, wall: Callable[[], float] = time.perf_counter) -> None:
        self.bundle, self.wall = bundle, wall
        self.absent = {name: why for name, why in available().items() if why is not None}
        self.opening: dict[tuple[str, Kind], float] = {}
        self.running: dict[tuple[str, Kind], float] = {}
        self.room = _room()
        self._backends: dict[tuple[str, SessionOptions], Backend] = {}
        self._kept: dict[tuple[str, Kind], Session] = {}

    def backend(self, name: str, options: SessionOptions) -> Backend:
        """Opened once for each set of options."""
        if (name, options) not in self._backends:
            self._backends[name, options] = open_backend(name, options)
        return self._backends[name, options]

    def open(self, part: str, choice: Choice) -> Session:
        """A new session. Raises BackendError."""
        spec, start = self.bundle.manifest.parts[part], self.wall()
        backend = self.backend(choice.backend, choice.options)
        session = backend.open(self.bundle.graph(part, choice.precision), spec.inputs, spec.outputs)
        self.opening[part, kind_of(choice)] = self.wall() - start
        return session

    def size(self, part: str, precision: str) -> int:
        """Bytes of a variant with its weights."""
        variant = self.bundle.variant(part, precision)
        return variant.bytes + sum(each.bytes for each in variant.external)

    def reference(self, part: str) -> Choice:
        """FP32 on ONNX Runtime with the settings that it comes with."""
        return Choice(FP32[1], FP32[0], threads=threads_for(self.size(part, "fp32"), None))

    def judged(self, *wanted: tuple[str, Kind]) -> list[Session]:
        """Sessions to judge with, kept until there is no room, `drop` or `release`; those of one call stay together."""
        for part, kind in wanted:
            if (part, kind) not in self._kept:
                self._make_room(self.size(part, kind[1]), wanted)
                threads = threads_for(self.size(part, kind[1]), None)
                self._kept[part, kind] = self.open(part, Choice(kind[1], kind[0], threads=threads))
            else:
                self._kept[part, kind] = self._kept.pop((part, kind))  # used last
        return [self._kept[each] for each in wanted]

    def _make_room(self, size: int, wanted: tuple[tuple[str, Kind], ...]) -> None:
        while self._kept:
            held = sum(self.size(part, kind[1]) for part, kind in self._kept)
            idle = next((each for each in self._kept if each not in wanted), None)
            if idle is None or (len(self._kept) < _KEPT and held + size <= self.room):
                return
            self.drop(*idle)

    def drop(self, part: str, kind: Kind) -> None:
        """Close one that was kept."""
        if (part, kind) in self._kept:
            self._kept.pop((part, kind)).close()

    def release(self) -> None:
        """Close all that were kept."""
        while self._kept:
            self._kept.popitem()[1].close()

    def close(self) -> None:
        """Close sessions that were kept, then backends."""
        self.release()
        while self._backends:
            self._backends.popitem()[1].close()

    def kinds(self, part: str) -> Iterator[Kind]:
        """Every variant on every backend that is here, may be chosen by measurement, and says that it runs it; those of
        the reference's backend first."""
        there = [each.precision for each in self.bundle.manifest.parts[part].variants]
        for name in sorted(candidates(usable_threads()), key=lambda name: name != FP32[0]):
            if name not in self.absent:
                runs = self.backend(name, SessionOptions()).precisions()
                yield from ((name, precision) for precision in _LIKELY if precision in runs and precision in there)

    def unrun(self, part: str) -> list[str]:
        """Variants that no backend here runs."""
        run = {precision for _, precision in self.kinds(part)}
        return [v.precision for v in self.bundle.manifest.parts[part].variants if v.precision not in run]


def _room(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of graphs that may be open together: a third of what is free, as one may take twice its size."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        return min(_MOST, 1024 * int(lines["MemAvailable"].split()[0]) // 3)
    except (OSError, KeyError, ValueError):
        return _MOST // 4
