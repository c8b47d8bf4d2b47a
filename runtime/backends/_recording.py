"""CUDA graphs by stream capture: what a vendor puts on a stream is recorded once and replayed with one call.

PyCUDA has no calls for it, so the driver is called itself (CUDA Driver API, "Stream Management" and "Graph Management";
the names are those of CUDA 11.4 and newer).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

__all__ = ["Recording", "open_library", "record"]

_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile does not disturb."""


def open_library() -> Any:
    """The driver's library, which PyCUDA has loaded already. Raises OSError."""
    return ctypes.CDLL("libcuda.so.1")


class Recording:
    """A CUDA graph that is ready to be replayed."""

    def __init__(self, library: Any, graph: ctypes.c_void_p, runnable: ctypes.c_void_p) -> None:
        self._library, self._graph, self._runnable = library, graph, runnable

    def replay(self, stream: int) -> bool:
        """Put the whole on a stream; False where the driver refuses."""
        return int(self._library.cuGraphLaunch(self._runnable, ctypes.c_void_p(stream))) == 0

    def close(self) -> None:
        """Free it. What was put on a stream must be done by then."""
        self._library.cuGraphExecDestroy(self._runnable)
        self._library.cuGraphDestroy(self._graph)


def record(stream: int, work: Callable[[], object]) -> Recording | None:
    """What `work` puts on the stream of that handle, recorded and not run; None where it cannot be.

    `work` gives something false where it failed. It must have run before, so that it allocates nothing any more.
    """
    try:
        library = open_library()
    except OSError:
        return None
    handle, graph, runnable = ctypes.c_void_p(stream), ctypes.c_void_p(), ctypes.c_void_p()
    if library.cuStreamBeginCapture_v2(handle, ctypes.c_int(_THREAD_LOCAL)) != 0:
        return None
    done = False
    try:
        done = bool(work())
    finally:
        ended = library.cuStreamEndCapture(handle, ctypes.byref(graph))  # always: the stream takes nothing else before
    if not done or ended != 0 or not graph:
        if graph:
            library.cuGraphDestroy(graph)
        return None
    if library.cuGraphInstantiateWithFlags(ctypes.byref(runnable), graph, ctypes.c_ulonglong(0)) != 0:
        library.cuGraphDestroy(graph)
        return None
    return Recording(library, graph, runnable)
