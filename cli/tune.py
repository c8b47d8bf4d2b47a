"""`chiasm tune`: which variant, backend and settings of each part are fastest on this host, and still right."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .calibration import CalibrationOption, find
from .common import BundleArgument, JsonOption, bundle_path, emit_json, progress, stderr


def command(
    bundle: BundleArgument,
    max_drop: Annotated[
        float,
        typer.Option(
            "--max-drop",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Accuracy that may be lost on any set of modalities and head; without labels, 1 - cosine.",
        ),
    ] = 0.01,
    objective: Annotated[
        str, typer.Option("--objective", metavar="NAME", help="latency, p99, throughput or memory.")
    ] = "latency",
    budget: Annotated[float, typer.Option("--budget", metavar="MINUTES", min=0.05, help="Time for all of it.")] = 5.0,
    calibration: CalibrationOption = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="COUNT", min=20, help="Labelled scenes that judge the reference model.")
    ] = 300,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: tuned/<key>.json in the bundle, where load finds it."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw accuracy against latency: .png, .svg or .pdf.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what runs fastest here, part by part, and keep the choice beside the bundle.

    Every variant on every backend with several settings, in turns; clear losers leave early. A choice is faster than
    FP32 and inside the drop, alone and together, on every set of modalities. Interrupted, it goes on where it was when
    started again. Then `chiasm.load` follows the choice, until the host, a version or the bundle changes.
    """
    began = time.perf_counter()
    from ..bench.plots import check_plot
    from ..bench.tune.budget import Budget
    from ..bench.tune.front import draw
    from ..bench.tune.search import default_out, tune
    from ..bench.tune.state import Wish
    from ..runtime.bundle import open_bundle
    from .tune_tables import print_finding

    opened = open_bundle(bundle_path(bundle))
    if picture is not None:
        check_plot(picture)
    wish = Wish(max_drop, objective, 60.0 * budget, samples)
    limit = Budget(wish.budget_s, spent=time.perf_counter() - began)
    place = out or default_out(opened)
    _check_place(place)
    with progress("tune", quiet=as_json) as advance:
        labels = {name: head.labels for name, head in opened.manifest.heads.items()}
        captures = find(
            opened.manifest.modalities, labels, calibration, ranges=32, samples=samples,
            progress=lambda words, share: advance(words, 0.1 * share),
        )  # fmt: skip
        found = tune(opened, captures, wish, place, lambda words, share: advance(words, 0.1 + 0.9 * share), limit)
    if as_json:
        emit_json(found.tuned)
    else:
        print_finding(found)
    if picture is not None:
        draw(found, picture)
    stderr().print(f"Written: {place}", soft_wrap=True)


def _check_place(place: Path) -> None:
    """Say before measuring what would fail after it."""
    from ..runtime.errors import SinkError

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        probe = place.with_suffix(".probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SinkError(
            f"{place.parent} cannot be written to", found=error.strerror,
            fix="Give --out, or set CHIASM_TUNED to a folder that can: load looks there.",
        ) from None  # fmt: skip
