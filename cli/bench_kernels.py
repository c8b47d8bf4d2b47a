"""`chiasm bench kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from .common import emit_json, progress, stderr, stdout

__all__ = ["bench_kernels"]


def bench_kernels(only: Sequence[str], seconds: float, out: Path | None, as_json: bool) -> None:
    """Measure, print, write. Exit code 1 when a wanted ratio was measured and not reached."""
    from ..bench import write_json
    from ..bench.kernel_bench import run_kernel_bench
    from ..bench.kernel_report import missed, print_kernel_table
    from ..runtime.sinks import check_output

    if out is not None:
        check_output(out)
    with progress("bench kernels") as advance:
        report = run_kernel_bench(only, seconds, advance)
    if out is not None:
        write_json(report, out)
        stderr().print(f"wrote {out}", soft_wrap=True)
    if as_json:
        emit_json(report)
    else:
        print_kernel_table(report, stdout())
    if missed(report):
        raise typer.Exit(1)
