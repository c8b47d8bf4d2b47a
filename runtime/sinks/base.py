"""What a sink is, and a file that appears only when it is finished."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from ..errors import SinkError
from ..values import Result

__all__ = ["Closing", "PendingFile", "Sink"]


Self = TypeVar("Self")


class Sink(Protocol):
    """Takes results, one at a time.

    `close` finishes what was written and gives it its name; `abort` throws it away. Either may be called twice, only
    the first call counts. `stopped` turns true when the person watching asked for an end (a window was closed).
    """

    stopped: bool

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def __enter__(self: Self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Closing:
    """Context manager: `close` at the end or on Ctrl-C (how a live run ends), `abort` on any other exception."""

    stopped = False

    def close(self) -> None:
        """Finish."""

    def abort(self) -> None:
        """Throw away."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.abort()


class PendingFile:
    """A file under construction: a temporary name beside the final one, renamed by `commit`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        folder = self.path.parent
        if not folder.is_dir():
            raise SinkError(
                f"{self.path} cannot be written",
                found=f"no folder {folder}",
                expected="an existing folder",
                fix=f"Create it with: mkdir -p {folder}",
            )
        if self.path.is_dir():
            raise SinkError(f"{self.path} cannot be written", found="a folder of that name", expected="a file name")
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.stem}-", suffix=self.path.suffix, dir=folder)
        except OSError as error:
            raise SinkError(
                f"{self.path} cannot be written", found=error.strerror, expected="a writable folder"
            ) from error
        os.close(handle)
        self.temporary = Path(name)

    def commit(self) -> None:
        """Give the file its name, replacing an older one at once."""
        # mkstemp makes files for the owner only; a result is an ordinary file.
        umask = os.umask(0)
        os.umask(umask)
        self.temporary.chmod(0o666 & ~umask)
        os.replace(self.temporary, self.path)

    def discard(self) -> None:
        """Remove the temporary file."""
        self.temporary.unlink(missing_ok=True)
