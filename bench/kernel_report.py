"""The report of `chiasm bench kernels` as a table, for a terminal and for a document, and what of it was not reached.

`python -m chiasm.bench.kernel_report REPORT.json` writes the table of `docs/kernels.md`.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["kernel_markdown", "missed", "print_kernel_table"]

_MARKS = {True: "met", False: "not met", None: ""}
_COLOURS = {"met": "green", "not met": "red"}
_FIGURES = 33
"""Columns of a terminal that the figures take."""


def missed(report: Mapping[str, Any]) -> list[str]:
    """The wanted ratios that were measured and not reached, in words."""
    return [
        f"{case['name']} against {name}: {peer['times_as_fast']:.2f} times as fast, wanted {peer['wanted']:g}"
        for case in report["cases"]
        for name, peer in case["peers"].items()
        if peer["met"] is False
    ]


def print_kernel_table(report: Mapping[str, Any], console: Console) -> None:
    """A line for each case, and below it ours and its peers. It fits 80 columns; longer names go over two lines."""
    console.print(_machine(report), soft_wrap=True, highlight=False)
    console.print(f"[dim]{_bound(report)}[/]\n", soft_wrap=True, highlight=False)
    width = min(console.width, 110) - _FIGURES
    console.print(f"{'':{width}}{'ms':>8}{'times':>8}{'wanted':>8}", highlight=False)
    for case in report["cases"]:
        console.print(f"[bold]{case['name']}[/]", highlight=False)
        for name, figures, mark in _lines(case):
            wrapped = textwrap.wrap(name, width - 2, initial_indent="  ", subsequent_indent="    ")
            first, *rest = (part.replace("[", "\\[") for part in wrapped)
            style = _COLOURS.get(mark, "default")
            console.print(
                f"{first:{width}}{''.join(f'{figure:>8}' for figure in figures)} [{style}]{mark}[/]", highlight=False
            )
            for part in rest:
                console.print(part, highlight=False)
        for name, reason in case["absent"].items():
            console.print(f"  [yellow]{name}: {reason}[/]", highlight=False)


def kernel_markdown(report: Mapping[str, Any]) -> str:
    """The same for a document, with the day, the versions and the notes of the cases."""
    packages = ", ".join(f"{name} {version}" for name, version in sorted(report["packages"].items()) if version)
    lines = [
        f"{_machine(report)}; {report['when'][:10]}; {packages}.",
        f"B{_bound(report)[1:]}.",
        "",
        "| case, and its peers | ms | times as fast | wanted | |",
        "|---|---:|---:|---:|---|",
    ]
    for case in report["cases"]:
        lines.append(
            f"| **{case['name']}**: {case['note']} | | | | |" if case["note"] else f"| **{case['name']}** | | | | |"
        )
        for name, figures, mark in _lines(case):
            lines.append(f"| {name} | {' | '.join(figures)} | {mark} |")
        lines += [f"| {name}: {reason} | | | | |" for name, reason in case["absent"].items()]
    return "\n".join(lines) + "\n"


def _machine(report: Mapping[str, Any]) -> str:
    where, kernels = report["machine"], report["kernels"]
    in_use = kernels["why_not"] or f"{kernels['backend']} ({kernels['instructions']})"
    return f"{where['cpu']}, {where['cores']} cores, {where['os']}; kernels: {in_use}"


def _bound(report: Mapping[str, Any]) -> str:
    return f"bound: the bytes of a case at {report['copy_bandwidth_gb_s']:.1f} GB/s, copied by one thread"


def _lines(case: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str, str], str]]:
    """Ours, then each peer: its name, three figures, and whether the wanted one was reached."""
    yield f"ours, {100 * case['share_of_bound']:.0f} % of the bound", (_figure(case["ours_ms"]), "", ""), ""
    for name, peer in case["peers"].items():
        wanted = "" if peer["wanted"] is None else f"{peer['wanted']:.3g}"
        yield name, (_figure(peer["ms"]), f"{peer['times_as_fast']:.3g}", wanted), _MARKS[peer["met"]]


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.stdout.write(kernel_markdown(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
