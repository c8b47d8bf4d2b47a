"""`chiasm compile`: the graphs of a bundle → engines of TensorRT or TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import BundleArgument, JsonOption, bundle_path, emit_json, progress, stderr, stdout

if TYPE_CHECKING:
    from ..export.to_engine import Job, Line

_MIB, _GIB = 2**20, 2**30


def command(
    bundle: BundleArgument,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="A target (see chiasm targets); several make one engine."),
    ] = None,
    capability: Annotated[
        list[str] | None,
        typer.Option("--capability", metavar="X.Y", help="A compute capability in a target's place, as in 8.9."),
    ] = None,
    vendor: Annotated[
        str | None,
        typer.Option("--vendor", metavar="NAME", help="tensorrt_rtx or tensorrt; default: RTX where it can."),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", metavar="NAME", help="fp32, fp16, or int8 where a part has int8-trt.")
    ] = "fp16",
    part: Annotated[
        list[str] | None, typer.Option("--part", metavar="NAME", help="Only this part; may be given several times.")
    ] = None,
    level: Annotated[
        int | None, typer.Option("--level", metavar="0-5", help="How long the builder searches.", min=0, max=5)
    ] = None,
    workspace: Annotated[
        int | None, typer.Option("--workspace", metavar="MIB", help="Scratch that an engine may plan with.", min=1)
    ] = None,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave weights out: they come from the bundle when an engine is opened.")
    ] = False,
    engines: Annotated[
        Path | None, typer.Option("--engines", metavar="FOLDER", help="Where engines are kept; default: in the bundle.")
    ] = None,
    limit: Annotated[
        float, typer.Option("--limit", metavar="GIB", help="Beyond it the engines unused for longest go.", min=0.001)
    ] = 8.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be built, and build nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build engines ahead of time, so that no request ever waits for one. What is there already is not built again.

    Without a target they are for this machine. TensorRT-RTX builds for any of its GPUs, and needs none; TensorRT, which
    Jetson and data-centre GPUs take, builds on the device only.

    Says first about how long it will take and how much memory it will need. It may be ended at any moment: engines
    that were finished stay, and nothing half written does.
    """
    from ..export.to_engine import Wish, compile_engines, meant_for, plan_engines
    from ..runtime.bundle import open_bundle
    from ..runtime.engines import EngineStore, engine_folder

    opened = open_bundle(bundle_path(bundle))
    store = EngineStore(engines or engine_folder(opened.path), int(limit * _GIB))
    meant = meant_for(target or (), capability or ())
    wish = Wish(
        vendor=vendor or meant.vendor, capabilities=meant.capabilities, precision=precision, parts=tuple(part or ()),
        level=level, workspace=meant.workspace if workspace is None else workspace * _MIB, strip=strip,
    )  # fmt: skip
    jobs = plan_engines(opened, wish, store)
    if not as_json:
        stderr().print(_outlook(jobs), soft_wrap=True)
    if dry_run:
        emit_json({"engines": jobs}) if as_json else _print_jobs(jobs)
        return
    with progress("compile", quiet=as_json) as advance:
        lines = compile_engines(opened, jobs, wish, store, progress=advance)
    if as_json:
        emit_json({"folder": str(store.folder), "engines": lines})
        return
    _print_lines(lines)
    stdout().print(f"Kept in {store.folder}", soft_wrap=True)


def _outlook(jobs: Sequence[Job]) -> str:
    todo = [job for job in jobs if not job.there]
    if not todo:
        return f"All {len(jobs)} engines are there."
    seconds, mib = sum(job.expected_s for job in todo), max(job.expected_mib for job in todo)
    time = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    return f"{len(todo)} of {len(jobs)} engines to build: about {time}, and up to {mib:,.0f} MiB of memory."


def _print_jobs(jobs: Sequence[Job]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("part", "precision", "graph MB", "about s", "about MiB", ""):
        table.add_column(name, justify="left" if name in ("part", "precision", "") else "right")
    for job in jobs:
        size = f"{job.graph_bytes / 1e6:.1f}"
        cost = ("", "") if job.there else (f"{job.expected_s:.1f}", f"{job.expected_mib:.0f}")
        table.add_row(job.key.part, job.key.precision, size, *cost, "there" if job.there else "to build")
    stdout().print(table)


def _print_lines(lines: Sequence[Line]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("part", "precision", "for", "MB", "s", "peak MiB", ""):
        table.add_column(name, justify="left" if name in ("part", "precision", "for", "") else "right")
    for line in lines:
        table.add_row(
            line.part, line.precision, " ".join(line.capabilities), f"{line.bytes / 1e6:.2f}", f"{line.seconds:.1f}",
            f"{line.peak_mib:.0f}", "cached" if line.cached else "built",
        )  # fmt: skip
    stdout().print(table)
