"""A bench report as one JSON file and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.sinks import write_file

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_tables", "unmet", "write_json"]

_COLUMNS = ("mean", "p50", "p90", "p99", "p99.9", "max")


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """Write the report, atomically. Raises `SinkError` when it cannot be written."""
    import msgspec

    write_file(path, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def unmet(report: Mapping[str, Any]) -> list[str]:
    """The criteria that were measured and not met, in words."""
    return [
        f"{name}: {_words(criterion)}"
        for name, scenario in report["scenarios"].items()
        for criterion in scenario.get("criteria", ())
        if criterion["met"] is False
    ]


def _words(criterion: Mapping[str, Any]) -> str:
    value, limit = _figure(criterion["value"]), _figure(criterion["limit"])
    return f"{criterion['name']}: {value} {criterion['unit']}, limit {limit} {criterion['unit']}"


def print_tables(report: Mapping[str, Any], console: Console) -> None:
    """Headlines, latencies, stages and criteria; what was not measured is left out."""
    where = report["machine"]
    console.print(
        f"{report['bundle']['name']} on {where['cpu']}, {where['cores']} cores, {where['os']}", soft_wrap=True
    )
    console.print(f"[dim]{report['note']}[/]\n", soft_wrap=True)
    scenarios: Mapping[str, Any] = report["scenarios"]
    console.print(_headlines(scenarios))
    latencies = [
        (f"{name} {label}", scenario[key])
        for name, scenario in scenarios.items()
        for key, label in (
            ("latency_ms", "latency"),
            ("everything_ms", "everything encoded"),
            ("frame_age_ms", "frame age"),
        )
        if key in scenario
    ]
    if latencies:
        console.print(_spreads("latency, ms", latencies))
    staged = next((name for name in ("single-stream", "fixed-rate", "overload") if name in scenarios), None)
    if staged:
        console.print(_spreads(f"stages of {staged}, ms", list(scenarios[staged]["stages_ms"].items())))
    if "by_encoded_ms" in scenarios.get("caching", {}):
        console.print(_spreads("caching by what was encoded, ms", list(scenarios["caching"]["by_encoded_ms"].items())))
    if "speedups" in scenarios.get("caching", {}):
        console.print(_speedups(scenarios["caching"]["speedups"]))
    if any("criteria" in scenario for scenario in scenarios.values()):
        console.print(_criteria(scenarios))


def _table(title: str, first: str, numbers: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _headlines(scenarios: Mapping[str, Any]) -> Table:
    table = _table("scenarios", "scenario", ("figure", "value", "steps", "dropped", "peak MiB"))
    for name, scenario in scenarios.items():
        headline = scenario["headline"]
        value = f"{_figure(headline['value'])} {headline['unit']}"
        if headline["value"] is None and scenario.get("steps"):
            value = "too few steps"  # for a p99, say: a longer run has it
        dropped = sum(scenario["dropped"].values()) if "dropped" in scenario else None
        memory = scenario.get("peak_rss_mib") or scenario.get("median", {}).get("peak_rss_mib")
        cells = (scenario.get("steps"), dropped, None if memory is None else round(memory))
        table.add_row(name, headline["name"], value, *("" if cell is None else str(cell) for cell in cells))
    return table


def _spreads(title: str, rows: Sequence[tuple[str, Mapping[str, float | None]]]) -> Table:
    table = _table(title, "what", _COLUMNS)
    for name, spread in rows:
        table.add_row(name, *(_figure(spread[column]) for column in _COLUMNS))
    return table


def _speedups(speedups: Mapping[str, Sequence[float]]) -> Table:
    table = _table(
        "caching: steps/s against everything encoded", "with", ("a step per capture of the fastest", "of any")
    )
    for name, figures in speedups.items():
        table.add_row(name, *map(_figure, figures))
    return table


def _criteria(scenarios: Mapping[str, Any]) -> Table:
    table = _table("criteria", "what", ("value", "limit", ""))
    marks = {True: "[green]met[/]", False: "[red]not met[/]", None: "[yellow]not measured[/]"}
    for name, scenario in scenarios.items():
        for criterion in scenario.get("criteria", ()):
            value, limit = _figure(criterion["value"]), f"{_figure(criterion['limit'])} {criterion['unit']}"
            table.add_row(f"{name}: {criterion['name']}", value, limit, marks[criterion["met"]])
    return table


def _figure(value: float | None) -> str:
    """Three significant digits; a dash for what too few samples cannot tell."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
