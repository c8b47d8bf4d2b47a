"""A driver without a GPU: the kernels' bodies, compiled for this CPU, on memory that ends where a page may not be
touched.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

COMPILER = shutil.which("g++") or shutil.which("clang++")
PAGE = mmap.PAGESIZE
CANARY = 0x5A


@lru_cache(maxsize=1)
def compiled(root: Path) -> Path:
    """All *.cu as one library, made once a run."""
    folder = Path(tempfile.mkdtemp(prefix="chiasm-emulated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return compile_kernels(root, folder)


def compile_kernels(root: Path, folder: Path) -> Path:
    """All *.cu as one library, optimised a little."""
    assert COMPILER is not None
    unit, library = folder / "kernels.cpp", folder / "libemulated.so"
    unit.write_text("".join(f'#include "{path}"\n' for path in sorted((root / "kernels" / "csrc").glob("*.cu"))))
    includes = ["-I", str(root / "kernels" / "csrc"), "-I", str(root / "tests" / "kernels" / "cuda")]
    flags = ["-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-DCHIASM_EMULATE"]
    subprocess.run([COMPILER, *flags, *_fused(), *includes, str(unit), "-o", str(library)], check=True)
    return library


def _fused() -> list[str]:
    """fmaf as an instruction, where the processor has it: the library's way is exact too, but slow."""
    try:
        return ["-mfma"] if " fma " in Path("/proc/cpuinfo").read_text() else []
    except OSError:
        return []


class FencedMemory:
    """`size` bytes that end (within 16) before a page that cannot be touched; what is between must not change."""

    def __init__(self, size: int) -> None:
        room = max(-(-size // 16) * 16, 16)
        pages = -(-room // PAGE) * PAGE
        self._map = mmap.mmap(-1, pages + 2 * PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        for fence in (base, base + PAGE + pages):
            assert libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(PAGE), 0) == 0
        self.size = size
        self.pointer = base + PAGE + pages - room
        ctypes.memset(self.pointer, CANARY, room)
        self._slack = room - size

    def __int__(self) -> int:
        return self.pointer

    def intact(self) -> bool:
        return ctypes.string_at(self.pointer + self.size, self._slack) == bytes([CANARY]) * self._slack


class GpuArray:
    """A NumPy array on the pretended GPU, as `__cuda_array_interface__` tells it; `shift` bytes into its memory."""

    def __init__(self, array: Any, *, shift: int = 0, stream: int | None = None) -> None:
        array = np.asarray(array)
        whole = array
        self.memory = FencedMemory(whole.nbytes + shift)
        self.interface: dict[str, Any] = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (int(self.memory) + shift, False),
            "strides": None,
            "version": 3,
        }
        if stream is not None:
            self.interface["stream"] = stream
        ctypes.memmove(int(self.memory) + shift, np.ascontiguousarray(array).ctypes.data, array.nbytes)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.interface


def on_cpu(array: Any) -> Any:
    """What an array on the pretended GPU holds, by its interface; its memory must be intact."""
    memory = array.memory
    assert memory.intact(), "bytes beyond the array were written"
    interface = array.__cuda_array_interface__
    shape, dtype = interface["shape"], np.dtype(interface["typestr"])
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.frombuffer(ctypes.string_at(interface["data"][0], size), dtype).reshape(shape)


class EmulatedDriver:
    """`chiasm.kernels.cuda.driver.Driver`; remembers its launches and who was waited for."""

    multiprocessors = 4

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.chiasm_emulate.restype = ctypes.c_char_p
        self._library.chiasm_arguments.restype = ctypes.c_size_t
        self.launches: list[tuple[str, tuple[int, ...], Any]] = []
        self.waits: list[tuple[Any, int]] = []
        self.inside = False
        self._scratch: dict[Any, FencedMemory] = {}
        self._kept: dict[Any, tuple[FencedMemory, ...]] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        self.inside = True
        yield
        self.inside = False

    def launch(
        self, kernel: str, grid: Sequence[int], block: int, shared: int, arguments: ctypes.Structure, stream: Any
    ) -> None:
        assert self.inside
        size = (ctypes.c_uint * 3)(*grid)
        threads = (ctypes.c_uint * 3)(block, 1, 1)
        self.launches.append((kernel, tuple(grid), stream))
        wrong = self._library.chiasm_emulate(
            kernel.encode(), size, threads, ctypes.c_uint(shared), ctypes.byref(arguments),
            ctypes.c_size_t(ctypes.sizeof(arguments)),
        )  # fmt: skip
        assert wrong is None, f"{kernel}: {wrong.decode()}"

    def allocate(self, size: int) -> FencedMemory:
        assert self.inside
        return FencedMemory(size)

    def upload(self, array: Any) -> FencedMemory:
        memory = self.allocate(array.nbytes)
        ctypes.memmove(int(memory), np.ascontiguousarray(array).ctypes.data, array.nbytes)
        return memory

    def read(self, pointer: int, out: Any, stream: Any) -> None:
        ctypes.memmove(out.ctypes.data, pointer, out.nbytes)

    def clear(self, pointer: int, size: int, stream: Any) -> None:
        ctypes.memset(pointer, 0, size)

    def scratch(self, size: int, stream: Any) -> int:
        self._scratch[stream] = FencedMemory(size)
        return int(self._scratch[stream])

    def kept(self, key: Any, make: Any) -> tuple[int, ...]:
        if key not in self._kept:
            self._kept[key] = tuple(self.upload(array) for array in make())
        return tuple(int(memory) for memory in self._kept[key])

    def after(self, stream: Any, producer: int) -> None:
        self.waits.append((stream, producer))
