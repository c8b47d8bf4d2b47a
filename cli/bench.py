"""`chiasm bench`: how fast, how steady, how fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runtime.errors import InputError
from .bench_kernels import bench_kernels
from .bench_peers import bench_fusion, bench_loadgen, bench_peers
from .common import (
    BackendOption,
    FusionOption,
    JsonOption,
    PrecisionOption,
    ThreadsOption,
    bundle_path,
    emit_json,
    progress,
    stderr,
    stdout,
)


def command(
    bundle: Annotated[
        str,
        typer.Argument(
            help="A bundle's folder, the word 'reference', or 'kernels', 'peers' or 'fusion'.", metavar="BUNDLE"
        ),
    ],
    workloads: Annotated[
        list[str] | None,
        typer.Argument(help="Of peers, only these workloads, such as vit-b32.", metavar="WORKLOAD"),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="single-stream, offline, fixed-rate, overhead, caching, overload, startup, or all. Repeatable; "
            "default: the first three.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="Measuring time of each scenario.", min=0.05)] = 10.0,
    rate: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Rate of fixed-rate in Hz; default: the bundle's fastest.", min=0.1),
    ] = None,
    repeats: Annotated[int, typer.Option(metavar="COUNT", help="Fresh processes, of startup or a peer.", min=1)] = 5,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Seed of the synthetic captures.", min=0)] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SUBJECT",
            help="Of kernels, only these subjects, such as image; of peers, only these files, such as plain_ort. "
            "Repeatable.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the whole report to this JSON file.")] = None,
    work: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Of peers: where checkpoints and bundles lie between runs.")
    ] = None,
    loadgen: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Let MLPerf's LoadGen be the clock: single-stream, multi-stream, offline or server. Its logs go into "
            "the folder --out.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the report into this PNG, SVG or PDF.")
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    fusion: FusionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on this machine: latency, rate, freshness, memory.

    Samples are synthetic captures made from the manifest.

    The names and meanings are MLPerf's where MLPerf has one; these are quick runs and not MLPerf compliant. Exit code 1
    when a measured criterion is not met.

    `chiasm bench peers` races CLIP, BERT, wav2vec 2.0 and a fused step of real size, random weights, beside what is
    installed of transformers, torch.compile, ONNX Runtime and OpenVINO: minutes a workload, more the first time.
    `chiasm bench fusion` measures every kind of fusion of the reference with every set of present modalities.
    `chiasm bench BUNDLE --loadgen NAME` leaves clock and judgement to MLPerf's LoadGen.

    `chiasm bench kernels` measures the kernels instead, for about S seconds each: interleaved with the peers that are
    installed, beside the copy bandwidth of the same run.

    Example: chiasm bench reference --scenario all --seconds 30 --out bench.json --plot bench.png
    """
    from ..bench import Settings, print_tables, run_bench, unmet, write_json
    from ..bench import plot as draw

    _belongs(bundle, "peers", "--work", work)
    _belongs(bundle, "peers", "workloads", workloads)
    if bundle == "kernels":
        bench_kernels(only or (), seconds, out, as_json)
        return
    if bundle == "peers":
        bench_peers(workloads or (), only or (), work, seconds, threads, repeats, out, as_json)
        return
    if only:
        raise InputError("--only chooses kernels or peers", found=bundle, expected="chiasm bench kernels, or peers")
    name = "reference" if bundle == "fusion" else bundle
    settings = Settings(bundle_path(name), backend, precision, threads, fusion, seconds, rate, seed, repeats=repeats)
    if bundle == "fusion":
        bench_fusion(settings, out, as_json)
        return
    if loadgen is not None:
        bench_loadgen(settings, loadgen, out, as_json)
        return
    _can_write(out, plot)
    with progress("bench") as advance:
        report = run_bench(settings, scenario or ("single-stream", "offline", "fixed-rate"), advance)
    if out is not None:
        write_json(report, out)
    if plot is not None:
        draw(report, plot)
    if as_json:
        emit_json(report)
    else:
        print_tables(report, stdout())
    for path in (out, plot):
        if path is not None:
            stderr().print(f"wrote {path}", soft_wrap=True)
    if unmet(report):
        raise typer.Exit(1)


def _belongs(bundle: str, word: str, what: str, given: object) -> None:
    if given and bundle != word:
        raise InputError(f"{what} belongs to the {word}", found=bundle, expected=f"chiasm bench {word}")


def _can_write(out: Path | None, plot: Path | None) -> None:
    """Complain before an hour of measuring, not after."""
    from ..bench.plots import check_plot
    from ..runtime.sinks import check_output

    if out is not None:
        check_output(out)
    if plot is not None:
        check_plot(plot)
