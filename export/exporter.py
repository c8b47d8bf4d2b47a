"""The steps in order: checkpoint → variants → fused verification → timing → bundle."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path

from ..runtime.errors import ExportError
from ..runtime.manifest import Precision, Variant
from ..targets.machine import machine, packages
from ..targets.memory import peak_mib
from .assemble import open_assembly
from .assembly import Assembly
from .calibrate import Calibration
from .captures import without_captures
from .drawing_feeds import captured
from .measure import timed
from .mend import verify_fused
from .pack import beside, check_target, graph_file, make_manifest, make_variant, pack
from .report import FILE, FusedReport, PartReport, Report, VariantReport, encode
from .settings import Settings
from .share import Shared, share
from .shelf import Shelf
from .verify import Progress, default_fusion, failures, raise_failures
from .workshop import Made, Workshop

__all__ = ["export"]

_NO_RANGES = "INT8 that needs ranges of captures (static) was not made"


def export(
    source: str | Path | Assembly,
    out: str | Path,
    *,
    calibration: Calibration | None = None,
    settings: Settings | None = None,
    modules: Collection[str] = (),
    progress: Progress = lambda words, fraction: None,
) -> Path:
    """Export a recipe, or a checkpoint folder, into the bundle `out` (replaced as a whole if it is there).

    `source`: a recipe's TOML file, a folder as a model hub serves it, a checkpoint of chiasm's own format, or what
    `open_assembly` made of one. `modules`: code of your own ("file.py:factory") that the recipe may run. Without a
    `calibration` variants are compared on made-up captures, and INT8 that needs ranges is not made. Returns `out`.

    Raises `CheckpointError`, `ExportError`, `ToleranceError` (FP32 is not torch's equal), `InputError` (an unusable
    calibration capture) and `MissingExtraError`; then `out` is as it was.
    """
    out = Path(out)
    check_target(out)
    progress("reading the checkpoint", 0.0)
    start = time.monotonic()
    assembly = source if isinstance(source, Assembly) else open_assembly(Path(source), modules)[0]
    needed = captured(assembly.modalities, assembly.decoder)
    calibration = without_captures(needed) if calibration is None else calibration
    if needed and not calibration.sets:
        raise ExportError("An export needs calibration captures", fix="Give some for every modality.")
    with beside(out) as folder:
        chosen = settings or Settings()
        work = Workshop(assembly, calibration, chosen, progress, Shelf(folder, inline=chosen.inline))
        work.make()
        fused = verify_fused(work)
        _time(work)
        progress("packing", 0.98)
        _pack(work, fused, out, folder, start)
    progress("done", 1.0)
    return out


def _time(work: Workshop) -> None:
    """Median time of each variant but TensorRT's, all of a part taking turns on one thread."""
    for index, (part, own) in enumerate(work.variants.items()):
        work.progress(f"timing {part}", 0.92 + 0.06 * index / len(work.variants))
        known = work.works[part]
        mine = [made for precision, made in own.items() if precision != "int8-trt"]
        times = timed([made.graph for made in mine], known.checks, known.pace.rounds)
        for made, seconds in zip(mine, times, strict=True):
            made.milliseconds = seconds * 1e3


def preferred(variants: dict[str, Made], worth: float) -> Precision:
    """INT8 where it is clearly faster than FP32; FP16 is for GPUs and never preferred on a CPU."""
    int8, fp32 = variants.get("int8-cpu"), variants["fp32"]
    if int8 is None or int8.milliseconds is None or fp32.milliseconds is None:
        return "fp32"
    return "int8-cpu" if int8.milliseconds < worth * fp32.milliseconds else "fp32"


def _pack(work: Workshop, fused: FusedReport | None, out: Path, folder: Path, start: float) -> None:
    made = {graph_file(part, name): each.graph for part, own in work.variants.items() for name, each in own.items()}
    shared = share(made, folder, inline=work.settings.inline)
    entries = {
        part: tuple(_entry(part, precision, each, work.settings.opset, shared) for precision, each in own.items())
        for part, own in work.variants.items()
    }
    files = dict(work.assembly.files)
    chosen = {part: preferred(own, work.settings.worth) for part, own in work.variants.items()}
    found = {part: each.specs for part, each in work.works.items()}
    manifest = make_manifest(work.assembly, found, entries, chosen, work.settings.tolerances, files)
    report = _report(work, fused, chosen, entries, time.monotonic() - start)
    raise_failures(failures(report, default_fusion(manifest)))
    pack(manifest, shared.graphs, files | {FILE: encode(report)}, out, shared.files)


def _entry(part: str, precision: str, made: Made, opset: int, shared: Shared) -> Variant:
    error = max(each.max_relative_error for each in made.differences.values())
    cosine = min(each.cosine for each in made.differences.values())
    file = graph_file(part, precision)
    return make_variant(part, precision, shared.graphs[file], opset, error, cosine, shared.external.get(file, ()))


def _report(
    work: Workshop,
    fused: FusedReport | None,
    chosen: Mapping[str, Precision],
    entries: Mapping[str, tuple[Variant, ...]],
    seconds: float,
) -> Report:
    peaks = [each.peak_mib for each in work.works.values() if each.peak_mib is not None]
    return Report(
        passed=True,
        reference="torch",
        tolerances=work.settings.tolerances,
        parts={part: _part_report(work, part, chosen[part], entries[part]) for part in work.variants},
        refused=tuple(work.refused),
        fused=fused,
        machine=machine().to_dict(),
        packages=packages(),
        seconds=seconds,
        peak_mib=max([*peaks, peak_mib() or 0.0]) if peaks else None,
        notes=work.calibration.notes + (() if work.calibration.real else (_NO_RANGES,)),
    )


def _part_report(work: Workshop, part: str, chosen: Precision, entries: tuple[Variant, ...]) -> PartReport:
    known, own = work.works[part], work.variants[part]
    variants = {
        name: VariantReport(
            outputs=dict(made.differences),
            bytes=entry.nbytes,
            milliseconds=made.milliseconds,
            method=made.method,
            kept=made.kept,
            ranking=made.ranking,
            same_token=made.same_token,
        )
        for (name, made), entry in zip(own.items(), entries, strict=True)
    }
    return PartReport(
        preferred=chosen, feeds=len(known.checks), variants=variants, samples=len(known.feeds),
        rounds=known.pace.rounds, seconds=known.seconds, peak_mib=known.peak_mib,
    )  # fmt: skip
