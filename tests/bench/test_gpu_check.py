"""The check of a GPU, on the pretended one: every operation runs, a wrong number is found, the JSON is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from ctypes import memmove
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from chiasm import kernels
from chiasm.bench import gpu_cases, gpu_check
from chiasm.bench.gpu_cases import OPERATIONS, Gpu
from chiasm.bench.gpu_speed import Figure, Sizes
from chiasm.kernels.cuda import build as building
from chiasm.kernels.cuda import driver as driving
from chiasm.kernels.cuda.protocol import CudaError
from emulated import COMPILER, EmulatedDriver, compiled

SMALL = Sizes(copied=1 << 16, frames=1, values=1 << 12, picture=(40, 50), rows=300, repeats=2, launches=1)


class Clocked(EmulatedDriver):
    """With what the check asks of PyCUDA beside the operations."""

    def seconds(self, work: Callable[[], None]) -> float:
        begin = perf_counter()
        work()
        return perf_counter() - begin

    def copy(self, target: int, source: int, size: int) -> None:
        memmove(target, source, size)

    def facts(self) -> dict[str, Any]:
        return {"name": "pretended"}


@pytest.fixture(scope="module")
def library(root: Path) -> Path:
    if COMPILER is None:
        pytest.skip("this machine has no C++ compiler to run the CUDA kernels' bodies on a CPU")
    return compiled(root)


@pytest.fixture
def gpu(library: Path) -> Iterator[Gpu]:
    pretended = Clocked(library)
    before = driving.replaced(pretended)
    yield Gpu(pretended)
    driving.replaced(before)


def test_the_report(gpu: Gpu) -> None:
    made = json.loads(json.dumps(gpu_check.report(gpu, gpu.driver, SMALL, cases=4, most=30)))  # type: ignore[arg-type]
    assert made["correct"] is True, made["cases"]
    assert {case["operation"] for case in made["cases"]} == set(OPERATIONS)
    assert made["same_seed_same_picture"]["largest_difference"] <= 1
    assert made["copy_bytes_per_second"] > 0
    assert len(made["figures"]) == 10
    for figure in made["figures"]:
        assert figure["seconds"] >= figure["least_seconds"] > 0
        assert figure["met"] in ((True, False) if figure["bound"] == "memory" else (None,))


def test_a_wrong_number_is_found(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    real = kernels.quantize
    monkeypatch.setattr(gpu_cases.kernels, "quantize", lambda *given, **more: real(*given, **more) ^ 1)
    made = gpu_check.report(gpu, gpu.driver, SMALL, cases=2, most=20)  # type: ignore[arg-type]
    assert made["correct"] is False
    assert [case["operation"] for case in made["cases"] if not case["correct"]] == ["quantize, dequantize"]


@pytest.mark.parametrize(
    ("made", "expected", "apart"),
    [
        (np.zeros(3, np.float32), np.zeros(3, np.float32), 0.0),
        (np.full(3, np.nan, np.float32), np.zeros(3, np.float32), np.inf),
        (np.zeros(3, np.float32), np.zeros(4, np.float32), np.inf),
        (np.zeros(3, np.float16), np.zeros(3, np.float32), np.inf),
        (np.asarray([0, 255], np.uint8), np.asarray([1, 250], np.uint8), 5.0),
        (np.zeros(0), np.zeros(0), 0.0),
    ],
)
def test_difference(made: Any, expected: Any, apart: float) -> None:
    assert gpu_cases._difference(made, expected) == apart


def test_share_of_the_copy_bandwidth() -> None:
    assert Figure("some", 0.5, 0.4, 150, "memory").share(400.0) == 0.75


def test_the_whole_command(
    library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driving, "architecture", lambda: "90")
    monkeypatch.setattr(building, "build", lambda *given, **more: [])
    monkeypatch.setattr(gpu_check, "Sizes", lambda: SMALL)
    out = tmp_path / "results" / "gpu.json"
    assert gpu_check.main(["--out", str(out), "--cases", "2"], lambda path: Clocked(library)) == 0  # type: ignore[arg-type]
    made = json.loads(out.read_text())
    assert made["device"] == {"name": "pretended"}
    assert {"date", "versions", "clocks", "registers", "cases", "figures"} <= set(made)
    assert "right  image_to_tensor" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["gpu.json"]
    assert driving._opened == []


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def none() -> str:
        raise CudaError("no GPU: pretended")

    monkeypatch.setattr(driving, "architecture", none)
    assert gpu_check.main(["--out", str(tmp_path / "gpu.json")]) == 2
    assert "error: no GPU" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()
