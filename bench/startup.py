"""Scenario startup: import time, load and first result, and peak memory of a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from .fresh import environment
from .percentiles import spread
from .settings import Progress, Settings

__all__ = ["fresh", "startup"]

IMPORT_S, FIRST_S, PEAK_MIB = 0.3, 1.0, 200 * 1e6 / 2**20
_CODE = "from chiasm.bench.fresh import main; main()"


def startup(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Start `repeats` + 1 fresh processes, one after another; medians, with the first one kept apart as `cold`."""
    runs = []
    for count in range(settings.repeats + 1):
        runs.append(fresh(settings))
        progress("startup", (count + 1) / (settings.repeats + 1))
    cold, rest = runs[0], runs[1:]
    middle = {name: spread([run[name] for run in rest])["p50"] for name in rest[0] if name != "heavy_after_import"}
    heavy = sorted({name for run in runs for name in run["heavy_after_import"]})
    criteria = [
        _criterion("import chiasm.runtime", middle["import_s"], IMPORT_S, "s"),
        _criterion("load and first result", middle["everything_s"], FIRST_S, "s"),
        _criterion("peak memory", middle["peak_rss_mib"], PEAK_MIB, "MiB"),
        _criterion("heavy packages imported with the runtime", len(heavy), 0, "packages"),
    ]
    headline = {"name": "import, load and first result", "value": middle["everything_s"], "unit": "s"}
    return {"runs": len(rest), "headline": headline, "median": middle, "cold": cold, "heavy_after_import": heavy,
            "criteria": criteria}  # fmt: skip


def _criterion(name: str, value: float | None, limit: float, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "limit": limit,
        "unit": unit,
        "met": None if value is None else value <= limit,
    }


def fresh(settings: Settings) -> dict[str, Any]:
    """What one fresh process of `settings` took: seconds of each stage, and its peak memory."""
    from ..runtime.errors import BackendError

    words = [
        str(settings.bundle),
        settings.backend,
        settings.precision,
        str(settings.threads or "-"),
        settings.fusion or "-",
    ]
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *words], capture_output=True, text=True, env=environment(), check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        raise BackendError("a fresh process could not take a first step", found=last, fix="Run: chiasm doctor")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
