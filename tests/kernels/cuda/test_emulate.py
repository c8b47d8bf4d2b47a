"""The pretended GPU itself: what it must notice."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from emulated import COMPILER, FencedMemory

KERNELS = """
#include "device.cuh"
struct Arguments { int *out; unsigned size; };
CHIASM_KERNEL(reversed, Arguments, 64) {
    __shared__ int kept[64];
    kept[threadIdx.x] = static_cast<int>(threadIdx.x + blockIdx.x * blockDim.x);
    __syncthreads();
    a.out[threadIdx.x + blockIdx.x * blockDim.x] = kept[blockDim.x - 1 - threadIdx.x];
}
CHIASM_KERNEL(summed, Arguments, 64) {
    int sum = static_cast<int>(threadIdx.x);
    for (unsigned by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(0xFFFFFFFFU, sum, by);
    a.out[threadIdx.x] = sum;
}
CHIASM_KERNEL(apart, Arguments, 64) {
    if (threadIdx.x < 5) __syncthreads();
    a.out[0] = 1;
}
CHIASM_KERNEL(crooked, Arguments, 64) { a.out[0] = static_cast<int>(chiasm::stream16(a.out + 1).x); }
CHIASM_KERNEL(voted, Arguments, 64) { a.out[threadIdx.x] = __popc(__ballot_sync(0xFFFFFFFFU, threadIdx.x % 3 == 0)); }
"""


class Arguments(ctypes.Structure):
    _fields_ = [("out", ctypes.c_void_p), ("size", ctypes.c_uint)]


@pytest.fixture(scope="module")
def emulate(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None:
        pytest.skip("this machine has no C++ compiler")
    folder = tmp_path_factory.mktemp("emulate")
    (folder / "some.cpp").write_text(KERNELS)
    includes = ["-I", str(root / "kernels" / "csrc"), "-I", str(Path(__file__).parent)]
    command = [COMPILER, "-std=c++17", "-O1", "-fPIC", "-shared", "-DCHIASM_EMULATE", *includes]
    subprocess.run([*command, str(folder / "some.cpp"), "-o", str(folder / "some.so")], check=True)
    library = ctypes.CDLL(str(folder / "some.so"))
    library.chiasm_emulate.restype = ctypes.c_char_p
    return library


def run(emulate: ctypes.CDLL, name: str, *, grid: int = 1, block: int = 64) -> tuple[str | None, list[int]]:
    memory = FencedMemory(4 * 128)
    arguments = Arguments(int(memory), 0)
    sizes = [(ctypes.c_uint * 3)(length, 1, 1) for length in (grid, block)]
    said = emulate.chiasm_emulate(name.encode(), *sizes, 0, ctypes.byref(arguments), ctypes.c_size_t(16))
    numbers = list((ctypes.c_int * 128).from_address(int(memory)))
    return (None if said is None else said.decode()), numbers


def test_threads_meet_at_a_barrier(emulate: ctypes.CDLL) -> None:
    wrong, numbers = run(emulate, "reversed", grid=2)
    assert wrong is None
    assert numbers == [*range(63, -1, -1), *range(127, 63, -1)]


def test_lanes_of_a_warp_talk(emulate: ctypes.CDLL) -> None:
    assert run(emulate, "summed") == (None, [496] * 32 + [496 + 32 * 32] * 32 + [0x5A5A5A5A] * 64)
    assert run(emulate, "voted")[1][:64] == [11] * 32 + [11] * 32


def test_threads_apart_are_noticed(emulate: ctypes.CDLL) -> None:
    assert run(emulate, "apart")[0] == "threads of a block wait at different barriers"
    assert run(emulate, "reversed")[0] is None  # and the next launch is a fresh one


def test_a_crooked_access_is_noticed(emulate: ctypes.CDLL) -> None:
    assert "multiple of 16" in str(run(emulate, "crooked")[0])


def test_what_cannot_be_launched(emulate: ctypes.CDLL) -> None:
    assert run(emulate, "nothing")[0] == "no such kernel"
    assert "block" in str(run(emulate, "summed", block=65)[0])
    assert "grid" in str(run(emulate, "summed", grid=0)[0])
