"""Compiles kernels/csrc/*.cu into one fatbin and tells what each kernel needs: `python -m chiasm.kernels.cuda.build`.

Device code only, so the same file serves x86 and Jetson. CMake runs this file as a script before there is a package: it
imports nothing but the standard library. `make fatbin` and the check on a GPU run it too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["ARCHITECTURES", "BuildError", "Usage", "build", "find_nvcc", "known", "parse_usage", "table"]

ARCHITECTURES = ("75", "80", "86", "87", "89", "90", "100", "110", "120")
"""Turing, Ampere (server, desktop, Orin), Ada, Hopper, Blackwell (server, Thor, desktop)."""

FLAGS = (
    "-std=c++17",
    "-O3",
    "-fmad=false",  # each operation rounds as the CPU's does; where a fused one is meant, the code says fmaf
    "-Xptxas=-v",
)
SOURCES = Path(__file__).resolve().parent.parent / "csrc"


class BuildError(RuntimeError):
    """No fatbin: what was missing, or the compiler's words."""


@dataclass(frozen=True)
class Usage:
    """What ptxas says of one kernel on one architecture: registers a thread, bytes of shared memory, bytes spilled."""

    kernel: str
    architecture: str
    registers: int
    shared: int
    spill_stores: int
    spill_loads: int
    stack: int


def find_nvcc() -> str | None:
    """nvcc on the PATH, in CUDA_HOME or CUDA_PATH, or in /usr/local/cuda."""
    roots = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    places = [os.environ.get("PATH", ""), *(f"{root}/bin" for root in roots if root), "/usr/local/cuda/bin"]
    return shutil.which("nvcc", path=os.pathsep.join(places))


def known(nvcc: str, wanted: Sequence[str] = ARCHITECTURES) -> tuple[str, ...]:
    """Those of the architectures that this nvcc can compile for."""
    done = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=False)
    listed = set(re.findall(r"compute_(\d+)", done.stdout))
    return tuple(each for each in wanted if each in listed)


def parse_usage(words: str) -> list[Usage]:
    """The table out of what `ptxas -v` prints, sorted by kernel and architecture."""
    found: list[Usage] = []
    kernel = architecture = ""
    stack = stores = loads = 0
    for line in words.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)' for 'sm_(\d+)\w?'", line):
            kernel, architecture = match[1], match[2]
            stack = stores = loads = 0
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack, stores, loads = (int(number) for number in match.groups())
        elif kernel and (match := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            size = int(shared[1]) if shared else 0
            found.append(Usage(kernel, architecture, int(match[1]), size, stores, loads, stack))
            kernel = ""
    return sorted(found, key=lambda each: (each.kernel, int(each.architecture)))


def table(usage: Sequence[Usage]) -> str:
    """Registers a thread / bytes of shared memory / bytes spilled, for each kernel (rows) and architecture
    (columns).
    """
    columns = sorted({each.architecture for each in usage}, key=int)
    cells = {
        (each.kernel, each.architecture): f"{each.registers}/{each.shared}/{each.spill_stores + each.spill_loads}"
        for each in usage
    }
    kernels = sorted({each.kernel for each in usage})
    rows = [
        ["registers/shared/spilled", *(f"sm_{column}" for column in columns)],
        *([kernel, *(cells.get((kernel, column), "-") for column in columns)] for kernel in kernels),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns) + 1)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _command(nvcc: str, source: Path, out: Path, architectures: Sequence[str], sources: Path, jobs: int) -> list[str]:
    newest = max(architectures, key=int)
    codes = [f"-gencode=arch=compute_{each},code=sm_{each}" for each in architectures]
    # The intermediate code of the newest: for GPUs that come after it.
    codes.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")
    return [nvcc, "-fatbin", *FLAGS, "-Xfatbin=-compress-all", f"--threads={jobs}", "-I", str(sources), *codes,
            str(source), "-o", str(out)]  # fmt: skip


def _write_depfile(depfile: Path, nvcc: str, source: Path, out: Path, sources: Path) -> None:
    """Which of our own files the fatbin is made of, for ninja and make: after a change of another one nothing is
    compiled.
    """
    done = subprocess.run(
        [nvcc, "-M", "-std=c++17", "-I", str(sources), str(source)], capture_output=True, text=True, check=False
    )
    read = {Path(word).resolve() for word in done.stdout.replace("\\\n", " ").split()[1:]}
    ours = sorted(str(path) for path in read if path.parent == sources.resolve())
    listed = " ".join(path.replace(" ", "\\ ") for path in ours)
    depfile.write_text(f"{out}: {listed}\n", "utf-8")


def build(
    out: Path,
    *,
    architectures: Sequence[str] = ARCHITECTURES,
    sources: Path = SOURCES,
    nvcc: str | None = None,
    jobs: int = 0,
    depfile: Path | None = None,
) -> list[Usage]:
    """Compile `sources`/*.cu into `out`, atomically, for those of the architectures that nvcc knows; `jobs` at once.

    Raises:
        BuildError: no nvcc, none of the architectures known to it, no sources, or an error of the compiler.
    """
    nvcc = nvcc or find_nvcc()
    if nvcc is None:
        raise BuildError("no nvcc on the PATH, in CUDA_HOME, or in /usr/local/cuda: install the CUDA toolkit")
    usable = known(nvcc, architectures)
    if not usable:
        raise BuildError(f"{nvcc} knows none of the architectures {', '.join(architectures)}")
    if missing := [each for each in architectures if each not in usable]:
        print(f"warning: {nvcc} does not know sm_{', sm_'.join(missing)}: built without", file=sys.stderr)
    files = sorted(sources.glob("*.cu"))
    if not files:
        raise BuildError(f"no *.cu in {sources}: the device code is compiled from a checkout, not from a wheel")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".fatbin-") as folder:
        # One translation unit: one compilation for each architecture, and one module that has every kernel.
        unit, made = Path(folder) / "kernels.cu", Path(folder) / "kernels.fatbin"
        unit.write_text("".join(f'#include "{path}"\n' for path in files), "utf-8")
        command = _command(nvcc, unit, made, usable, sources, jobs)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"nvcc failed:\n{done.stdout}{done.stderr}")
        if depfile is not None:
            _write_depfile(depfile, nvcc, unit, out, sources)
        made.replace(out)
    return parse_usage(done.stdout + done.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chiasm.kernels.cuda.build", description=__doc__)
    parser.add_argument("--out", type=Path, default=SOURCES.parent / "kernels.fatbin")
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES), help="for example 87,90")
    parser.add_argument("--sources", type=Path, default=SOURCES)
    parser.add_argument("--nvcc", help="the compiler; without it, the one that is found")
    parser.add_argument("--depfile", type=Path, help="what the fatbin depends on, for make and ninja")
    parser.add_argument("--jobs", type=int, default=0, help="compilations at once; 0: one for each core")
    parser.add_argument("--json", type=Path, help="write the table there too")
    parser.add_argument("--optional", action="store_true", help="a failure is a warning: the package goes without")
    chosen = parser.parse_args(arguments)
    try:
        usage = build(
            chosen.out,
            architectures=chosen.architectures.split(","),
            sources=chosen.sources,
            nvcc=chosen.nvcc,
            jobs=chosen.jobs,
            depfile=chosen.depfile,
        )
    except BuildError as error:
        print(f"{'warning' if chosen.optional else 'error'}: no CUDA kernels: {error}", file=sys.stderr)
        return 0 if chosen.optional else 1
    print(table(usage))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in usage], indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
