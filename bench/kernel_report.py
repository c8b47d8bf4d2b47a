"""The report of `chiasm bench kernels` as a table, and what of it was not reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["missed", "print_kernel_table"]

_MARKS = {True: "[green]met[/]", False: "[red]not met[/]", None: ""}


def missed(report: Mapping[str, Any]) -> list[str]:
    """The wanted ratios that were measured and not reached, in words."""
    return [
        f"{case['name']} against {name}: {peer['times_as_fast']:.2f} times as fast, wanted {peer['wanted']:g}"
        for case in report["cases"]
        for name, peer in case["peers"].items()
        if peer["met"] is False
    ]


def print_kernel_table(report: Mapping[str, Any], console: Console) -> None:
    """A row for each case, and one below it for each peer."""
    from rich.table import Table

    where, kernels = report["machine"], report["kernels"]
    in_use = kernels["why_not"] or f"{kernels['backend']} ({kernels['instructions']})"
    console.print(f"{where['cpu']}, {where['cores']} cores, {where['os']}; kernels: {in_use}", soft_wrap=True)
    bandwidth = report["copy_bandwidth_gb_s"]
    console.print(f"[dim]bound: the bytes of a case at {bandwidth:.1f} GB/s, copied by one thread[/]\n")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("case, and its peers", "ms", "bound", "times as fast", "wanted", ""):
        table.add_column(name, justify="left" if name.startswith("case") else "right", overflow="fold")
    for case in report["cases"]:
        table.add_row(f"[bold]{case['name']}[/]", _figure(case["ours_ms"]), f"{100 * case['share_of_bound']:.0f} %")
        for name, peer in case["peers"].items():
            wanted = "" if peer["wanted"] is None else f"{peer['wanted']:.3g}"
            ratio, mark = f"{peer['times_as_fast']:.3g}", _MARKS[peer["met"]]
            table.add_row(f"  {name}", _figure(peer["ms"]), "", ratio, wanted, mark)
        for name, reason in case["absent"].items():
            table.add_row(f"  {name}", "-", "", "", "", f"[yellow]{reason}[/]")
    console.print(table)


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
