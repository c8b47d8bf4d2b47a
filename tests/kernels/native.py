"""Builds and runs the C++ tests: for this processor, under the sanitizers, and for aarch64 under an emulator.

`make sanitize` and `make test-aarch64` run this file; test_native.py calls the same functions.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import golden

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "kernels" / "csrc"
COMPILER = shutil.which("g++") or shutil.which("clang++")
CROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"
COMMON = ["-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-pthread"]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def sources() -> list[Path]:
    """The tests and what they test: every C++ file but those that need Python."""
    kernels = [path for path in CSRC.glob("*.cpp") if path.name != "module.cpp" and not path.name.startswith("bind")]
    return sorted([*kernels, *(Path(__file__).parent / "cpp").glob("*.cpp")])


def compile_tests(compiler: str, flags: list[str], folder: Path) -> Path:
    """Two files at once. RuntimeError has the compiler's words."""
    running: list[subprocess.Popen[str]] = []
    objects = []
    for path in sources():
        objects.append(folder / f"{path.parent.name}-{path.stem}.o")
        command = [compiler, *COMMON, *flags, "-I", str(CSRC), "-c", str(path), "-o", str(objects[-1])]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        if len(running) == 2:
            _finish(running.pop(0))
    for left in running:
        _finish(left)
    program = folder / "tests"
    _finish(subprocess.Popen([compiler, *COMMON, *flags, *map(str, objects), "-o", str(program)], text=True))
    return program


def _finish(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, process.args))}\n{said}")  # type: ignore[arg-type]


def run_tests(program: Path, folder: Path, *, through: str | None = None, rounds: int = 150) -> str:
    """What the tests print. RuntimeError when a number is wrong, or a sanitizer complains."""
    calls = folder / "golden.bin"
    count = golden.write(calls)
    command = [*([through] if through else []), str(program), str(calls), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or f"{count} golden calls, 0 wrong" not in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def sanitize(folder: Path) -> str:
    if COMPILER is None:
        raise LookupError("no C++ compiler. Run: apt install g++")
    return run_tests(compile_tests(COMPILER, SANITIZED, folder), folder)


def aarch64(folder: Path) -> str:
    """Static, so that the emulator needs no libraries of the other processor."""
    if missing := [tool for tool in (CROSS, EMULATOR) if shutil.which(tool) is None]:
        raise LookupError(
            f"no {' and no '.join(missing)}. Run: apt install crossbuild-essential-arm64 qemu-user-static"
        )
    return run_tests(compile_tests(CROSS, ["-O3", "-static"], folder), folder, through=EMULATOR)


def main() -> int:
    chosen = {"sanitize": sanitize, "aarch64": aarch64}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as folder:
        try:
            print(chosen(Path(folder)), end="")
        except (LookupError, RuntimeError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
