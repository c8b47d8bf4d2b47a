"""Results as lines: JSON for programs, one readable line for people."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import IO, Any

import msgspec

from ..errors import SinkError
from ..values import Result
from .base import Closing, PendingFile

__all__ = ["JsonLines", "Print", "one_line"]


class JsonLines(Closing):
    """One JSON object a line (`Result.to_dict`), to a file or, without a path, to standard output.

    A file appears under its name when the sink is closed. `embedding`: write the fused embedding too.
    """

    def __init__(self, path: str | Path | None = None, *, embedding: bool = False) -> None:
        self._embedding = embedding
        self._pending = None if path is None else PendingFile(path)
        self._file: IO[bytes] | None = None if self._pending is None else self._pending.temporary.open("wb")
        self._encoder = msgspec.json.Encoder()

    def write(self, result: Result) -> None:
        """Write one line. On standard output it is flushed, so that a reader sees it at once."""
        line = self._encoder.encode(result.to_dict(embedding=self._embedding))
        if self._pending is None:
            sys.stdout.write(line.decode() + "\n")
            sys.stdout.flush()
            return
        if self._file is None:
            raise SinkError(f"{self._pending.path} is closed", expected="an open sink")
        try:
            self._file.write(line + b"\n")
        except OSError as error:
            path = self._pending.path
            self.abort()
            raise SinkError(f"{path} cannot be written", found=error.strerror, expected="space on the disk") from error

    def close(self) -> None:
        """Finish the file."""
        if self._pending is None or self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.close()
        except OSError as error:  # what was buffered found no room
            self._pending.discard()
            raise SinkError(
                f"{self._pending.path} cannot be finished", found=error.strerror, expected="space on the disk"
            ) from error
        self._pending.commit()

    def abort(self) -> None:
        """Remove the unfinished file."""
        if self._pending is None or self._file is None:
            return
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            file.close()
        self._pending.discard()


class Print(Closing):
    """One readable line a result on standard output.

    `from_first`: times count from the first result, since the clock of a live stream begins where nobody knows.
    """

    def __init__(self, out: IO[str] | None = None, *, from_first: bool = False) -> None:
        self._out: Any = out
        self._zero: float | None = None if from_first else 0.0

    def write(self, result: Result) -> None:
        """Write and flush one line."""
        if self._zero is None:
            self._zero = result.time_s
        print(one_line(result, self._zero), file=self._out or sys.stdout, flush=True)


def one_line(result: Result, zero_s: float = 0.0) -> str:
    """`12.33 s  hazard siren unseen 97 %  weather rain 99 %  |  image 41 %  audio 59 %  |  3.1 ms`"""
    labels = [
        f"{head} {label.replace('_', ' ')} {100 * result.scores[head][label]:.0f} %"
        for head, label in result.labels.items()
    ]
    senses = [_sense(name, result) for name in result.ages]
    parts = [f"{result.time_s - zero_s:8.2f} s  " + "  ".join(labels), "  ".join(senses)]
    if "total" in result.timings:
        parts.append(f"{1e3 * result.timings['total']:.1f} ms")
    return "  |  ".join(parts)


def _sense(name: str, result: Result) -> str:
    age = result.ages[name]
    stale = f" ({age:.1f} s old)" if age >= 0.1 else ""
    return f"{name} {100 * result.weights.get(name, 0.0):.0f} %{stale}"
