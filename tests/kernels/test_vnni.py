"""The passes for AVX-512 VNNI, with its instructions written out in plain C++: most processors do not have them."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which("g++") or shutil.which("clang++")
FLAGS = ["-std=c++17", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="this machine has no C++ compiler")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the passes are for x86")
def test_passes_are_the_plain_ones(root: Path, tmp_path: Path) -> None:
    assert COMPILER is not None
    if "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("this processor has no AVX2, which the passes use too")
    here, kernels = root / "tests" / "kernels", root / "kernels" / "csrc"
    objects = [tmp_path / "emulated.o", tmp_path / "rest.o"]
    common = [COMPILER, *FLAGS, "-I", str(kernels), "-c"]
    emulated = ["-mavx2", "-include", str(here / "avx512.hpp"), str(kernels / "vnni.cpp"), "-o", str(objects[0])]
    subprocess.run([*common, *emulated], check=True)
    rest = tmp_path / "rest.cpp"
    files = [here / "vnni.cpp", *(kernels / f"{name}.cpp" for name in ("plain", "avx2_pixels"))]
    rest.write_text("".join(f'#include "{path}"\n' for path in files), encoding="utf-8")
    subprocess.run([*common, str(rest), "-o", str(objects[1])], check=True)
    program = tmp_path / "vnni"
    subprocess.run([COMPILER, *FLAGS, *map(str, objects), "-o", str(program)], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "0 wrong\n"
