"""What the operations ask of a GPU, whichever way it is reached."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from .arrays import Memory

__all__ = ["CudaError", "Driver", "fatbin", "handle_of"]


class CudaError(RuntimeError):
    """The driver refused: no GPU, no memory, a launch that failed. The message has the driver's words."""


class Driver(Protocol):
    """What the operations ask of a GPU. The tests have one that runs the kernels on a CPU."""

    @property
    def multiprocessors(self) -> int: ...

    def active(self) -> Any:
        """A context manager; everything else is called inside."""

    def launch(self, kernel: str, grid: Sequence[int], block: int, shared: int, arguments: ctypes.Structure,
               stream: Any) -> None: ...  # fmt: skip

    def allocate(self, size: int) -> Memory: ...

    def upload(self, array: NDArray[Any]) -> Memory:
        """A copy on the GPU that is there when this returns, for every stream."""

    def read(self, pointer: int, out: NDArray[Any], stream: Any) -> None:
        """GPU → `out`, after everything on the stream; there when this returns."""

    def clear(self, pointer: int, size: int, stream: Any) -> None:
        """Zeros, in the stream's order."""

    def scratch(self, size: int, stream: Any) -> int:
        """Memory that belongs to the stream: the next call on it may have the same."""

    def kept(self, key: Any, make: Callable[[], Sequence[NDArray[Any]]]) -> tuple[int, ...]:
        """Addresses of copies of the arrays that `make` gives; made once for a key, and kept as long as it is in
        use.
        """

    def after(self, stream: Any, producer: int) -> None:
        """What is put on `stream` from now on waits for what is on the stream `producer` (a handle)."""


def fatbin() -> Path | None:
    """The compiled kernels, where the package was installed with nvcc at hand."""
    package = import_module("..", __package__)
    places = (Path(place) / "kernels.fatbin" for place in package.__path__)
    return next((place for place in places if place.is_file()), None)


def handle_of(stream: Any) -> int | None:
    """The number of a stream: None, a number, or an object of PyCUDA, CuPy or PyTorch. None is the default stream."""
    if stream is None or isinstance(stream, int):
        return stream
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for attribute in ("handle", "ptr", "cuda_stream"):
        if isinstance(number := getattr(stream, attribute, None), int):
            return number
    raise TypeError(f"stream: found {type(stream).__name__}, expected a stream of PyCUDA, CuPy or PyTorch, or a handle")
