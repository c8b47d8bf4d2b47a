"""The C++ under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which("g++") or shutil.which("clang++")
FLAGS = ["-std=c++17", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-ffp-contract=off"]


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="this machine has no C++ compiler")
def test_no_byte_beyond_and_no_number_wrong(root: Path, tmp_path: Path) -> None:
    assert COMPILER is not None
    kernels = root / "kernels" / "csrc"
    sources = [
        root / "tests" / "kernels" / "sanitize.cpp",
        *(kernels / f"{name}.cpp" for name in ("resample", "dots", "diffusion")),
    ]
    program = tmp_path / "sanitize"
    subprocess.run([COMPILER, *FLAGS, "-I", kernels, *sources, "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plain\n" in done.stdout
    assert "0 wrong" in done.stdout
