"""Memory of this process, as the operating system counts it."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["MIB", "peak_mib", "reset_peak", "resident_mib"]

MIB = 2.0**20
_SELF = Path("/proc/self")


def _status_kib(field: str) -> float | None:
    try:
        lines = (_SELF / "status").read_text("ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith(field + ":")), None)


def resident_mib() -> float | None:
    """Resident set now, MiB; None where the system does not tell."""
    kib = _status_kib("VmRSS")
    return None if kib is None else kib / 1024


def peak_mib() -> float | None:
    """Largest resident set since the start of the process or `reset_peak`, MiB."""
    kib = _status_kib("VmHWM")
    if kib is not None:
        return kib / 1024
    if sys.platform == "win32":
        return None
    import resource

    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / MIB if sys.platform == "darwin" else peak / 1024


def reset_peak() -> bool:
    """Forget the peak so far, so that a scenario reports its own; False where the system forbids it (see proc(5))."""
    try:
        (_SELF / "clear_refs").write_text("5")
    except OSError:
        return False
    return True
