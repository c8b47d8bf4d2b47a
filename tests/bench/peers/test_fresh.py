"""First results in fresh processes; one that fails is a row with its reason."""

from __future__ import annotations

from pathlib import Path

from chiasm.bench.peers.fresh import first_results
from chiasm.bench.peers.works import WORKS


def test_a_fresh_process_reports_time_and_memory(place: Path) -> None:
    peers = {"chiasm": "ours", "nobody": "nobody_at_all"}
    found = first_results(WORKS["vit-b32"], peers, place, 1, "tiny", 1)
    assert found["chiasm"]["first_result_s"] > 0
    assert found["chiasm"]["peak_rss_mib"] > 10
    assert found["chiasm"]["runs"] == 1
    assert "nobody_at_all" in found["nobody"]["error"]
