"""What a sink is, and a file that appears only when it is finished."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, TypeVar

from ..errors import SinkError
from ..values import Result

__all__ = ["Closing", "PendingFile", "Sink", "check_output", "write_file"]


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
    """A file under construction: a temporary name beside the final one, renamed by `commit`.

    `create`: make the folders that are missing; those that `discard` finds empty go away again. Raises `SinkError`.
    """

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        self.path = Path(path)
        self._made: list[Path] = []
        try:
            _check_target(self.path, create)
            if create:
                self._make_folders()
            # A short stem: with the letters that mkstemp adds, a long but valid name would be too long.
            handle, name = tempfile.mkstemp(
                prefix=f".{self.path.stem[:40]}-", suffix=self.path.suffix, dir=self.path.parent
            )
        except (OSError, ValueError) as error:
            self._remove_folders()
            raise SinkError(
                f"{self.path} cannot be written",
                found=_reason(error),
                expected="a file name in a writable folder",
                fix="Choose another name.",
            ) from error
        os.close(handle)
        self.temporary = Path(name)

    def commit(self) -> None:
        """Give the file its name, replacing an older one at once."""
        # mkstemp makes files for the owner only; a result is an ordinary file.
        umask = os.umask(0)
        os.umask(umask)
        try:
            self.temporary.chmod(0o666 & ~umask)
            os.replace(self.temporary, self.path)
        except OSError as error:
            self.discard()
            raise SinkError(f"{self.path} cannot be written", found=_reason(error)) from error

    def discard(self) -> None:
        """Remove the temporary file, and the folders made for it."""
        self.temporary.unlink(missing_ok=True)
        self._remove_folders()

    def _make_folders(self) -> None:
        missing = [folder for folder in (self.path.parent, *self.path.parent.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._made.append(folder)

    def _remove_folders(self) -> None:
        while self._made:
            with contextlib.suppress(OSError):
                self._made.pop().rmdir()


def _check_target(path: Path, create: bool) -> None:
    """`SinkError` for a place where no file can be put: no such folder, a folder, a device, no name."""
    folder = path.parent
    if not path.name or path.is_dir():
        found = "a folder of that name" if path.name else "no file name"
        raise SinkError(f"{path} cannot be written", found=found, expected="a file name")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    if not stat.S_ISREG(mode):
        # Renaming would put an ordinary file in the place of /dev/null.
        raise SinkError(f"{path} cannot be written", found="a device or a pipe", expected="a file name")
    if not create and not folder.is_dir():
        raise SinkError(
            f"{path} cannot be written",
            found=f"no folder {folder}",
            expected="an existing folder",
            fix=f"Create it with: mkdir -p {folder}",
        )


def write_file(path: str | Path, fill: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it appears whole or not at all; missing folders are made. Raises `SinkError`."""
    pending = PendingFile(path, create=True)
    try:
        with pending.temporary.open("wb") as file:
            if callable(fill):
                fill(file)
            else:
                file.write(fill)
    except OSError as error:
        pending.discard()
        raise SinkError(f"{path} cannot be written", found=_reason(error), expected="space on the disk") from error
    except BaseException:
        pending.discard()
        raise
    pending.commit()


def check_output(path: str | Path) -> None:
    """Raise before the work what `write_file` would raise after it; leaves nothing."""
    PendingFile(path, create=True).discard()


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
