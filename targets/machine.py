"""Which machine is this? Read from the operating system; nothing is measured and nothing leaves the machine."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Machine", "machine", "packages", "version_of"]

_PACKAGES = (
    "chiasm", "numpy", "msgspec", "tokenizers", "onnxruntime", "onnxruntime-gpu", "opencv-python",
    "opencv-python-headless", "av", "sounddevice", "matplotlib", "torch", "onnx", "onnxscript",
)  # fmt: skip
_FLAGS = {
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "avx_vnni", "amx_int8", "amx_bf16", "asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2",
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """`cores` are those that this process may use; `isa` the vector extensions that matter to inference, sorted."""

    cpu: str
    arch: str
    cores: int
    cores_in_all: int
    isa: tuple[str, ...]
    memory_bytes: int | None
    device: str | None
    os: str
    python: str

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return asdict(self) | {"isa": list(self.isa)}

    def __str__(self) -> str:
        memory = f", {self.memory_bytes / 2**30:.0f} GiB" if self.memory_bytes else ""
        device = f"{self.device}: " if self.device else ""
        return f"{device}{self.cpu}, {self.cores} of {self.cores_in_all} cores{memory}, {self.os}, Python {self.python}"


def machine(proc: Path = Path("/proc")) -> Machine:
    """The facts of this machine; `proc` is where Linux keeps them (tests hand in another folder)."""
    cpuinfo = _read(proc / "cpuinfo")
    return Machine(
        cpu=_cpu_model(cpuinfo),
        arch=platform.machine() or "unknown",
        cores=_usable_cores(),
        cores_in_all=os.cpu_count() or 1,
        isa=_isa(cpuinfo),
        memory_bytes=_memory(_read(proc / "meminfo")),
        device=_read(proc / "device-tree" / "model").strip("\0\n ") or None,
        os=_operating_system(),
        python=platform.python_version(),
    )


def packages() -> dict[str, str]:
    """Versions of the packages that matter and are installed."""
    return {name: version for name in _PACKAGES if (version := version_of(name)) is not None}


def version_of(package: str) -> str | None:
    """The installed version of a package; None where there is none."""
    from importlib import metadata  # it brings the package email: 20 ms that few need

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(text: str, *names: str) -> str:
    """The first value of any of these fields in `name : value` lines."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names and value.strip():
            return value.strip()
    return ""


def _cpu_model(cpuinfo: str) -> str:
    """ARM kernels give no model name: then the hardware line, or what Python knows."""
    return _field(cpuinfo, "model name", "Hardware", "Model") or platform.processor() or platform.machine() or "unknown"


def _isa(cpuinfo: str) -> tuple[str, ...]:
    return tuple(sorted(_FLAGS & set(_field(cpuinfo, "flags", "Features").split())))


def _memory(meminfo: str) -> int | None:
    words = _field(meminfo, "MemTotal").split()
    if words and words[0].isdigit():
        return int(words[0]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _usable_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.platform())
    except OSError:
        return platform.platform()
