"""The loader and launcher, with a PyCUDA that writes down what is asked of it."""

from __future__ import annotations

import ctypes
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.kernels.cuda import driver
from chiasm.kernels.cuda.driver import PyCuda
from chiasm.kernels.cuda.protocol import CudaError, handle_of
from pretended_pycuda import Pretended


class Arguments(ctypes.Structure):
    _fields_ = [("pointer", ctypes.c_void_p), ("size", ctypes.c_uint32)]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "kernels.fatbin"
    path.write_bytes(b"code")
    return path


@pytest.fixture(autouse=True)
def _nothing_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_opened", [])


def install(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Pretended:
    pretended = Pretended(**options)
    package = type(sys)("pycuda")
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", pretended.module)
    return pretended


def orders(monkeypatch: pytest.MonkeyPatch, opened: PyCuda) -> list[tuple[int, int]]:
    """(first, then) of every order between two streams."""
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(opened, "_order", lambda here, first, then: made.append((first, then)))
    return made


def test_a_launch_is_what_was_asked(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    pretended = install(monkeypatch)
    opened = PyCuda(code)
    assert opened.multiprocessors == 132
    arguments = Arguments(0x1234, 5)
    with opened.active():
        opened.launch("chiasm_some", (7, 1, 1), 256, 64, arguments, None)
        opened.launch("chiasm_some", (7, 1, 1), 256, 64, arguments, None)
    launches = [entry for entry in pretended.log if entry[0] == "launch"]
    assert launches == [("launch", "chiasm_some", bytes(arguments), (7, 1, 1), (256, 1, 1), 64, None)] * 2
    assert pretended.names().count("module_from_buffer") == pretended.names().count("get_function") == 1
    assert pretended.names().count("push") == pretended.names().count("pop")
    assert not pretended.stack
    assert "synchronize" not in pretended.names()


def test_the_callers_context_is_used(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    pretended = install(monkeypatch)
    opened = PyCuda(code)
    pretended.module.Context(9).push()  # type: ignore[attr-defined]
    pretended.log.clear()
    with opened.active():
        opened.launch("chiasm_some", (1, 1, 1), 256, 0, Arguments(), None)
    assert pretended.names() == ["module_from_buffer", "get_function", "launch"]  # loaded there too, nothing pushed


def test_streams_of_pycuda_and_of_others(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    pretended = install(monkeypatch)
    opened = PyCuda(code)
    made = orders(monkeypatch, opened)
    with opened.active():
        own = pretended.module.Stream()  # type: ignore[attr-defined]
        for stream in (own, None, 0, 1):
            opened.launch("chiasm_some", (1, 1, 1), 256, 0, Arguments(), stream)
        assert made == []
        opened.launch("chiasm_some", (1, 1, 1), 256, 0, Arguments(), 4242)
    assert made == [(4242, 500), (500, 4242)]
    used = [entry[-1] for entry in pretended.log if entry[0] == "launch"]
    assert used[:4] == [own, None, None, None]
    assert used[4].handle == 500


def test_waiting_for_a_producer(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    install(monkeypatch)
    opened = PyCuda(code)
    made = orders(monkeypatch, opened)
    with opened.active():
        opened.after(None, 1)
        opened.after(0, 0)
        opened.after(7, 7)
        assert made == []
        opened.after(7, 1)
        opened.after(None, 8)
    assert made == [(1, 7), (8, 0)]


def test_the_calls_that_pycuda_lacks(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    install(monkeypatch)
    opened = PyCuda(code)
    calls: list[tuple[str, list[Any]]] = []

    class Library:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: calls.append((name, [getattr(each, "value", "") for each in arguments]))

    monkeypatch.setattr(opened, "_library", Library())
    with opened.active():
        opened.launch("chiasm_some", (1, 1, 1), 256, 0, Arguments(), 4242)
    assert [name for name, _ in calls] == [
        "cuEventCreate", "cuEventRecord", "cuStreamWaitEvent", "cuEventRecord", "cuStreamWaitEvent",
    ]  # fmt: skip
    assert (calls[1][1][1], calls[2][1][0], calls[3][1][1], calls[4][1][0]) == (4242, 500, 500, 4242)


def test_memory(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    pretended = install(monkeypatch)
    opened = PyCuda(code)
    with opened.active():
        assert int(opened.upload(np.zeros(3, np.float32))) == 4096
        opened.read(4096, np.zeros(3, np.float32), None)
        opened.read(4096, np.zeros(0, np.float32), None)
        opened.clear(4096, 12, None)
        first = pretended.names().count("mem_alloc")
        assert opened.scratch(100, 5) == opened.scratch(40, 5)
        assert pretended.names().count("mem_alloc") == first + 1
        opened.scratch(200, 5)
        opened.scratch(10, 6)
    assert pretended.names().count("mem_alloc") == first + 3
    # What was uploaded is there for every stream, and what was read is there.
    assert pretended.names().count("synchronize") == 2


def test_checked_launches_are_waited_for(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    pretended = install(monkeypatch)
    opened = PyCuda(code)
    opened.checked = True
    with opened.active():
        opened.launch("chiasm_some", (1, 1, 1), 256, 0, Arguments(), None)
    assert pretended.names()[-2:] == ["synchronize", "pop"]


def work(opened: PyCuda) -> None:
    with opened.active():
        opened.allocate(16)
        opened.launch("chiasm_some", (1, 1, 1), 256, 0, Arguments(), None)


@pytest.mark.parametrize("what", ["launch", "mem_alloc", "get_function"])
def test_what_the_driver_refuses_is_told(monkeypatch: pytest.MonkeyPatch, code: Path, what: str) -> None:
    pretended = install(monkeypatch)
    opened = PyCuda(code)
    pretended.fails = what
    with pytest.raises(CudaError, match=f"{what} failed"):
        work(opened)
    assert not pretended.stack


def test_why_not_without_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name == "pycuda.driver":
            raise ModuleNotFoundError("No module named 'pycuda'", name="pycuda")
        return real(name, package)

    monkeypatch.setattr(driver, "import_module", absent)
    assert driver.why_not() == "PyCUDA is not installed"


def test_why_not_without_the_drivers_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, package: str | None = None) -> Any:
        raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(driver, "import_module", broken)
    assert driver.why_not() == "PyCUDA does not load: libcuda.so.1: cannot open shared object file"


@pytest.mark.parametrize(("options", "words"), [({"fails": "init"}, "no GPU: init failed"), ({"devices": 0}, "no GPU")])
def test_why_not_without_a_gpu(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str) -> None:
    install(monkeypatch, **options)
    assert words in str(driver.why_not())


def test_why_not_without_the_fatbin(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    install(monkeypatch)
    monkeypatch.setattr(driver, "fatbin", lambda: None)
    assert "not compiled" in str(driver.why_not())
    monkeypatch.setattr(driver, "fatbin", lambda: code)
    assert driver.why_not() is None
    assert driver.current() is driver.current()


def test_why_not_on_a_gpu_that_was_not_compiled_for(monkeypatch: pytest.MonkeyPatch, code: Path) -> None:
    install(monkeypatch, fails="module_from_buffer")
    monkeypatch.setattr(driver, "fatbin", lambda: code)
    assert "module_from_buffer failed" in str(driver.why_not())


def test_handles_of_streams() -> None:
    class Stream:
        pass

    assert handle_of(None) is None
    assert handle_of(3) == 3
    for attribute in ("handle", "ptr", "cuda_stream"):
        stream = Stream()
        setattr(stream, attribute, 77)
        assert handle_of(stream) == 77
    told = Stream()
    told.__class__.__cuda_stream__ = lambda self: (0, 78)  # type: ignore[attr-defined]
    assert handle_of(told) == 78
    with pytest.raises(TypeError, match="expected a stream"):
        handle_of("default")
