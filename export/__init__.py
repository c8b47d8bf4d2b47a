"""checkpoint → bundle. The only place, beside the training of the reference model, that imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibrate import Calibration, Sample
    from .exporter import export
    from .settings import Settings
    from .verify import verify

__all__ = ["Calibration", "Sample", "Settings", "export", "verify"]

_HOMES = {
    "Calibration": "calibrate", "Settings": "settings", "Sample": "calibrate", "export": "exporter", "verify": "verify",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import on first use, so that reading this package costs nothing and needs no extra."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
