"""`chiasm bench kernels`: what is measured, and what is said of it."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chiasm.bench import kernel_bench, kernel_cases
from chiasm.bench.kernel_bench import copy_bandwidth, run_kernel_bench
from chiasm.bench.kernel_cases import Case, absences, cases, subjects
from chiasm.bench.kernel_report import kernel_markdown, missed, print_kernel_table
from chiasm.runtime.errors import InputError
from rich.console import Console


def busy(amount: int) -> Any:
    return lambda: sum(range(amount))


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of cases whose order is known: a peer that does thirty times the work, and one that does a thirtieth."""
    peers = {"more": busy(90000), "less": busy(100)}
    made = [
        Case("add up", busy(3000), peers, 1 << 20, "a note", {"lost": "no such thing"}, {"more": 2.0, "less": 1.0}),
        Case("alone", busy(10), {}, 10),
    ]
    monkeypatch.setattr(kernel_bench, "cases", lambda subject: made)
    monkeypatch.setattr(kernel_bench, "subjects", lambda: ["sums"])
    return run_kernel_bench(["sums"], seconds=0.05)


def test_what_is_measured(report: dict[str, Any]) -> None:
    first, second = report["cases"]
    assert (first["subject"], first["name"], first["note"]) == ("sums", "add up", "a note")
    assert first["rounds"] >= kernel_bench.ROUNDS
    assert first["peers"]["more"]["times_as_fast"] > 2.0
    assert first["peers"]["more"]["met"] is True
    assert first["peers"]["less"]["met"] is False
    assert first["absent"] == {"lost": "no such thing"}
    assert first["bound_ms"] == pytest.approx(1000 * (1 << 20) / (1e9 * report["copy_bandwidth_gb_s"]))
    assert first["share_of_bound"] == pytest.approx(first["bound_ms"] / first["ours_ms"])
    assert second["peers"] == {}
    assert report["kernels"]["backend"] in ("c++", "numpy")
    json.dumps(report)


def test_what_is_said(report: dict[str, Any]) -> None:
    assert len(missed(report)) == 1
    assert missed(report)[0].startswith("add up against less: 0.")
    said = StringIO()
    print_kernel_table(report, Console(file=said, width=200))
    for words in ("add up", "  more", "no such thing", "not met", "GB/s"):
        assert words in said.getvalue()
        assert words.strip() in kernel_markdown(report)


def test_a_long_name_goes_over_two_lines_of_eighty_columns(report: dict[str, Any]) -> None:
    name = "a peer whose name has more words than the column of names has room for"
    report["cases"][0]["peers"][name] = report["cases"][0]["peers"]["more"]
    said = StringIO()
    print_kernel_table(report, Console(file=said, width=80))
    lines = said.getvalue().splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("  a peer whose"))
    assert lines[first].rstrip().endswith("met")
    assert lines[first + 1].startswith("    ")
    assert max(map(len, lines[2:])) <= 80


def test_the_documents_table_is_the_kept_report(root: Path) -> None:
    path = root / "docs" / "results" / "bench-kernels.json"
    if not path.exists():
        pytest.skip("no report is kept yet: it wants a calm machine")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kernel_markdown(kept) in (root / "docs" / "kernels.md").read_text(encoding="utf-8")


def test_copy_bandwidth_is_a_rate() -> None:
    assert 1e8 < copy_bandwidth(8) < 1e13


@pytest.mark.parametrize(("only", "seconds"), [(["cooking"], 1.0), ([], 0.0), ([], float("nan"))])
def test_what_cannot_be_measured(only: list[str], seconds: float) -> None:
    with pytest.raises(InputError):
        run_kernel_bench(only, seconds)


def test_every_subject_has_cases_that_run() -> None:
    assert "image" in subjects()
    for subject in subjects():
        made = cases(subject)
        assert made
        assert len({case.name for case in made}) == len(made)
        for case in made:
            assert case.bytes_moved > 0
            assert set(case.wanted) <= {*case.peers, *case.absent}
            assert not set(case.peers) & set(case.absent)
            for call in (case.ours, *case.peers.values()):
                call()


def test_a_peer_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    finds = {"here": SimpleNamespace()}
    monkeypatch.setattr(kernel_cases.util, "find_spec", finds.get)
    assert absences({"one": "here.inside", "other": "gone"}) == {"other": "gone is not installed"}


def test_the_command(report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from chiasm.cli import main

    monkeypatch.setattr(kernel_bench, "run_kernel_bench", lambda *arguments: report)
    with pytest.raises(SystemExit) as left:
        main(["bench", "kernels", "--only", "sums", "--json", "--out", str(tmp_path / "kernels.json")])
    assert left.value.code == 1  # one wanted ratio is not reached
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "kernels.json").read_text())
    with pytest.raises(SystemExit) as left:
        main(["bench", "reference", "--only", "image"])
    assert left.value.code == 2
    assert "chiasm bench kernels" in capsys.readouterr().err
