from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def test_a_healthy_installation(chiasm: Callable, tiny: Path) -> None:
    outcome = chiasm("doctor", tiny)
    assert (outcome.code, outcome.err) == (0, "")
    assert "Ready." in outcome.out


def test_for_a_program(chiasm: Callable, tiny: Path) -> None:
    report = json.loads(chiasm("doctor", tiny, "--json").out)
    assert report["ok"] is True
    assert report["machine"]["cores"] >= 1
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert states["part denoiser"] == states["backend null"] == states["numpy"] == "ok"


def test_a_damaged_part_is_found(chiasm: Callable, tiny: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "damaged"
    shutil.copytree(tiny, bundle)
    part = bundle / "parts" / "image.fp32.onnx"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(bytes(data))
    outcome = chiasm("doctor", bundle, "--json")
    assert outcome.code == 1
    broken = [check for check in json.loads(outcome.out)["checks"] if check["state"] == "broken"]
    assert [check["name"] for check in broken] == ["bundle parts"]
    assert "image.fp32.onnx is damaged" in broken[0]["found"]


def test_no_bundle_is_found(chiasm: Callable, tmp_path: Path) -> None:
    report = json.loads(chiasm("doctor", tmp_path / "nothing", "--json").out)
    assert report["ok"] is False
    assert report["checks"][-1]["name"] == "bundle"


def test_a_bundle_that_is_not_there_is_not_to_be_exported_again(chiasm: Callable, tmp_path: Path) -> None:
    outcome = chiasm("doctor", tmp_path / "nowhere", "--json")
    assert "No bundle here" in outcome.out
    assert "Check the path and its spelling" in outcome.out
    assert "export the bundle again" not in outcome.out


def test_what_is_missing_comes_with_its_mending(chiasm: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name == "av":
            raise ModuleNotFoundError("No module named 'av'", name="av")
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    report = json.loads(chiasm("doctor", tiny, "--json").out)
    checks = {check["name"]: check for check in report["checks"]}
    assert report["ok"] is True
    assert checks["av"]["state"] == checks["cv2"]["state"] == "absent"
    assert checks["av"]["fix"] == "pip install 'chiasm[camera]'"
    assert "libgl1" in checks["cv2"]["fix"]


def test_without_a_backend_nothing_works(chiasm: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chiasm.runtime.backends import ort

    monkeypatch.setattr(ort, "why_not", lambda: "onnxruntime is not installed")
    outcome = chiasm("doctor", tiny)
    assert outcome.code == 1
    assert "pip install 'chiasm[cpu]'" in " ".join(outcome.out.split())


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("PyCUDA is not installed", "chiasm[cuda]"),
        ("the kernels were not compiled: no nvcc at install (make fatbin)", "nvcc"),
        ("no GPU: cuInit failed", None),
        (None, None),
    ],
)
def test_the_cuda_kernels(monkeypatch: pytest.MonkeyPatch, reason: str | None, fix: str | None) -> None:
    from chiasm.cli import doctor
    from chiasm.kernels import cuda

    monkeypatch.setattr(cuda, "why_not", lambda: reason)
    check = doctor._cuda()
    assert check.state == ("ok" if reason is None else "absent")
    assert (reason or "loaded") in check.found
    assert (check.fix is None) == (fix is None)
    assert fix is None or fix in str(check.fix)


@pytest.mark.parametrize(
    ("board", "name", "words", "fix"),
    [
        ("orin-nano-devkit", "target", "jetson-orin-nano-8gb: the device tree says nvidia,p3767-0003", None),
        ("orin-nano-devkit", "trt", "JetPack 5.1.1 (L4T 35.3.1) has a TensorRT older than 10.3", "Flash JetPack 6.2"),
        ("orin-nano-super", "target", "JetPack 7.2.1", None),
        ("orin-nano-super", "rtx", "not 8.7", "Use trt"),
        ("agx-orin-64gb", "ort, CUDA", "/etc/nv_tegra_release is not there", "--runtime nvidia"),
        ("x86-rtx-5070", "target", "no target describes the GPU NVIDIA GeForce RTX 5070", None),
        ("raspberry-pi-5", "trt", "no NVIDIA GPU in this machine", None),
    ],
)
def test_what_a_board_lacks(
    chiasm: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch, board: str, name: str, words: str, fix: str | None
) -> None:
    from chiasm.targets import detect as detection

    found = detection.detect(Path(__file__).parents[1] / "targets" / "boards" / board)
    monkeypatch.setattr(detection, "detect", lambda root=None: found)
    checks = {check["name"]: check for check in json.loads(chiasm("doctor", tiny, "--json").out)["checks"]}
    assert words in checks[name]["found"]
    assert fix is None or fix in checks[name]["fix"]
    assert checks["memory"]["state"] == "ok"


def test_a_library_that_chiasm_does_not_use_is_not_recommended() -> None:
    from chiasm.cli.checks import _library
    from chiasm.targets.readiness import Readiness

    check = _library(Readiness("ort, CUDA", "onnxruntime-gpu is not installed", "", "pip install onnxruntime-gpu"), {})
    assert check.state == "absent"
    assert "this chiasm does not use it yet" in check.found
    assert check.fix is None


@pytest.mark.parametrize("there", [True, False])
def test_doctor_and_backend_agree_about_openvino(
    chiasm: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    from chiasm.cli import checks as doctor
    from chiasm.runtime.backends import openvino

    monkeypatch.setattr(openvino, "why_not", lambda: None if there else "openvino is not installed")
    monkeypatch.setattr(doctor, "_installed", lambda: {"openvino": "2026.4.1"} if there else {})
    found = {check["name"]: check for check in json.loads(chiasm("doctor", tiny, "--json").out)["checks"]}
    states = {found[name]["state"] for name in ("openvino", "backend openvino")}
    assert states == {"ok" if there else "absent"}
    assert ("chiasm[openvino]" in (found["openvino"]["fix"] or "")) is not there


def test_a_machine_without_room(chiasm: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from chiasm.targets import detect as detection

    found = detection.detect(Path(__file__).parents[1] / "targets" / "boards" / "x86-epyc-virtual")
    full = replace(found, host=replace(found.host, available_mib=40.0))
    monkeypatch.setattr(detection, "detect", lambda root=None: full)
    checks = {check["name"]: check for check in json.loads(chiasm("doctor", tiny, "--json").out)["checks"]}
    assert checks["memory"]["state"] == "absent"
    assert "of 40 MiB" in checks["memory"]["found"]
    assert "chiasm plan" in checks["memory"]["fix"]


def test_parts_say_what_they_have_for_a_gpu(chiasm: Callable, tiny: Path) -> None:
    checks = {check["name"]: check for check in json.loads(chiasm("doctor", tiny, "--json").out)["checks"]}
    assert checks["part image"]["found"] == (
        "runs in fp32 on ort; for a GPU fp32, no fp16: export it again with that precision"
    )
