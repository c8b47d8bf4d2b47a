"""What this machine says of itself, in its own words: device tree, L4T, CPU, memory, PCI bus, NVIDIA's driver.

Everything is read under a root folder, so that a captured tree of another machine reads like the machine. There, the
answer of nvidia-smi is the file `nvidia-smi.csv`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["QUERY", "Gpu", "Host", "parse_gpus", "read_host"]

QUERY = ("--query-gpu=name,compute_cap,memory.total,driver_version", "--format=csv,noheader,nounits")
_SECONDS = 10.0
_NVIDIA = "0x10de"
_L4T = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver names it. `memory_mib` None: the driver does not say, as on a Jetson."""

    name: str
    compute_capability: str | None
    memory_mib: float | None
    driver: str | None


@dataclass(frozen=True)
class Host:
    """`compatible`: the device tree's strings; `l4t` such as "36.4.3"; `nvidia_pci`: an NVIDIA device on the PCI bus.

    `memory_mib`: what Linux counts; `available_mib`: what it can still give without swapping.
    """

    arch: str
    model: str | None
    compatible: tuple[str, ...]
    l4t: str | None
    gpus: tuple[Gpu, ...]
    nvidia_pci: bool
    memory_mib: float | None
    available_mib: float | None

    @property
    def jetson(self) -> bool:
        """Whether this is one of NVIDIA's Tegra boards."""
        return any(each.startswith("nvidia,tegra") for each in self.compatible)


def read_host(root: Path = Path("/"), arch: str | None = None) -> Host:
    """The facts under `root`. `arch`: of the machine; default: what `root`'s uname or ours says."""
    model = _text(root / "proc/device-tree/model").strip("\0\n ") or None
    compatible = tuple(part for part in _text(root / "proc/device-tree/compatible").split("\0") if part.strip())
    return Host(
        arch=arch or _arch(root),
        model=model,
        compatible=tuple(part.strip() for part in compatible),
        l4t=_l4t(_text(root / "etc/nv_tegra_release")),
        gpus=parse_gpus(_smi(root)),
        nvidia_pci=any(_text(path).strip() == _NVIDIA for path in root.glob("sys/bus/pci/devices/*/vendor")),
        memory_mib=_kib(root, "MemTotal"),
        available_mib=_kib(root, "MemAvailable"),
    )


def parse_gpus(csv: str) -> tuple[Gpu, ...]:
    """GPUs from what nvidia-smi answers to `QUERY`; lines that are no answer are left out."""
    found = []
    for line in csv.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4 and cells[0] and cells[0] != "name":
            name, capability, memory, driver = (None if cell in ("", "[N/A]", "N/A") else cell for cell in cells)
            found.append(Gpu(name or "", capability, _number(memory), driver))
    return tuple(found)


def _number(text: str | None) -> float | None:
    match = re.match(r"\d+(\.\d+)?", text or "")
    return float(match[0]) if match else None


def _smi(root: Path) -> str:
    """nvidia-smi's answer; empty where there is none, or where it fails: then its driver does not work."""
    captured = root / "nvidia-smi.csv"
    if root != Path("/"):
        return _text(captured)
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run([program, *QUERY], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _l4t(text: str) -> str | None:
    match = _L4T.search(text)
    return f"{match[1]}.{match[2]}" if match else None


def _arch(root: Path) -> str:
    """A captured tree tells its architecture by the way its kernel writes cpuinfo."""
    if root == Path("/"):
        import platform

        return platform.machine() or "unknown"
    cpuinfo = _text(root / "proc/cpuinfo")
    return "aarch64" if "CPU implementer" in cpuinfo else "x86_64" if "vendor_id" in cpuinfo else "unknown"


def _kib(root: Path, field: str) -> float | None:
    match = re.search(rf"^{field}:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) / 1024 if match else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
