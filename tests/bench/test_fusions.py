"""Kinds of fusion with every set of modalities: counts and shares must be right; times are not tested."""

from __future__ import annotations

from pathlib import Path

import pytest
from chiasm.bench.fusions import bench_fusions, fusion_tables, subsets
from chiasm.bench.settings import Settings
from chiasm.runtime.bundle import open_bundle

pytest.importorskip("onnxruntime", reason="the bench measures the ort backend")


def test_every_non_empty_set_is_there_once() -> None:
    found = subsets(("a", "b", "c", "d"))
    assert len(found) == len(set(found)) == 15
    assert found[0] == ("a",)
    assert found[-1] == ("a", "b", "c", "d")


def test_skipped_work_is_that_of_the_absent_encoders(tiny: Path) -> None:
    report = bench_fusions(Settings(tiny, seconds=0.05, threads=1))
    manifest = open_bundle(tiny).manifest
    assert len(report["rows"]) == 15 * len(manifest.fused.kinds)
    whole = [row for row in report["rows"] if len(row["present"]) == 4]
    assert all(row["skipped"] == 0 for row in whole)
    kind = manifest.fused.default
    singles = {row["present"][0]: row["skipped"] for row in report["rows"]
               if row["fusion"] == kind and len(row["present"]) == 1}  # fmt: skip
    pairs = {tuple(row["present"]): row["skipped"] for row in report["rows"]
             if row["fusion"] == kind and len(row["present"]) == 2}  # fmt: skip
    assert all(0 <= each < 1 for each in singles.values())
    # A single set skips all encoders but one, so the four of them skip all encoders three times.
    a, b, *_ = manifest.fused.order
    assert pairs[a, b] == pytest.approx(singles[a] + singles[b] - sum(singles.values()) / 3)
    assert set(report["peak_rss_mib"]) == set(manifest.fused.kinds)
    assert next(fusion_tables(report)).row_count == 16
