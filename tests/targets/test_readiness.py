"""What each board lacks, on the text of real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from chiasm.targets.detect import detect, match_host
from chiasm.targets.host import Host
from chiasm.targets.readiness import Readiness, readiness

BOARDS = Path(__file__).parent / "boards"
CPU = {"onnxruntime": "1.32.0"}


def _of(board: str, **installed: str) -> dict[str, Readiness]:
    packages = {name.replace("_", "-"): version for name, version in installed.items()}
    return {each.name: each for each in readiness(detect(BOARDS / board), packages)}


@pytest.mark.parametrize(
    ("board", "library", "installed", "why", "fix"),
    [
        (
            "orin-nano-devkit",
            "trt",
            {},
            "JetPack 5.1.1 (L4T 35.3.1) has a TensorRT older than 10.3",
            "Flash JetPack 6.2",
        ),
        ("orin-nx-16gb", "trt", {}, "Python package is not to be seen", "--system-site-packages"),
        ("orin-nx-16gb", "trt", {"tensorrt": "10.7.0"}, "10.7.0 is installed, but JetPack 6.2.1", "--reinstall"),
        ("orin-nano-super", "rtx", {}, "not 8.7", "Use trt"),
        ("orin-nano-super", "ort, CUDA", {}, "onnxruntime-gpu is not installed", "pypi.jetson-ai-lab.io"),
        ("agx-thor", "rtx", {"tensorrt_rtx": "1.4"}, "not 11.0", "Use trt"),
        ("agx-orin-64gb", "trt", {}, "/etc/nv_tegra_release is not there", "--runtime nvidia"),
        ("raspberry-pi-5", "trt", {}, "no NVIDIA GPU in this machine", None),
        ("raspberry-pi-5", "openvino", {}, "openvino is not installed", "chiasm[openvino]"),
        ("raspberry-pi-5", "ort, CPU", {}, "onnxruntime is not installed", "chiasm[cpu]"),
        ("x86-l4", "ort, CUDA", CPU, "onnxruntime-gpu is not installed", "pip uninstall onnxruntime && pip install"),
        ("x86-l4", "trt", {}, "Python package is not installed", "sudo apt install tensorrt"),
        ("x86-l4", "trt", {"tensorrt": "8.6.1"}, "TensorRT 8.6.1 is older than 10.3", "--upgrade"),
        ("x86-l4", "rtx", {}, "tensorrt-rtx is not installed", "pip install tensorrt-rtx"),
    ],
)
def test_what_is_missing(board: str, library: str, installed: dict[str, str], why: str, fix: str | None) -> None:
    found = _of(board, **installed)[library]
    assert found.why_not is not None
    assert why in found.why_not
    assert (fix in (found.fix or "")) if fix else found.fix is None


@pytest.mark.parametrize(
    ("board", "library", "installed", "found"),
    [
        ("orin-nx-16gb", "trt", {"tensorrt": "10.3.0.30"}, "TensorRT 10.3.0.30, JetPack 6.2.1 (L4T 36.4.4)"),
        ("orin-nano-super", "trt", {"tensorrt": "10.16.2.10"}, "JetPack 7.2.1"),
        ("agx-thor", "trt", {"tensorrt": "10.13"}, "JetPack 7.0"),
        ("x86-l4", "trt", {"tensorrt": "11.4.1"}, "NVIDIA L4, compute capability 8.9, driver 570.144"),
        ("x86-rtx-5070", "rtx", {"tensorrt_rtx_cu13": "1.5"}, "compute capability 12.0"),
        ("x86-l4", "ort, CUDA", {"onnxruntime_gpu": "1.23"}, "onnxruntime-gpu 1.23 on NVIDIA L4"),
        ("raspberry-pi-5", "ort, CPU", CPU, "onnxruntime 1.32.0"),
        ("x86-epyc-virtual", "openvino", {"openvino": "2026.1"}, "openvino 2026.1"),
    ],
)
def test_what_is_ready(board: str, library: str, installed: dict[str, str], found: str) -> None:
    ready = _of(board, **installed)[library]
    assert ready.why_not is None
    assert found in ready.found


def test_a_board_and_a_release_that_nobody_knows() -> None:
    new = Host("aarch64", "A board", ("nvidia,p3767-0003", "nvidia,tegra234"), "99.1.0", (), False, None, None)
    found = {each.name: each for each in readiness(match_host(new), {})}
    assert found["trt"].why_not == "no JetPack is known for L4T 99.1.0 on this board"
    old = Host("aarch64", "Xavier", ("nvidia,p3668-0001", "nvidia,tegra194"), "35.4.1", (), False, None, None)
    assert "no target is for the board Xavier" in str(readiness(match_host(old), {})[2].why_not)


def test_a_driver_that_does_not_answer() -> None:
    host = Host("x86_64", None, (), None, (), True, None, None)
    found = {each.name: each for each in readiness(match_host(host), {"onnxruntime": "1.32"})}
    for name in ("ort, CUDA", "trt", "rtx"):
        assert "driver does not answer" in str(found[name].why_not)
        assert "apt install nvidia-driver" in str(found[name].fix)
    assert found["ort, CPU"].why_not is None
