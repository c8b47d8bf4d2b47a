"""What is measured, and how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..runtime.pipeline import Pipeline

__all__ = ["Progress", "Settings", "silent"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of it that is done."""


def silent(title: str, fraction: float) -> None:
    """No progress."""


@dataclass(frozen=True)
class Settings:
    """One bench: `seconds` of measuring per scenario after the warm-up.

    `rate_hz` is that of the fastest modality (None: its own). `warm_up` is in steps. `repeats` fresh
    processes are started where a scenario needs them.
    """

    bundle: Path
    backend: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    fusion: str | None = None
    seconds: float = 10.0
    rate_hz: float | None = None
    seed: int = 0
    warm_up: int = 30
    repeats: int = 5

    def open(self, *, cache: bool = True) -> Pipeline:
        """A pipeline of its own."""
        from ..runtime.pipeline import load

        return load(self.bundle, self.backend, self.precision, self.threads, fusion=self.fusion, cache=cache)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; of the bundle only its folder's name, because reports are handed on."""
        return asdict(self) | {"bundle": self.bundle.name.encode("utf-8", "backslashreplace").decode()}
