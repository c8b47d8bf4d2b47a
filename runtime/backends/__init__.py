"""Backends, found by listing this folder and imported on first use.

A backend is one file here with `why_not() -> str | None` (a reason it cannot run here, cheap to ask), `RANK` (the
smaller is tried first by "auto"; None is never chosen by itself) and `open_backend(options) -> Backend`. One that may
be chosen by measurement has `candidates(cores)` too, the settings that are worth trying.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from ..errors import BackendError
from .base import Backend, Candidates, Feed, Session, SessionOptions, as_array

__all__ = [
    "Backend", "Candidates", "Feed", "Session", "SessionOptions", "as_array", "available", "candidates", "open_backend",
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
    if name not in reasons:
        raise BackendError("No such backend", found=name, expected="auto, " + _spoken(reasons))
    if reasons[name] is not None:
        raise BackendError(f"The backend {name} cannot run here", found=reasons[name], expected=_spoken(reasons))
    backend: Backend = _module(name).open_backend(options or SessionOptions())
    return backend


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
