from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from chiasm.bench import Settings, plot, print_tables, run_bench, unmet, write_json
from chiasm.bench.percentiles import spread
from chiasm.bench.plots import check_plot
from chiasm.bench.runner import SCENARIOS
from chiasm.runtime.errors import InputError, MissingExtraError, SinkError
from rich.console import Console


@pytest.fixture(scope="module")
def report(tiny: Path) -> dict[str, Any]:
    """Real figures of two short scenarios, and a hand-made one with every kind of criterion."""
    made = run_bench(Settings(tiny, "null", seconds=0.1, warm_up=1), ("single-stream", "fixed-rate"))
    made["scenarios"]["overload"] = {
        "steps": 3,
        "seconds": 1.0,
        "headline": {"name": "p99 frame age", "value": None, "unit": "ms"},
        "latency_ms": spread([1.0, 2.0, 3.0]),
        "frame_age_ms": spread([2.0, 3.0, 4.0]),
        "stages_ms": {},
        "samples_ms": [1.0, 2.0, 3.0],
        "age_samples_ms": [2.0, 3.0, 4.0],
        "resident_mib": [100.0, 101.0],
        "dropped": {"image": 2, "audio": 1},
        "peak_rss_mib": 101.0,
        "criteria": [
            {"name": "kept", "value": 1.0, "limit": 2.0, "unit": "ms", "met": True},
            {"name": "broken", "value": 250.0, "limit": 2.0, "unit": "ms", "met": False},
            {"name": "unknown", "value": None, "limit": 2.0, "unit": "ms", "met": None},
        ],
    }
    return made


def test_the_report_says_what_where_and_how(report: dict[str, Any]) -> None:
    assert report["format"] == "chiasm-bench"
    assert "not MLPerf compliant" in report["note"]
    assert report["bundle"]["name"] == "tiny"
    assert report["machine"]["cores"] >= 1
    assert report["packages"]["numpy"]
    assert report["settings"]["backend"] == "null"


def test_written_and_read_back(report: dict[str, Any], tmp_path: Path) -> None:
    write_json(report, tmp_path / "new" / "bench.json")
    assert json.loads((tmp_path / "new" / "bench.json").read_text()) == json.loads(json.dumps(report))
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_what_cannot_be_written_leaves_nothing(report: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for write, path in ((write_json, tmp_path / "taken"), (plot, tmp_path / "taken.png")):
        if path.suffix:
            path.mkdir()
        with pytest.raises(SinkError, match="cannot be written"):
            write(report, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken", "taken.png"]


def test_only_what_was_measured_and_missed_is_unmet(report: dict[str, Any]) -> None:
    assert unmet(report) == ["overload: broken: 250 ms, limit 2 ms"]


def test_the_tables_name_everything(report: dict[str, Any]) -> None:
    text = StringIO()
    print_tables(report, Console(file=text, width=160))
    for word in ("single-stream", "p99.9", "encode.image", "not met", "not measured", "overload: kept", "not MLPerf",
                 "too few steps"):  # fmt: skip
        assert word in text.getvalue()


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_plot_of_each_kind(report: dict[str, Any], tmp_path: Path, suffix: str, start: bytes) -> None:
    pytest.importorskip("matplotlib", reason="the plot is drawn by matplotlib")
    path = tmp_path / f"bench{suffix}"
    plot(report, path)
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


def test_no_matplotlib_is_said_before_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"chiasm\[report\]"):
        check_plot(Path("x.png"))


@pytest.mark.parametrize(
    ("scenarios", "changes", "complaint"),
    [
        (("single-strem",), {}, "single-strem"),
        (("offline",), {"seconds": 0.0}, "seconds"),
        (("offline",), {"seconds": float("nan")}, "seconds"),
        (("fixed-rate",), {"rate_hz": -1.0}, "rate_hz"),
    ],
)
def test_bad_settings(tiny: Path, scenarios: tuple[str, ...], changes: dict[str, float], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        run_bench(Settings(tiny, **changes), scenarios)  # type: ignore[arg-type]


def test_all_means_all(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    fakes = {name: lambda settings, progress, name=name: ran.append(name) or {} for name in SCENARIOS}
    monkeypatch.setattr("chiasm.bench.runner.SCENARIOS", fakes)
    run_bench(Settings(tiny))
    assert ran == ["single-stream", "offline", "fixed-rate", "overhead", "caching", "overload", "startup"]


def test_the_command_gives_json_a_plot_and_a_verdict(
    chiasm_main: Callable[..., tuple[int, str]], tiny: Path, report: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("chiasm.bench.runner.run_bench", lambda settings, scenarios, progress: report)
    code, out = chiasm_main("bench", str(tiny), "--json", "--out", str(tmp_path / "b.json"))
    assert code == 1  # a criterion of the report is not met
    assert json.loads(out)["format"] == "chiasm-bench"
    assert (tmp_path / "b.json").is_file()


@pytest.fixture
def chiasm_main(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    from chiasm.cli import main

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(words)
        return int(left.value.code or 0), capfd.readouterr().out

    return call
