"""First results in fresh processes; one that fails is a row with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from chiasm.bench.fresh import environment
from chiasm.bench.peers.fresh import first_results
from chiasm.bench.peers.works import WORKS


def test_a_fresh_process_reports_time_and_memory(place: Path) -> None:
    peers = {"chiasm": "ours", "nobody": "nobody_at_all"}
    found = first_results(WORKS["vit-b32"], peers, place, 1, "tiny", 1)
    assert found["chiasm"]["first_result_s"] > 0
    assert found["chiasm"]["peak_rss_mib"] > 10
    assert found["chiasm"]["runs"] == 1
    assert "nobody_at_all" in found["nobody"]["error"]


def test_fresh_processes_keep_what_python_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a source tree is compiled in every one of them, and an installed package in none."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("CHIASM_TUNED", "somewhere")
    assert "PYTHONDONTWRITEBYTECODE" not in environment()
    assert environment()["CHIASM_TUNED"] == "somewhere"
