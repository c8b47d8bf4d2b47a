"""Which target is this machine? Asked of what `host` read: the device tree first, then the GPU's name, then the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .catalogue import releases_of, targets
from .host import Gpu, Host, read_host
from .schema import Release, Target

__all__ = ["Detected", "detect", "match_host", "release_of"]


@dataclass(frozen=True)
class Detected:
    """`target` None: no target describes this machine; `why` says what decided, or what is not known."""

    host: Host
    target: Target | None
    why: str

    @property
    def cpu(self) -> Target | None:
        """The target that describes the machine without its GPU: what ONNX Runtime runs on."""
        return next((each for each in targets().values() if each.match.arch == self.host.arch), None)


def detect(root: Path = Path("/")) -> Detected:
    """The target that this machine is, or that the captured tree under `root` is of."""
    return match_host(read_host(root))


def match_host(host: Host) -> Detected:
    """The target of a machine that was read already."""
    if host.jetson:
        return _jetson(host)
    for gpu in host.gpus:
        for target in targets().values():
            if gpu.name in target.match.gpu and _fits(target, gpu):
                return Detected(host, target, f"the driver calls the GPU {gpu.name}")
    base = Detected(host, None, "").cpu
    known = f"an {host.arch} machine" if host.arch[:1] in "aeiox" else f"a {host.arch} machine"
    if host.gpus:
        return Detected(host, base, f"no target describes the GPU {host.gpus[0].name}; {known}")
    if host.nvidia_pci:
        return Detected(host, base, f"an NVIDIA GPU is on the bus, but its driver does not answer; {known}")
    if base is None:
        return Detected(host, None, f"no target is for {host.arch}")
    return Detected(host, base, f"{known} without an NVIDIA GPU")


def _fits(target: Target, gpu: Gpu) -> bool:
    """Cards of one name come with several sizes of memory: within a sixteenth of the target's, or unknown."""
    size = target.memory.size_mib
    return gpu.memory_mib is None or size is None or abs(gpu.memory_mib - size.value) <= size.value / 16


def _jetson(host: Host) -> Detected:
    candidates = [target for target in targets().values() if target.kind == "jetson"]
    for name in host.compatible:
        here = [target for target in candidates if name in target.match.compatible and _holds(target, host)]
        if here:
            words = f"the device tree says {name}"
            return Detected(host, here[0], words + (f", {host.memory_mib:,.0f} MiB" if host.memory_mib else ""))
    return Detected(host, None, f"no target is for the board {host.model or ', '.join(host.compatible)}")


def _holds(target: Target, host: Host) -> bool:
    if target.match.memory_mib is None or host.memory_mib is None:
        return True
    low, high = target.match.memory_mib
    return low <= host.memory_mib <= high


def release_of(host: Host, target: Target) -> Release | None:
    """The JetPack that runs here; the newest of those that share the longest start of the L4T number.

    None where it is none that is known, or where /etc/nv_tegra_release is not there (in a container it is not).
    """
    if host.l4t is None:
        return None
    best: tuple[int, Release] | None = None
    for release in releases_of(target):
        shared = _shared(release.l4t, host.l4t)
        if shared >= 2 and (best is None or shared >= best[0]):
            best = shared, release
    return None if best is None else best[1]


def _shared(first: str, second: str) -> int:
    """How many numbers of two versions agree from the start."""
    return sum(1 for _ in _equal(first.split("."), second.split(".")))


def _equal(first: list[str], second: list[str]) -> Iterator[str]:
    for one, other in zip(first, second, strict=False):
        if one != other:
            return
        yield one
