"""The page says what the files say: losses, refusals and absences included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chiasm.bench.peers.page import page

pytest.importorskip("matplotlib", reason="draws the pictures")
SPREAD = {"mean": 10.0, "p50": 10.0, "p90": 12.0, "p99": None, "p99.9": None, "max": 13.0}
MACHINE = {"cpu": "a processor", "cores": 2, "os": "a system"}


def _row(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "precision": "fp32", "notes": {}, "cosine": 1.0, "limit": 0.999, "agrees": True,
            "alike": 0.5, **more}  # fmt: skip


def _report(load: float) -> dict[str, Any]:
    timed = {"latency_ms": SPREAD, "samples": 30}
    rows = [
        _row("chiasm", **timed, times_ours={"median": 1.0, "p10": 1.0, "p90": 1.0}),
        _row("faster", **timed, times_ours={"median": 0.5, "p10": 0.4, "p90": 0.6}),
        _row("wrong", refused="cosine 0.5000, at least 0.999 is needed"),
    ]
    race = {"says": "a race", "load": [load], "rows": rows, "absent": {"other": "other is not installed"}}
    return {
        "when": "2026-11-25T00:00:00Z", "machine": MACHINE, "threads": 2, "versions": {"numpy": "2", "torch": None},
        "pace": {"quick": True}, "races": {"vit-b32": race}, "installed_mib": {"chiasm": {"numpy": 60.0}, "x": None},
        "fresh": {"vit-b32": {"chiasm": {"first_result_s": 0.5, "peak_rss_mib": 300.0, "runs": 5},
                              "other": {"error": "it fell over"}}},
    }  # fmt: skip


def test_rows_that_are_lost_stay_in(tmp_path: Path) -> None:
    (tmp_path / "peers.json").write_text(json.dumps(_report(load=7.0)))
    text = page(tmp_path, tmp_path)
    assert "| faster | 1.0000 | 0.500 | 10.0 | 12.0 | 30 | 0.50 (0.40 to 0.60) |" in text
    assert "refused: cosine 0.5000, at least 0.999 is needed" in text
    assert "absent: other is not installed" in text
    assert "it fell over" in text
    assert "a processor, 2 cores, a system" in text
    assert "numpy 2" in text
    assert "**A quick run**" in text
    assert "**The machine was shared**: its load average was up to 7.0" in text
    assert "Not run yet: kinds of fusion, LoadGen." in text
    assert (tmp_path / "peers.svg").read_text().startswith("<?xml")


def test_a_calm_machine_is_not_called_shared(tmp_path: Path) -> None:
    (tmp_path / "peers.json").write_text(json.dumps(_report(load=1.0)))
    assert "was shared" not in page(tmp_path, tmp_path)


def test_the_page_of_the_repository_is_up_to_date(root: Path, tmp_path: Path) -> None:
    assert page(root / "docs" / "results", tmp_path) == (root / "docs" / "benchmarks.md").read_text()
