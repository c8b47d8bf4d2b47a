"""What every operation does around its launch: arrays in, outputs made or checked, a grid, and the order of streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import output
from .arrays import DeviceArray, view
from .driver import current
from .protocol import Driver, handle_of

__all__ = ["BLOCK", "LARGEST_GRID", "Call", "grid_for", "opened"]

BLOCK = 256
"""Threads of a block, as the kernels were compiled."""

LARGEST_GRID = 2**31 - 1


def grid_for(items: int, per_block: int) -> tuple[int, int, int]:
    """Blocks for a kernel whose loop covers what the grid leaves: at least one, at most what a GPU takes."""
    return (max(1, min(-(-items // per_block), LARGEST_GRID)), 1, 1)


class Call:
    """One call of an operation: the driver, the stream, and the arrays that take part."""

    def __init__(self, driver: Driver, stream: Any) -> None:
        self.driver = driver
        self.stream = stream
        self.handle = handle_of(stream)

    def view(self, name: str, value: Any) -> NDArray[Any]:
        """An argument as the checks and `address` take it; ready for what is put on the stream from now on."""
        found = view(name, value, self.handle)
        if found.stream is not None:
            self.driver.after(self.stream, found.stream)
        return found.array

    def made(self, shape: tuple[int, ...], dtype: Any) -> tuple[DeviceArray, NDArray[Any]]:
        """A new array, and the same as the checks and `address` take it."""
        wanted = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * wanted.itemsize
        array = DeviceArray(self.driver.allocate(size), shape, wanted, self.handle)
        return array, view("out", array).array

    def output(self, name: str, out: Any, shape: tuple[int, ...], dtype: Any) -> tuple[Any, NDArray[Any]]:
        """What the caller gets, its own array or a new one, and the same as `address` takes it."""
        if out is None:
            return self.made(shape, dtype)
        return out, output(self.view(name, out), shape, dtype, name)

    def scratch(self, size: int) -> int:
        """Memory that the kernels of this call share; the next call on the stream may have the same."""
        return self.driver.scratch(size, self.stream)

    def launch(self, kernel: str, grid: tuple[int, int, int], arguments: Any, *, shared: int = 0) -> None:
        self.driver.launch(kernel, grid, BLOCK, shared, arguments, self.stream)


@contextmanager
def opened(stream: Any) -> Iterator[Call]:
    """A call on the caller's stream.

    Raises:
        CudaError: no GPU that can be used (`why_not` says the same), or the driver refuses.
        TypeError: a stream of an unknown kind.
    """
    driver = current()
    with driver.active():
        yield Call(driver, stream)
