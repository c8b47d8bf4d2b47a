"""Races as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_races", "said"]


def said(row: Mapping[str, Any]) -> str:
    """How many times ours somebody took, with the spread over the rounds; or why not."""
    if "refused" in row:
        return f"refused: {row['refused']}"
    times = row["times_ours"]
    if times is None:
        return "-"
    return f"{times['median']:.2f} ({times['p10']:.2f} to {times['p90']:.2f})"


def print_races(report: Mapping[str, Any], console: Console) -> None:
    """One table a workload; who is absent is named."""
    from rich.table import Table

    where = report["machine"]
    console.print(f"{where['cpu']}, {where['cores']} cores, {report['threads']} threads", soft_wrap=True)
    if report["pace"]["quick"]:
        console.print("[dim]A quick run: fewer samples than a figure to quote needs.[/]", soft_wrap=True)
    for name, race in report["races"].items():
        table = Table(title=f"{name}: {race['says']}", title_justify="left", box=None, padding=(0, 2, 0, 0))
        table.add_column("peer")
        for column in ("cosine", "p50 ms", "p90 ms", "samples", "times ours"):
            table.add_column(column, justify="right")
        for row in race["rows"]:
            latency = row.get("latency_ms")
            cells = ("-", "-", "-") if latency is None else (
                f"{latency['p50']:.1f}", "-" if latency["p90"] is None else f"{latency['p90']:.1f}", str(row["samples"])
            )  # fmt: skip
            table.add_row(row["name"], f"{row['cosine']:.4f}", *cells, said(row))
        for peer, why in race["absent"].items():
            table.add_row(peer, "-", "-", "-", "-", f"absent: {why}")
        console.print(table)
    for name, each in report.get("fresh", {}).items():
        table = Table(title=f"{name} in a fresh process", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in ("peer", "first result, s", "peak MiB"):
            table.add_column(column, justify="left" if column == "peer" else "right")
        for peer, found in each.items():
            if "error" in found:
                table.add_row(peer, found["error"], "-")
            else:
                table.add_row(peer, f"{found['first_result_s']:.2f}", f"{found['peak_rss_mib']:.0f}")
        console.print(table)
    for name, found in report.get("frame_age", {}).items():
        if isinstance(found, Mapping) and "age_ms" in found:
            console.print(f"frame age at twice the rate, {name}: p50 {found['age_ms']['p50']:.0f} ms", soft_wrap=True)
    for way, sizes in report.get("installed_mib", {}).items():
        words = "not installed" if sizes is None else f"{sum(sizes.values()):.0f} MiB installed"
        console.print(f"{way}: {words}", soft_wrap=True)
