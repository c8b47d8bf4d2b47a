"""What stands between a machine and each inference library: driver, version, compute capability, JetPack, package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .detect import Detected, release_of
from .schema import Target

__all__ = ["LIBRARIES", "OLDEST_TENSORRT", "RTX_CAPABILITIES", "Readiness", "readiness"]

OLDEST_TENSORRT = "10.3"
"""Graphs whose precision is written in them need strong typing; JetPack 6 has this version."""
LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "tensorrt-rtx-cu13", "openvino")
"""Packages that are asked for; `installed` says which are there."""
RTX_CAPABILITIES = {"7.5", "8.0", "8.6", "8.9", "12.0", "12.1"}
_DRIVER = "Ubuntu: sudo ubuntu-drivers install; Debian: sudo apt install nvidia-driver; then reboot"


@dataclass(frozen=True)
class Readiness:
    """`why_not` None: everything is there. `fix`: the command, or the step, that mends it."""

    name: str
    why_not: str | None
    found: str
    fix: str | None = None


def readiness(detected: Detected, installed: Mapping[str, str]) -> tuple[Readiness, ...]:
    """Every library on this machine; `installed`: package → version."""
    return (
        _cpu(installed),
        _cuda(detected, installed),
        _tensorrt(detected, installed),
        _rtx(detected, installed),
        _openvino(installed),
    )


def _cpu(installed: Mapping[str, str]) -> Readiness:
    version = installed.get("onnxruntime") or installed.get("onnxruntime-gpu")
    if version is None:
        return Readiness("ort, CPU", "onnxruntime is not installed", "", "pip install 'chiasm[cpu]'")
    return Readiness("ort, CPU", None, f"onnxruntime {version}")


def _gpu(detected: Detected) -> tuple[str | None, str | None]:
    """Why no NVIDIA GPU can be used, and what mends it; None, None where one can."""
    host = detected.host
    if host.jetson:
        if host.l4t is None:
            fix = "In a container: docker run --runtime nvidia -v /etc/nv_tegra_release:/etc/nv_tegra_release ..."
            return "this is a Jetson, but /etc/nv_tegra_release is not there: no JetPack is seen", fix
        return None, None
    if host.gpus:
        return None, None
    if host.nvidia_pci:
        return "an NVIDIA GPU is on the bus, but its driver does not answer", _DRIVER
    return "no NVIDIA GPU in this machine", None


def _capability(detected: Detected) -> str | None:
    if detected.host.gpus and detected.host.gpus[0].compute_capability is not None:
        return detected.host.gpus[0].compute_capability
    label = detected.target.compute_capability if detected.target is not None else None
    return None if label is None else label.value


def _place(detected: Detected) -> str:
    """The GPU in words."""
    host, capability = detected.host, _capability(detected)
    name = host.gpus[0].name if host.gpus and not host.jetson else (host.model or "the GPU")
    driver = f", driver {host.gpus[0].driver}" if host.gpus and host.gpus[0].driver else ""
    return name + (f", compute capability {capability}" if capability else "") + driver


def _cuda(detected: Detected, installed: Mapping[str, str]) -> Readiness:
    why, fix = _gpu(detected)
    if why is not None:
        return Readiness("ort, CUDA", why, "", fix)
    version = installed.get("onnxruntime-gpu")
    if version is not None:
        return Readiness("ort, CUDA", None, f"onnxruntime-gpu {version} on {_place(detected)}")
    if detected.host.jetson:
        fix = "PyPI has no wheel for a Jetson's GPU: take the one of your JetPack from https://pypi.jetson-ai-lab.io"
        return Readiness("ort, CUDA", "onnxruntime-gpu is not installed", _place(detected), fix)
    remove = "pip uninstall onnxruntime && " if "onnxruntime" in installed else ""
    fix = f"{remove}pip install onnxruntime-gpu"
    return Readiness("ort, CUDA", "onnxruntime-gpu is not installed", _place(detected), fix)


def _tensorrt(detected: Detected, installed: Mapping[str, str]) -> Readiness:
    why, fix = _gpu(detected)
    if why is not None:
        return Readiness("trt", why, "", fix)
    version = installed.get("tensorrt")
    if detected.host.jetson:
        return _jetson_tensorrt(detected, version)
    if version is None:
        fix = "Install TensorRT 10.3 to 11.x from NVIDIA's repository: sudo apt install tensorrt python3-libnvinfer"
        return Readiness("trt", "TensorRT's Python package is not installed", _place(detected), fix)
    if _older(version, OLDEST_TENSORRT):
        why = f"TensorRT {version} is older than {OLDEST_TENSORRT}"
        return Readiness("trt", why, _place(detected), "sudo apt install --upgrade tensorrt python3-libnvinfer")
    return Readiness("trt", None, f"TensorRT {version} on {_place(detected)}")


def _jetson_tensorrt(detected: Detected, version: str | None) -> Readiness:
    """On a Jetson TensorRT comes with JetPack, and only with it."""
    host, target = detected.host, detected.target
    release = None if target is None else release_of(host, target)
    if target is None:
        return Readiness("trt", detected.why, "", "See which boards are known: chiasm targets")
    if release is None:
        return Readiness("trt", f"no JetPack is known for L4T {host.l4t} on this board", "", _flash(target))
    here = f"JetPack {release.jetpack} (L4T {host.l4t})"
    if release.tensorrt is None and _older(release.jetpack, "6.1"):
        return Readiness("trt", f"{here} has a TensorRT older than {OLDEST_TENSORRT}", here, _flash(target))
    if version is None:
        fix = "sudo apt install nvidia-jetpack; in a virtual environment: python3 -m venv --system-site-packages"
        return Readiness("trt", "TensorRT's Python package is not to be seen", here, fix)
    if release.tensorrt is not None and not _same(version, release.tensorrt):
        why = f"TensorRT {version} is installed, but {here} pairs with {release.tensorrt}"
        return Readiness("trt", why, here, "sudo apt install --reinstall nvidia-jetpack")
    return Readiness("trt", None, f"TensorRT {version}, {here}")


def _flash(target: Target) -> str:
    newest = "JetPack 7" if target.soc == "thor" else "JetPack 6.2 or newer"
    return f"Flash {newest} with NVIDIA's SDK Manager"


def _rtx(detected: Detected, installed: Mapping[str, str]) -> Readiness:
    why, fix = _gpu(detected)
    if why is not None:
        return Readiness("rtx", why, "", fix)
    capability = _capability(detected)
    if capability not in RTX_CAPABILITIES:
        known = ", ".join(sorted(RTX_CAPABILITIES, key=float))
        why = f"TensorRT-RTX is for compute capabilities {known}, not {capability or 'an unknown one'}"
        return Readiness("rtx", why, _place(detected), "Use trt")
    version = installed.get("tensorrt-rtx") or installed.get("tensorrt-rtx-cu13")
    if version is None:
        return Readiness("rtx", "tensorrt-rtx is not installed", _place(detected), "pip install tensorrt-rtx")
    return Readiness("rtx", None, f"tensorrt-rtx {version} on {_place(detected)}")


def _openvino(installed: Mapping[str, str]) -> Readiness:
    version = installed.get("openvino")
    if version is None:
        return Readiness("openvino", "openvino is not installed", "", "pip install 'chiasm[openvino]'")
    return Readiness("openvino", None, f"openvino {version}")


def _numbers(version: str) -> Iterator[int]:
    for part in version.split("."):
        digits = "".join(each for each in part if each.isdigit())
        if not digits:
            return
        yield int(digits)


def _older(version: str, than: str) -> bool:
    return tuple(_numbers(version)) < tuple(_numbers(than))


def _same(version: str, wanted: str) -> bool:
    """10.3.0.30 is the 10.3 that was asked for."""
    asked = tuple(_numbers(wanted))
    return tuple(_numbers(version))[: len(asked)] == asked
