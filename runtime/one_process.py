"""What belongs to the process that made it: sessions and their threads do not go through a fork, a pickle or a copy.

After a fork the child has the memory of its parent and none of its threads: a session would wait for them for ever, and
so would whoever tears it down. So the child's copy is shut, and what it held is kept until the child ends.
"""

from __future__ import annotations

import os
import threading
from typing import Any, NoReturn
from weakref import WeakSet

from .errors import BackendError

__all__ = ["OneProcess"]

_HERE = "Load the bundle in the process that uses it"
_known: WeakSet[OneProcess] = WeakSet()
_inherited: list[dict[str, Any]] = []


class OneProcess:
    """Open until it is closed, in the process that made it. `_lock` guards what it does; `_closed`: why it is shut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = ""
        self._foreign = False
        _known.add(self)

    def __reduce__(self) -> NoReturn:
        raise BackendError(
            f"A {type(self).__name__} cannot be copied, pickled or sent to another process",
            found="open sessions", fix=_HERE,
        )  # fmt: skip

    def _must_be_open(self) -> None:
        if self._foreign:
            raise BackendError(self._closed, found="a fork", expected="the process that loaded it", fix=_HERE)
        if self._closed:
            raise BackendError(self._closed, fix="Load the bundle again")


def _in_child() -> None:
    """Shut whatever the parent had open. Its locks may be held by threads that are not here any more."""
    for each in list(_known):
        _inherited.append(dict(vars(each)))
        each._lock = threading.Lock()
        each._closed = f"The {type(each).__name__.lower()} belongs to another process"
        each._foreign = True


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
