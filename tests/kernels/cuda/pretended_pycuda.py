"""A `pycuda.driver` that writes down what is asked of it. Its names and signatures are PyCUDA 2026.1's."""

from __future__ import annotations

from types import ModuleType
from typing import Any


class Error(Exception):
    pass


class Pretended:
    """The module, and what happened to it."""

    def __init__(self, *, devices: int = 1, fails: str | None = None) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.stack: list[Any] = []
        self.devices, self.fails = devices, fails
        self.module = ModuleType("pycuda.driver")
        for name in ("init", "mem_alloc", "memcpy_htod", "memcpy_dtoh_async", "memset_d8_async", "module_from_buffer"):
            setattr(self.module, name, getattr(self, f"_{name}"))
        self.module.Error = Error  # type: ignore[attr-defined]
        for name, kind in (("Device", self._device()), ("Context", self._context()), ("Stream", self._stream())):
            setattr(self.module, name, kind)

    def note(self, *entry: Any) -> None:
        if self.fails == entry[0]:
            raise Error(f"{entry[0]} failed: pretended")
        self.log.append(entry)

    def names(self) -> list[str]:
        return [entry[0] for entry in self.log]

    def _init(self) -> None:
        self.note("init")

    def _mem_alloc(self, size: int) -> int:
        self.note("mem_alloc", size)
        return 4096

    def _memcpy_htod(self, target: int, source: Any) -> None:
        self.note("memcpy_htod", target, source.nbytes)

    def _memcpy_dtoh_async(self, target: Any, source: int, stream: Any) -> None:
        self.note("memcpy_dtoh_async", source, stream)

    def _memset_d8_async(self, target: int, value: int, size: int, stream: Any) -> None:
        self.note("memset_d8_async", target, value, size, stream)

    def _module_from_buffer(self, code: bytes) -> Any:
        self.note("module_from_buffer", len(code))
        pretended = self

        class Module:
            def get_function(self, name: str) -> Any:
                pretended.note("get_function", name)

                def function(parameters: Any, *, grid: Any, block: Any, shared: int, stream: Any) -> None:
                    pretended.note("launch", name, parameters.tobytes(), grid, block, shared, stream)

                return function

        return Module()

    def _device(self) -> Any:
        pretended = self

        class Device:
            multiprocessor_count = 132

            def __init__(self, number: int) -> None:
                self.number = number

            def __hash__(self) -> int:
                return self.number

            @staticmethod
            def count() -> int:
                return pretended.devices

            def retain_primary_context(self) -> Any:
                pretended.note("retain_primary_context", self.number)
                return pretended.module.Context(100 + self.number)  # type: ignore[attr-defined]

        return Device

    def _context(self) -> Any:
        pretended = self

        class Context:
            def __init__(self, handle: int) -> None:
                self.handle = handle

            def push(self) -> None:
                pretended.note("push", self.handle)
                pretended.stack.append(self)

            @staticmethod
            def pop() -> None:
                pretended.log.append(("pop", pretended.stack.pop().handle))

            @staticmethod
            def get_current() -> Any:
                return pretended.stack[-1] if pretended.stack else None

            @staticmethod
            def get_device() -> Any:
                if not pretended.stack:
                    raise Error("cuCtxGetDevice failed: invalid device context")
                return pretended.module.Device(0)  # type: ignore[attr-defined]

            @staticmethod
            def synchronize() -> None:
                pretended.note("synchronize")

        return Context

    def _stream(self) -> Any:
        pretended = self

        class Stream:
            def __init__(self, flags: int = 0) -> None:
                self.handle = 500

            def synchronize(self) -> None:
                pretended.note("stream.synchronize", self.handle)

        return Stream
