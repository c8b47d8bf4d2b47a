"""The CUDA kernels on this machine's GPU: correct, and how fast. `make gpu-check` runs it.

    python -m chiasm.bench.gpu_check --out docs/results/gpu-check-h100.json

Compiles the kernels for this GPU, runs every operation against the NumPy reference, compares a picture of one seed with
the CPU's, and times each operation beside the copy bandwidth of the same run. One JSON has it all. Exit code 1 when a
number is wrong, 2 when there is no GPU. It needs NumPy, msgspec, PyCUDA and nvcc, and nothing else of chiasm's
dependencies.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, kernels
from ..kernels import cuda
from ..kernels.cuda import build as building
from ..kernels.cuda import driver as driving
from ..kernels.cuda.driver import PyCuda
from ..kernels.cuda.protocol import CudaError
from .gpu_cases import Gpu, run_cases
from .gpu_speed import AIM, Clock, Figure, Sizes, copy_bandwidth, measure

__all__ = ["main", "report", "same_picture"]


def report(gpu: Gpu, clock: Clock, sizes: Sizes, cases: int, most: int) -> dict[str, Any]:
    """Correctness, the picture of one seed, and the figures; `correct` sums up the first two."""
    found = run_cases(gpu, cases, most)
    apart = same_picture(gpu)
    bandwidth = copy_bandwidth(gpu, clock, sizes)
    return {
        "correct": all(case.correct for case in found) and apart <= 1,
        "cases": [{**asdict(case), "correct": case.correct} for case in found],
        "same_seed_same_picture": {"largest_difference": apart, "allowed": 1, "of": 255},
        "copy_bytes_per_second": bandwidth,
        "figures": [_figure(figure, bandwidth) for figure in measure(gpu, clock, sizes)],
    }


def _figure(figure: Figure, bandwidth: float) -> dict[str, Any]:
    share = figure.share(bandwidth)
    # What arithmetic bounds has no aim in terms of the memory.
    met = share >= AIM if figure.bound == "memory" else None
    return {**asdict(figure), "share_of_copy_bandwidth": share, "aim": AIM if met is not None else None, "met": met}


def same_picture(gpu: Gpu, edge: int = 64, seed: int = 2026) -> int:
    """Grey levels, of 255, that lie between the pictures that GPU and CPU draw of one seed, at most.

    Four steps with fresh noise after each but the last; in the network's place stands a smooth function that is
    computed on the CPU for both.
    """
    times = (1.0, 0.75, 0.5, 0.25)
    schedule = kernels.Schedule(kind="flow-consistency", prediction_type="flow", times=(times,))
    plan = kernels.plan_steps(schedule, 4)
    shape = (3, edge, edge)
    here = kernels.normal_noise(seed, 0, shape)
    there = cuda.normal_noise(seed, 0, shape)
    for number, step in enumerate(plan.steps, 1):
        here = kernels.denoise_step(here, _network(here), (seed, number), step)
        prediction = gpu.put(_network(gpu.get(there)))
        there = cuda.denoise_step(there, prediction, (seed, number), step)
    pictures = kernels.latent_to_image(here), gpu.get(cuda.latent_to_image(there))
    return int(np.abs(pictures[0].astype(int) - pictures[1].astype(int)).max())


def _network(x: Any) -> Any:
    """As steep as a denoiser that sharpens: a slope of up to 3."""
    return np.tanh(np.float32(3.0) * (x - np.roll(x, 1, axis=2) * np.float32(0.3)))


def _versions(nvcc: str | None) -> dict[str, str]:
    found = {"chiasm": __version__, "python": platform.python_version(), "numpy": np.__version__}
    installed = {str(each.metadata["Name"]).lower(): each.version for each in metadata.distributions()}
    peers = ("pycuda", "cupy-cuda12x", "cupy-cuda13x", "torch")
    found |= {name: installed[name] for name in peers if name in installed}
    if nvcc is not None:
        said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
        found["nvcc"] = next((line for line in said.splitlines() if "release" in line), said.strip())
    return found


def _clocks() -> dict[str, str] | None:
    """What nvidia-smi says of clocks, power limit and temperature now; None where there is none (Jetson)."""
    fields = ("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit", "temperature.gpu")
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(zip(fields, (word.strip() for word in done.stdout.splitlines()[0].split(",")), strict=False))


def _write(out: Path, made: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(out.name + ".part")
    beside.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    beside.replace(out)


def _show(made: dict[str, Any]) -> None:
    for case in made["cases"]:
        word = "right" if case["correct"] else "WRONG"
        print(f"{word}  {case['operation']}: worst difference {case['worst']:g} in {case['cases']} cases")
    print(f"one seed, GPU and CPU: {made['same_seed_same_picture']['largest_difference']} of 255 apart at most")
    print(f"copy: {made['copy_bytes_per_second'] / 1e9:.0f} GB/s")
    for figure in made["figures"]:
        word = {True: "met", False: "MISSED", None: "no aim"}[figure["met"]]
        print(f"{figure['seconds'] * 1e6:9.1f} µs  {figure['share_of_copy_bandwidth']:6.1%} of copy  {word}  "
              f"{figure['operation']}; bound: {figure['bound']}")  # fmt: skip


def main(arguments: Sequence[str] | None = None, open_driver: Callable[[Path], PyCuda] = PyCuda) -> int:
    parser = argparse.ArgumentParser(prog="python -m chiasm.bench.gpu_check", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON, for example docs/results/gpu-check.json")
    parser.add_argument("--cases", type=int, default=200, help="random calls of every operation")
    chosen = parser.parse_args(arguments)
    try:
        made = _run(chosen.cases, open_driver)
    except (CudaError, building.BuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _write(chosen.out, made)
    _show(made)
    return 0 if made["correct"] else 1


def _run(cases: int, open_driver: Callable[[Path], PyCuda]) -> dict[str, Any]:
    nvcc = building.find_nvcc()
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "kernels.fatbin"
        # The kernels of all architectures would do; for this one alone they are made in seconds.
        usage = building.build(code, architectures=[driving.architecture()])
        driver = open_driver(code)
    before = driving.replaced(driver)
    try:
        with driver.active():
            facts = driver.facts()
        made = report(Gpu(driver), driver, Sizes(), cases, 600)
    finally:
        driving.replaced(before)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "device": facts, "clocks": _clocks(), "versions": _versions(nvcc), "cpu_backend": kernels.BACKEND,
        "registers": [asdict(each) for each in usage], **made,
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
