"""Runs scenarios and puts their figures into one report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..runtime.errors import InputError
from ..targets import machine, packages
from .caching import caching
from .live import fixed_rate, overload
from .overhead import overhead
from .settings import Progress, Settings, silent
from .single import offline, single_stream
from .startup import startup

__all__ = ["SCENARIOS", "run_bench"]

Scenario = Callable[[Settings, Progress], dict[str, Any]]

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({
    "single-stream": single_stream,
    "offline": offline,
    "fixed-rate": fixed_rate,
    "overhead": overhead,
    "caching": caching,
    "overload": overload,
    "startup": startup,
})  # fmt: skip
"""Name to scenario, in the order of a full bench. `startup` is last: it leaves this process alone."""

NOTE = "A quick run: MLPerf's names and meanings, but not its run rules or early stopping; not MLPerf compliant."


def run_bench(
    settings: Settings, scenarios: Sequence[str] = ("all",), progress: Progress | None = None
) -> dict[str, Any]:
    """The report, in plain types ready for JSON. Raises `InputError` for an unknown scenario."""
    names = list(SCENARIOS) if "all" in scenarios else list(dict.fromkeys(scenarios))
    for name in names:
        if name not in SCENARIOS:
            expected = ", ".join([*SCENARIOS, "all"])
            raise InputError("there is no such scenario", found=name, expected=expected)
    _check(settings)
    figures = {name: SCENARIOS[name](settings, progress or silent) for name in names}
    return {
        "format": "chiasm-bench",
        "version": 1,
        "note": NOTE,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "bundle": _bundle(settings),
        "machine": machine().to_dict(),
        "packages": packages(),
        "settings": settings.to_dict(),
        "scenarios": figures,
    }


def _check(settings: Settings) -> None:
    wanted = {"seconds": settings.seconds, "rate_hz": settings.rate_hz}
    for name, value in wanted.items():
        if value is not None and not 0 < value < 1e6:
            raise InputError(f"{name} cannot be used", found=value, expected="a number above zero")


def _bundle(settings: Settings) -> dict[str, Any]:
    from ..runtime.bundle import open_bundle

    manifest = open_bundle(settings.bundle).manifest
    model = manifest.model
    return {"name": model.name, "version": model.version, "schema": manifest.schema, "chiasm": manifest.chiasm}
