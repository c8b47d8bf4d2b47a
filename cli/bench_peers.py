"""`chiasm bench peers`, `chiasm bench fusion`, and `chiasm bench BUNDLE --loadgen`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..runtime.errors import InputError
from .common import emit_json, progress, stderr, stdout

if TYPE_CHECKING:
    from ..bench import Settings

__all__ = ["bench_fusion", "bench_loadgen", "bench_peers"]


def bench_peers(
    workloads: Sequence[str], only: Sequence[str], work: Path | None, seconds: float, threads: int | None, repeats: int,
    out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Race, print, write. A peer that is not installed is a row that says so."""
    from ..bench.peers.race import Pace
    from ..bench.peers.report import print_races
    from ..bench.peers.run import chosen_peers, run_races

    if work is None:
        raise InputError(
            "The models of a race need a place", found="no --work", expected="--work FOLDER",
            fix="A few GB of checkpoints and bundles stay there, so that the next race starts at once.",
        )  # fmt: skip
    _can_write(out)
    with progress("bench peers") as advance:
        report = run_races(
            workloads, work, Pace(seconds), threads=threads, peers=chosen_peers(only), repeats=repeats, progress=advance
        )
    _hand_over(report, out, as_json)
    if not as_json:
        print_races(report, stdout())


def bench_fusion(settings: Settings, out: Path | None, as_json: bool) -> None:
    """Measure, print, write."""
    from ..bench.fusions import bench_fusions, fusion_tables

    _can_write(out)
    with progress("bench fusion") as advance:
        report = bench_fusions(settings, advance)
    _hand_over(report, out, as_json)
    if not as_json:
        for table in fusion_tables(report):
            stdout().print(table)


def bench_loadgen(settings: Settings, scenario: str, out: Path | None, as_json: bool) -> None:
    """Run LoadGen; `out` is the folder of its logs, beside which the report lies. Exit code 1 unless VALID."""
    from ..bench.load_gen import run_load_gen

    if out is None:
        raise InputError("LoadGen writes its logs into a folder", found="no --out", expected="--out FOLDER")
    if out.exists() and not out.is_dir():
        raise InputError("LoadGen writes its logs into a folder", found=f"the file {out}", expected="--out FOLDER")
    with progress(f"loadgen: {scenario}") as advance:
        report = run_load_gen(settings, scenario, out, advance)
    _hand_over(report, out / "report.json", as_json)
    if not as_json:
        console = stdout()
        console.print(f"[dim]{report['note']}[/]", soft_wrap=True)
        for name, value in report["summary"].items():
            if name in _SHOWN or name.endswith(("percentile latency (ns)", "percentile estimate")):
                console.print(f"{name}: {value}", soft_wrap=True)
    if not report["valid"]:
        raise typer.Exit(1)


_SHOWN = (
    "Scenario", "Mode", "Result is", "Samples per second", "Completed samples per second", "Min duration satisfied",
    "Min queries satisfied", "Early stopping satisfied", "Performance constraints satisfied",
)  # fmt: skip


def _can_write(out: Path | None) -> None:
    from ..runtime.sinks import check_output

    if out is not None:
        check_output(out)


def _hand_over(report: dict[str, Any], out: Path | None, as_json: bool) -> None:
    from ..bench import write_json

    if out is not None:
        write_json(report, out)
        stderr().print(f"wrote {out}", soft_wrap=True)
    if as_json:
        emit_json(report)
