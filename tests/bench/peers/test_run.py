"""A whole race of tiny models: everyone answers alike, and who is not here is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chiasm.bench.peers import plain_ort, run
from chiasm.bench.peers.race import Pace
from chiasm.runtime.errors import InputError

QUICK = Pace(seconds=0.05, samples=3, turn=2, warm_up=1)
PEERS = ("ours", "ours_fp32", "eager", "plain_ort")


@pytest.fixture(scope="module")
def report(place: Path) -> dict[str, Any]:
    return run.run_races(["vit-b32-network"], place, QUICK, threads=1, size="tiny", peers=PEERS, repeats=0)


def test_everyone_answers_as_transformers_does(report: dict[str, Any]) -> None:
    race = report["races"]["vit-b32-network"]
    assert [row["name"] for row in race["rows"]] == ["chiasm", "chiasm, FP32", "transformers eager", "ONNX Runtime"]
    assert all(row["cosine"] >= row["limit"] and row["samples"] >= 1 for row in race["rows"])
    assert race["rows"][0]["times_ours"] == {"median": 1.0, "p10": 1.0, "p90": 1.0}
    assert race["absent"] == {}
    assert report["pace"]["quick"]
    assert report["versions"]["torch"]


def test_who_is_not_installed_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_ort, "NEEDS", ("a_package_that_nobody_has",))
    made = run.run_races(
        ["vit-b32"], place, QUICK, threads=1, size="tiny", peers=("ours", "eager", "plain_ort"), repeats=0
    )
    race = made["races"]["vit-b32"]
    assert race["absent"] == {"ONNX Runtime": "a_package_that_nobody_has is not installed"}
    assert [row["name"] for row in race["rows"]] == ["chiasm", "transformers eager"]


def test_without_the_truth_nobody_races(place: Path) -> None:
    with pytest.raises(InputError, match="nothing to compare with"):
        run.race_work(run.WORKS["vit-b32"], place, QUICK, 1, "tiny", ("ours",), lambda title, share: None)


def test_an_unknown_workload_is_named() -> None:
    with pytest.raises(InputError, match="no such workload: found vit, expected vit-b32"):
        run.chosen(["vit"])
