"""LoadGen as the clock: its own log says what it thinks of a short run."""

from __future__ import annotations

from pathlib import Path

import pytest
from chiasm.bench import load_gen
from chiasm.bench.load_gen import read_summary, run_load_gen
from chiasm.bench.settings import Settings
from chiasm.runtime.errors import BackendError, InputError
from chiasm.runtime.pipeline import Pipeline

pytest.importorskip("onnxruntime", reason="the bench measures the ort backend")


@pytest.fixture
def settings(tiny: Path) -> Settings:
    pytest.importorskip("mlperf_loadgen", reason="pip install mlcommons-loadgen")
    return Settings(tiny, seconds=0.3, threads=1, warm_up=5)


@pytest.mark.parametrize("scenario", ["single-stream", "offline", "server"])
def test_a_short_run_is_judged_by_its_own_log(settings: Settings, scenario: str, tmp_path: Path) -> None:
    report = run_load_gen(settings, scenario, tmp_path / "logs")
    text = (tmp_path / "logs" / "mlperf_log_summary.txt").read_text()
    assert ("Result is : VALID" in text) == report["valid"]
    assert "Min queries satisfied : Yes" in text
    assert report["samples"] >= load_gen.QUERIES[scenario]
    assert "NOT MLPerf compliant" in report["note"]
    assert report["summary"]["Scenario"].lower() == scenario.replace("-", "")


def test_multi_stream_takes_eight_at_a_time(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_gen, "QUERIES", {"multi-stream": 3})
    report = run_load_gen(settings, "multi-stream", tmp_path / "logs")
    assert report["samples"] % 8 == 0
    assert report["samples"] >= 24


def test_a_step_that_fails_is_told_after_the_run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = Pipeline.__call__, list[int]()

    def failing(self: Pipeline, **packets: object) -> object:
        calls.append(1)
        if len(calls) > 15:
            raise BackendError("the device is gone")
        return whole(self, **packets)

    monkeypatch.setattr(Pipeline, "__call__", failing)
    with pytest.raises(BackendError, match="A step failed under LoadGen: found the device is gone"):
        run_load_gen(settings, "single-stream", tmp_path / "logs")


def test_an_unknown_scenario_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such scenario: found cloud"):
        run_load_gen(Settings(tiny), "cloud", tmp_path)


def test_a_missing_summary_is_said(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="left no summary"):
        read_summary(tmp_path / "none.txt")
