"""`chiasm bench peers`, `fusion` and `--loadgen`: what is asked wrongly is one line; what is right is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["peers"], "The models of a race need a place: found no --work, expected --work FOLDER"),
        (["peers", "vit", "--work", "."], "no such workload: found vit"),
        (["reference", "vit-b32"], "workloads belongs to the peers"),
        (["kernels", "--work", "."], "--work belongs to the peers"),
        (["reference", "--loadgen", "server"], "LoadGen writes its logs into a folder: found no --out"),
    ],
)
def test_what_does_not_fit_is_one_line(chiasm: Callable, words: list[str], complaint: str) -> None:
    outcome = chiasm("bench", *words)
    assert outcome.code == 2
    assert complaint in " ".join(outcome.err.split())


def test_fusion_is_measured_and_written(chiasm: Callable, tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    outcome = chiasm("bench", "fusion", "--fusion", "late", "--seconds", "0.05", "--out", str(tmp_path / "fusion.json"))
    assert outcome.code == 0, outcome.err
    assert "image+text+audio+radar" in outcome.out
    rows = json.loads((tmp_path / "fusion.json").read_text())["rows"]
    assert len(rows) == 15
    assert all(row["accuracy"]["hazard"] > 0 for row in rows)


def test_loadgen_keeps_its_logs(chiasm: Callable, tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen")
    pytest.importorskip("onnxruntime")
    outcome = chiasm("bench", str(tiny), "--loadgen", "single-stream", "--seconds", "0.2", "--out", str(tmp_path / "l"))
    assert outcome.code in (0, 1)
    assert "NOT MLPerf compliant" in outcome.out
    assert "Result is" in outcome.out
    report = json.loads((tmp_path / "l" / "report.json").read_text())
    assert report["valid"] == (outcome.code == 0)
    assert (tmp_path / "l" / "mlperf_log_summary.txt").exists()
