"""The steps in order: checkpoint → variants → fused verification → timing → bundle."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..runtime.errors import ExportError
from ..runtime.manifest import Precision, Variant
from ..targets.machine import machine, packages
from .assemble import open_assembly
from .assembly import Assembly
from .calibrate import Calibration
from .graphs import specs
from .measure import interleaved
from .mend import verify_fused
from .pack import check_target, make_manifest, make_variant, pack
from .report import FILE, FusedReport, PartReport, Report, VariantReport, encode
from .sessions import Runner
from .settings import Settings
from .verify import Progress, failures, raise_failures
from .workshop import Made, Workshop

__all__ = ["export"]


def export(
    source: str | Path | Assembly,
    out: str | Path,
    *,
    calibration: Calibration,
    settings: Settings | None = None,
    modules: Collection[str] = (),
    progress: Progress = lambda words, fraction: None,
) -> Path:
    """Export a recipe, or a checkpoint folder, into the bundle `out` (replaced as a whole if it is there).

    `source`: a recipe's TOML file, a folder as a model hub serves it, a checkpoint of chiasm's own format, or what
    `open_assembly` made of one. `modules`: code of your own ("file.py:factory") that the recipe may run. Returns `out`.

    Raises `CheckpointError`, `ExportError`, `ToleranceError` (FP32 is not torch's equal), `InputError` (an unusable
    calibration capture) and `MissingExtraError`; then `out` is as it was.
    """
    out = Path(out)
    if not calibration.sets:
        raise ExportError("An export needs calibration captures", fix="Give some for every modality.")
    check_target(out)
    progress("reading the checkpoint", 0.0)
    assembly = source if isinstance(source, Assembly) else open_assembly(Path(source), modules)[0]
    work = Workshop(assembly, calibration, settings or Settings(), progress)
    work.make()
    fused = verify_fused(work)
    _time(work)
    progress("packing", 0.98)
    _pack(work, fused, out)
    progress("done", 1.0)
    return out


def _time(work: Workshop) -> None:
    """Median time of each variant, all of a part taking turns on one thread."""
    for index, (part, own) in enumerate(work.variants.items()):
        work.progress(f"timing {part}", 0.92 + 0.06 * index / len(work.variants))
        times = interleaved([Runner(made.graph) for made in own.values()], work.checks[part], work.settings.rounds)
        for made, seconds in zip(own.values(), times, strict=True):
            made.milliseconds = seconds * 1e3


def preferred(variants: dict[str, Made], worth: float) -> Precision:
    """INT8 where it is clearly faster than FP32; FP16 is for GPUs and never preferred on a CPU."""
    int8, fp32 = variants.get("int8-cpu"), variants["fp32"]
    if int8 is None or int8.milliseconds is None or fp32.milliseconds is None:
        return "fp32"
    return "int8-cpu" if int8.milliseconds < worth * fp32.milliseconds else "fp32"


def _pack(work: Workshop, fused: FusedReport | None, out: Path) -> None:
    entries: dict[str, tuple[Variant, ...]] = {}
    graphs: dict[str, bytes] = {}
    for part, own in work.variants.items():
        entries[part] = tuple(_entry(part, precision, made, work.settings.opset) for precision, made in own.items())
        graphs |= {entry.file: made.graph for entry, made in zip(entries[part], own.values(), strict=True)}
    found = {part: specs(model) for part, model in work.models.items()}
    files = dict(work.assembly.files)
    chosen = {part: preferred(own, work.settings.worth) for part, own in work.variants.items()}
    manifest = make_manifest(work.assembly, found, entries, chosen, work.settings.tolerances, files)
    report = _report(work, fused, chosen)
    raise_failures(failures(report, manifest.fused.default))
    pack(manifest, graphs, files | {FILE: encode(report)}, out)


def _entry(part: str, precision: str, made: Made, opset: int) -> Variant:
    error = max(each.max_relative_error for each in made.differences.values())
    cosine = min(each.cosine for each in made.differences.values())
    return make_variant(part, precision, made.graph, opset, error, cosine)


def _report(work: Workshop, fused: FusedReport | None, chosen: dict[str, Precision]) -> Report:
    parts = {}
    for part, own in work.variants.items():
        variants = {
            name: VariantReport(
                outputs=dict(made.differences),
                bytes=len(made.graph),
                milliseconds=made.milliseconds,
                method=made.method,
                kept=made.kept,
            )
            for name, made in own.items()
        }
        parts[part] = PartReport(preferred=chosen[part], feeds=len(work.checks[part]), variants=variants)
    return Report(
        passed=True,
        reference="torch",
        tolerances=work.settings.tolerances,
        parts=parts,
        refused=tuple(work.refused),
        fused=fused,
        machine=machine().to_dict(),
        packages=packages(),
    )
