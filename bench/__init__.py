"""Load scenarios, statistics and reports.

from chiasm.bench import Settings, run_bench, write_json, print_tables, plot
report = run_bench(Settings(Path("road.chiasm"), seconds=10), ("single-stream", "fixed-rate"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plots import plot
    from .report import print_tables, unmet, write_json
    from .runner import SCENARIOS, run_bench
    from .settings import Settings

__all__ = ["SCENARIOS", "Settings", "plot", "print_tables", "run_bench", "unmet", "write_json"]

_HOMES = {
    "SCENARIOS": "runner", "run_bench": "runner", "Settings": "settings", "plot": "plots",
    "print_tables": "report", "unmet": "report", "write_json": "report",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import on first use: `startup` measures fresh processes that pass through here."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module 'chiasm.bench' has no attribute {name!r}; it has {', '.join(__all__)}")
