"""The inputs of a session whose tensors share the memory of NumPy arrays: checked, copied in, or read in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ..errors import BackendError
from ..values import Array, TensorSpec
from .base import Feed, as_array

__all__ = ["Slots"]


class _Slot:
    """One input: its own buffer, the array that is bound now, and the one that was fed last."""

    __slots__ = ("bound", "last", "name", "own")

    def __init__(self, spec: TensorSpec) -> None:
        self.name = spec.name
        self.own: Array = np.zeros(spec.shape, spec.dtype)
        self.bound: Array = self.own
        self.last: Array | None = None


class Slots:
    """All inputs of a session. `bind(name, array)` makes the vendor read that array from the next run on.

    A read-only mapping (`MappingProxyType`) that comes again holds the same arrays: then there is nothing to look at.
    """

    def __init__(self, inputs: Sequence[TensorSpec], bind: Callable[[str, Array], None]) -> None:
        self._bind = bind
        self._slots = tuple(_Slot(spec) for spec in inputs)
        for slot in self._slots:
            bind(slot.name, slot.own)
        self.kept: Mapping[str, Array] | None = None

    def fill(self, feeds: Mapping[str, Feed]) -> None:
        """Take the feeds of one run. An array that comes a second time in a row is read in place from then on; others
        are copied in. Raises `BackendError` for what is not exactly an input."""
        if feeds is self.kept:
            return
        self.kept = None
        if len(feeds) != len(self._slots):
            names = ", ".join(slot.name for slot in self._slots)
            raise BackendError("Wrong inputs", found=", ".join(feeds), expected=names)
        for slot in self._slots:
            value = feeds.get(slot.name)
            if value is not slot.bound:
                self._take(slot, value)
        if type(feeds) is MappingProxyType and all(feeds[slot.name] is slot.bound for slot in self._slots):
            self.kept = feeds

    def _take(self, slot: _Slot, given: Feed | None) -> None:
        """A feed that is not the array bound now: bind it when it comes again, else copy it. What another backend keeps
        elsewhere is brought here, always into the same array."""
        value = None if given is None else as_array(given)
        if value is not None and value is slot.bound:
            return
        if value is None or value.shape != slot.own.shape or value.dtype != slot.own.dtype:
            found = "nothing" if value is None else f"{value.dtype} {value.shape}"
            raise BackendError(f"Input {slot.name}", found=found, expected=f"{slot.own.dtype} {slot.own.shape}")
        if value is slot.last and value.flags.c_contiguous and value.flags.aligned:
            self._read_from(slot, value)
            return
        if slot.bound is not slot.own:
            self._read_from(slot, slot.own)
        slot.own[...] = value
        slot.last = value

    def _read_from(self, slot: _Slot, array: Array) -> None:
        self._bind(slot.name, array)
        slot.bound = array
