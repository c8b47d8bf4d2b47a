"""`chiasm export`: a recipe or a checkpoint → bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .calibration import CalibrationOption, SamplesOption, find
from .common import JsonOption, emit_json, progress, stderr, stdout

if TYPE_CHECKING:
    from ..export.recipe import Recipe
    from ..export.settings import Settings


def command(
    source: Annotated[
        str,
        typer.Argument(
            help="A recipe (TOML), a checkpoint's folder as a model hub serves it, or the word 'reference'.",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle to write.", metavar="BUNDLE")],
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", metavar="NAME", help="fp32, fp16, int8-cpu (all three by default), int8-trt."),
    ] = None,
    calibration: CalibrationOption = None,
    samples: SamplesOption = 600,
    module: Annotated[
        list[str] | None,
        typer.Option("--module", metavar="FILE:FACTORY", help="Allow code of your own that the recipe names."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a recipe or a checkpoint into a bundle: FP32, FP16 and INT8 graphs, verified, written in one piece.

    A variant outside its tolerance is left out and named. An existing bundle is replaced only when all is done.
    """
    from ..export import export
    from ..export.assemble import open_assembly
    from ..export.drawing_feeds import captured
    from ..export.pack import check_target
    from ..export.recipe import to_toml
    from ..export.report import FILE, decode
    from ..reference import CHECKPOINT
    from .verify_tables import print_report

    check_target(out)
    _settings(None, precision)
    place = CHECKPOINT if source == "reference" else Path(source)
    with progress("export", quiet=as_json) as advance:
        advance("reading the checkpoint", 0.0)
        assembly, recipe = open_assembly(place, module or ())
        if recipe is not None and place.is_dir():
            stderr().print(f"The recipe, also kept in the bundle:\n\n{to_toml(recipe)}", markup=False)
        settings = _settings(recipe, precision)
        captures = find(
            captured(assembly.modalities, assembly.decoder), assembly.labels, calibration or _places(recipe, place),
            ranges=settings.samples, samples=samples, progress=lambda words, share: advance(words, 0.1 * share),
        )  # fmt: skip
        export(
            assembly, out, calibration=captures, settings=settings,
            progress=lambda words, share: advance(words, 0.1 + 0.9 * share),
        )  # fmt: skip
    report = decode((out / FILE).read_bytes())
    if as_json:
        emit_json({"bundle": str(out), "verify": report})
        return
    print_report(report, assembly.fusion.default if assembly.fusion else None)
    stdout().print(f"Written: {out}. Try: chiasm inspect {out}", soft_wrap=True)


def _settings(recipe: Recipe | None, precision: list[str] | None) -> Settings:
    """What the command line says, else the recipe; FP32 is always among the precisions."""
    from ..export.settings import DEFAULT, Settings

    wanted = tuple(precision) if precision else recipe.export.precisions if recipe else DEFAULT
    precisions = ("fp32", *(each for each in wanted if each != "fp32"))
    return Settings(precisions=precisions, samples=recipe.export.samples) if recipe else Settings(precisions=precisions)


def _places(recipe: Recipe | None, source: Path) -> list[str] | None:
    """The recipe's calibration captures in the words of --calibration."""
    if recipe is None or not recipe.export.calibration:
        return None
    root = source if source.is_dir() else source.parent
    return [f"{name}={root / place}" for name, place in recipe.export.calibration.items()]
