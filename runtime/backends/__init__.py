"""Backends, found by listing this folder and imported on first use.

A backend is one file here with `why_not() -> str | None` (a reason it cannot run here, cheap to ask), `RANK` (the
smaller is tried first by "auto"; None is never chosen by itself) and `open_backend(options) -> Backend`. One that may
be chosen by measurement has `candidates(cores)` too, the settings that are worth trying. One that runs elsewhere
too has `DEVICES`, name → why it cannot: "ort:cuda" is the backend `ort` on its device `cuda`; none is chosen by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from types import ModuleType

from ..errors import BackendError
from .base import Backend, Candidates, Feed, Session, SessionOptions, as_array, usable_threads

__all__ = [
    "Backend", "Candidates", "Feed", "Session", "SessionOptions", "as_array", "available", "candidates", "devices",
    "open_backend", "usable_threads",
]  # fmt: skip


def available() -> dict[str, str | None]:
    """name → None where the backend can run here, else the reason why not."""
    reasons: dict[str, str | None] = {name: _module(name).why_not() for name in _names()}
    return reasons


def open_backend(name: str = "auto", options: SessionOptions | None = None) -> Backend:
    """Open a backend by name; "auto" takes the first usable one of lowest rank."""
    reasons = available()
    if name == "auto":
        ranked = sorted((_module(n).RANK, n) for n in reasons if _module(n).RANK is not None and reasons[n] is None)
        if not ranked:
            raise BackendError("No inference backend can run here", found=_spoken(reasons),
                               fix="Run: pip install 'chiasm[cpu]'")  # fmt: skip
        name = ranked[0][1]
    name, _, device = name.partition(":")
    if name not in reasons:
        raise BackendError("No such backend", found=name, expected="auto, " + _spoken(reasons))
    if reasons[name] is not None:
        raise BackendError(f"The backend {name} cannot run here", found=reasons[name], expected=_spoken(reasons))
    if device:
        _check_device(name, device)
    backend: Backend = _module(name).open_backend(replace(options or SessionOptions(), device=device))
    return backend


def devices() -> dict[str, str | None]:
    """ "backend:device" → None where it may run, else why not. This imports the backends' libraries."""
    found = {name: getattr(_module(name), "DEVICES", {}) for name in _names()}
    return {f"{name}:{device}": why() for name, known in found.items() for device, why in known.items()}


def _check_device(name: str, device: str) -> None:
    known = getattr(_module(name), "DEVICES", {})
    if device not in known:
        raise BackendError(
            f"The backend {name} has no such device", found=device,
            expected=f"{name}, or {' or '.join(f'{name}:{each}' for each in known)}" if known else name,
        )  # fmt: skip
    if (why := known[device]()) is not None:
        raise BackendError(f"The backend {name}:{device} cannot run here", found=why, expected=name)


def candidates(cores: int) -> dict[str, Candidates]:
    """backend → what is worth trying on it; of every backend that may be chosen by measurement, usable here or not."""
    found = {name: getattr(_module(name), "candidates", None) for name in _names()}
    return {name: ask(cores) for name, ask in found.items() if ask is not None}


def _names() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base" and not m.name.startswith("_"))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f".{name}", __name__)


def _spoken(reasons: dict[str, str | None]) -> str:
    return "; ".join(name if reason is None else f"{name} ({reason})" for name, reason in reasons.items())
