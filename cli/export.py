"""`chiasm export`: checkpoint → bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .calibration import CalibrationOption, SamplesOption, find
from .common import JsonOption, emit_json, progress, stdout


def command(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint's folder, or the word 'reference'.", metavar="CHECKPOINT")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle to write.", metavar="BUNDLE")],
    precision: Annotated[
        list[str] | None, typer.Option("--precision", metavar="NAME", help="fp32, fp16, int8-cpu; default: all three.")
    ] = None,
    calibration: CalibrationOption = None,
    samples: SamplesOption = 600,
    as_json: JsonOption = False,
) -> None:
    """Export a checkpoint into a bundle: FP32, FP16 and INT8 graphs, calibrated, verified, written in one piece.

    A variant outside its tolerance is left out and named. An existing bundle is replaced only when all is done.
    """
    from ..export import Settings, export
    from ..export.checkpoints import read_config
    from ..export.pack import check_target
    from ..export.report import FILE, decode
    from ..export.settings import PRECISIONS
    from ..reference import CHECKPOINT
    from .verify_tables import print_report

    folder = CHECKPOINT if checkpoint == "reference" else Path(checkpoint)
    wanted = ("fp32", *(each for each in precision if each != "fp32")) if precision else PRECISIONS
    settings = Settings(precisions=wanted)
    config = read_config(folder)
    check_target(out)
    with progress("export", quiet=as_json) as advance:
        captures = find(
            config.modalities, {name: head.labels for name, head in config.heads.items()}, calibration,
            ranges=settings.samples, samples=samples, progress=lambda words, share: advance(words, 0.1 * share),
        )  # fmt: skip
        export(
            folder, out, calibration=captures, settings=settings,
            progress=lambda words, share: advance(words, 0.1 + 0.9 * share),
        )  # fmt: skip
    report = decode((out / FILE).read_bytes())
    if as_json:
        emit_json({"bundle": str(out), "verify": report})
        return
    print_report(report, config.fusion.default)
    stdout().print(f"Written: {out}. Try: chiasm inspect {out}", soft_wrap=True)
