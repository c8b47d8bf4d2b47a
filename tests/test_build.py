"""The package builds with and without a C++ compiler, as a wheel and as an editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from chiasm.kernels.cuda.build import find_nvcc

TOOLS = ("pip", "scikit_build_core", "nanobind", "cmake")
SITE = sysconfig.get_path("purelib")
ASK = "from chiasm import kernels; print(kernels.BACKEND, kernels.__file__, kernels.why_not(), sep='|')"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    for tool in TOOLS:
        pytest.importorskip(tool, reason=f"building needs {tool}: pip install 'chiasm[dev]'")


@pytest.fixture(scope="module")
def compiler() -> None:
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        pytest.skip("this machine has no C++ compiler")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The sources alone, so that a build leaves nothing in the working tree."""
    target = tmp_path_factory.mktemp("sources") / "chiasm"
    ignored = shutil.ignore_patterns(
        ".*", "build", "dist", "demo", "tests", "docs", "examples", "__pycache__", "*.safetensors"
    )
    shutil.copytree(root, target, ignore=ignored)
    return target


def pip(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """pip without build isolation: the tools of this environment, nothing from a network."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def wheel(copy: Path, out: Path, *, cuda: str = "CHIASM_CUDA=OFF", **environment: str) -> Path:
    """`cuda`: a definition for CMake; compiling for nine GPUs every time would take minutes."""
    settings = ("-C", f"build-dir={out / 'build'}", "-C", f"cmake.define.{cuda}")
    pip("wheel", "--no-build-isolation", "--no-deps", "-w", str(out), *settings, str(copy), environment=environment)
    (made,) = out.glob("chiasm-*.whl")
    return made


def ask(made: Path, unpacked: Path) -> list[str]:
    """What the unpacked wheel says of its kernels, beside this environment's other packages but not its chiasm."""
    with ZipFile(made) as archive:
        archive.extractall(unpacked)
    program = f"import sys; sys.path[:0] = [{str(unpacked)!r}, {SITE!r}]; {ASK}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, cwd=unpacked
    )
    backend, file, reason = done.stdout.strip().split("|")
    assert Path(file).is_relative_to(unpacked)
    return [backend, reason]


def test_wheel_with_a_compiler(copy: Path, tmp_path: Path, compiler: None) -> None:
    made = wheel(copy, tmp_path)
    names = set(ZipFile(made).namelist())
    for name in ("__init__.py", "__main__.py", "py.typed", "kernels/_ext.pyi", "runtime/pipeline.py", "cli/run.py"):
        assert f"chiasm/{name}" in names
    sources = (".cpp", ".hpp", ".inc", ".cu", ".cuh", ".pyc")
    assert not [name for name in names if name.endswith(sources) or "tests/" in name]
    assert ask(made, tmp_path / "unpacked") == ["c++", "None"]


def test_wheel_without_a_compiler(copy: Path, tmp_path: Path) -> None:
    made = wheel(copy, tmp_path, CXX="/nonexistent")
    assert not [name for name in ZipFile(made).namelist() if "_ext.cpython" in name]
    backend, reason = ask(made, tmp_path / "unpacked")
    assert backend == "numpy"
    assert "no C++ compiler" in reason


@pytest.mark.skipif(find_nvcc() is None, reason="this machine has no nvcc")
def test_wheel_with_the_cuda_kernels(copy: Path, tmp_path: Path) -> None:
    """And with no C++ extension beside them, which they do not need."""
    made = wheel(copy, tmp_path, cuda="CHIASM_CUDA_ARCHITECTURES=90", CXX="/nonexistent")
    with ZipFile(made) as archive:
        assert archive.getinfo("chiasm/kernels/kernels.fatbin").file_size > 10_000


def test_an_nvcc_that_fails_is_no_obstacle(copy: Path, tmp_path: Path) -> None:
    broken = tmp_path / "nvcc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    made = wheel(copy, tmp_path, cuda=f"CHIASM_NVCC={broken}", CXX="/nonexistent")
    assert "chiasm/kernels/kernels.fatbin" not in ZipFile(made).namelist()


def test_editable_install(copy: Path, tmp_path: Path, compiler: None) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    build = f"build-dir={tmp_path / 'build'}"
    pip(
        "--python", str(python), "install", "--no-build-isolation", "--no-deps", "--ignore-installed",
        "-C", build, "-C", "cmake.define.CHIASM_CUDA=OFF", "-e", str(copy), environment={"PYTHONPATH": SITE},
    )  # fmt: skip
    done = subprocess.run(
        [python, "-c", f"import sys; sys.path.append({SITE!r}); {ASK}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip().split("|") == ["c++", str(copy / "kernels" / "__init__.py"), "None"]
