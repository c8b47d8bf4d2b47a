"""One engine as a session: its buffers, its place among the streams, and outputs that stay on the GPU until looked up.

A run is put on the session's stream and not waited for:

    wait for the host's last copy in, then copy host feeds in      feeds from another session: wait for its event only
    wait for those who still read the outputs of the last run
    compute (from the second run alike on replayed, where the vendor does not do that itself)
    record the session's event: outputs are ready, inputs were read

Whoever looks a result up waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from ..errors import BackendError
from ..values import Array, TensorSpec
from ._gpu import Gpu, Lane
from ._recording import Recording, record
from ._results import Results
from ._runtime_cache import RuntimeCache
from .base import Feed, as_array, check_feeds

__all__ = ["DeviceValue", "EngineSession"]


class DeviceValue:
    """One output of an engine on the GPU, as `Value` says. `ready`: the event of its session."""

    def __init__(self, session: EngineSession, name: str, memory: Any, host: Array) -> None:
        self.dtype: np.dtype[Any] = host.dtype
        self.shape: tuple[int, ...] = host.shape
        self.memory, self.host = memory, host
        self.session, self._name = session, name

    def numpy(self) -> Array:
        """The values now; waits for them."""
        return self.session.results[self._name]

    def fill(self, value: float) -> None:
        """Zeros, which is all that anybody asks for."""
        if value != 0.0:
            raise BackendError("A tensor on the GPU can only be cleared", found=value, expected=0.0)
        self.session.clear(self._name)


class EngineSession:
    """One engine with its buffers: page-locked on the host, their twins on the GPU. `scratch`: bytes that it computes
    in, which `lane` has; `records`: whether its CUDA graph is ours to record; `cache`: what is kept at the end."""

    def __init__(
        self, gpu: Gpu, lane: Lane, engine: Any, context: Any, scratch: int, inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec], *, records: bool, cache: RuntimeCache | None = None,
    ) -> None:  # fmt: skip
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.results = Results(self, [each.name for each in outputs])
        self.note = None if cache is None else cache.note
        self._cache = cache
        self._gpu, self.lane, self._context, self._scratch = gpu, lane, context, scratch
        self._engine = engine  # which the context needs
        self._records, self._alike, self._recording = records, 0, cast(Recording | None, None)
        self._place = (0, 0)
        self._addresses: dict[str, int] = {}
        self._kept: dict[str, Array] = {}
        self._readers: set[Any] = set()
        self._stale: set[str] = set()
        with gpu.active():
            self.ready, self._fed = gpu.event(), gpu.event()
            self._feeds = {spec.name: gpu.pinned(spec.shape, spec.dtype) for spec in inputs}
            self._there = {name: gpu.memory(array.nbytes) for name, array in self._feeds.items()}
            self.values = {spec.name: self._output(spec) for spec in outputs}
            self.ready.record(lane.stream)

    def _output(self, spec: TensorSpec) -> DeviceValue:
        host = self._gpu.pinned(spec.shape, spec.dtype)
        memory = self._gpu.memory(host.nbytes)
        self._gpu.clear(memory, host.nbytes, self.lane.stream)
        self._point(spec.name, memory)
        return DeviceValue(self, spec.name, memory, host)

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, Array]:
        """Put a run on the session's stream. Errors of the GPU may come later, where a result is looked up."""
        if self._context is None:
            raise BackendError("The session is closed")
        check_feeds(feeds, self._feeds)
        with self._gpu.active():
            producers = self._take(feeds)
            self._wait_for_readers()
            self._compute()
            self.ready.record(self.lane.stream)
        for producer in producers:
            producer._readers.add(self.ready)
        self._stale = set(self.values)
        return self.results

    def _take(self, feeds: Mapping[str, Feed]) -> set[EngineSession]:
        """Point at what is on the GPU and copy the rest in; the sessions of other streams that are read from."""
        producers, arrays = set(), {}
        for name, feed in feeds.items():
            if isinstance(feed, DeviceValue):
                self._point(name, feed.memory)
                if feed.session.lane is not self.lane:
                    producers.add(feed.session)
                continue
            self._point(name, self._there[name])
            array = as_array(feed)
            if array is not self._kept.get(name):
                arrays[name] = array
        for producer in producers:
            self.lane.stream.wait_for_event(producer.ready)
        if arrays:
            self._copy_in(arrays)
        return producers

    def _copy_in(self, arrays: Mapping[str, Array]) -> None:
        """An array that nobody can write to any more is known when it comes again, and not copied a second time."""
        self._fed.synchronize()  # the page-locked buffers are free again
        for name, array in arrays.items():
            own = self._feeds[name]
            own[...] = array
            self._gpu.put(self._there[name], own, self.lane.stream)
            self._kept.pop(name, None)
            if array.flags.owndata and not array.flags.writeable:
                self._kept[name] = array
        self._fed.record(self.lane.stream)

    def _point(self, name: str, memory: Any) -> None:
        address = int(memory)
        if self._addresses.get(name) != address:
            self._context.set_tensor_address(name, address)
            self._addresses[name] = address
            self._forget()

    def _wait_for_readers(self) -> None:
        for event in self._readers:
            self.lane.stream.wait_for_event(event)
        self._readers.clear()

    def _compute(self) -> None:
        scratch, handle = self.lane.scratch, int(self.lane.stream.handle)
        place = (int(scratch.memory), scratch.size) if self._scratch else (0, 0)
        if place != self._place:
            self._context.set_device_memory(*place)
            self._place = place
            self._forget()
        if self._records and self._alike and self._recording is None:
            self._recording = record(handle, lambda: self._context.execute_async_v3(handle))
            self._records = self._recording is not None  # what cannot be recorded is run as it is
        done = self._recording.replay(handle) if self._recording else self._context.execute_async_v3(handle)
        if not done:
            raise BackendError("An engine failed", found="no reason given by the vendor")
        self._alike += 1

    def _forget(self) -> None:
        """An address has changed: a recording would use the old one."""
        self._alike = 0
        if self._recording is not None:
            self.lane.stream.synchronize()
            self._recording.close()
            self._recording = None

    def bring(self, names: Sequence[str]) -> None:
        """Copy outputs to the host and wait for them, unless they are there already."""
        if self._context is None:
            raise BackendError("The session is closed")
        wanted = [name for name in names if name in self._stale]
        if not wanted:
            return
        with self._gpu.active():
            for name in wanted:
                self._gpu.take(self.values[name].host, self.values[name].memory, self.lane.stream)
            self.lane.stream.synchronize()
        self._stale.difference_update(wanted)

    def fetch(self, name: str) -> Array:
        """An output on the host."""
        self.bring((name,))
        return self.values[name].host

    def clear(self, name: str) -> None:
        """Zeros in an output, once nobody reads it any more."""
        value = self.values[name]
        with self._gpu.active():
            self._wait_for_readers()
            self._gpu.clear(value.memory, value.host.nbytes, self.lane.stream)
            self.ready.record(self.lane.stream)
        self._stale.add(name)

    def close(self) -> None:
        """Free engine and memory, after what still runs; a second call does nothing."""
        if self._context is None:
            return
        with self._gpu.active():
            self.lane.stream.synchronize()
            self._forget()
            if self._cache is not None:
                self._cache.keep()
            self._context = self._cache = self._engine = None
            self._there.clear()
            for value in self.values.values():
                value.memory = None
