"""torch → FP32 graph → every variant: per part, per fused answer, and for every set of present modalities.

FP32 is held to torch by the largest relative error of any output on any feed; the other variants by their lowest cosine
with torch; all of them by the accuracy of the fused answers beside FP32. Without torch (or without the checkpoint)
the FP32 graphs take torch's place, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ..runtime.bundle import Bundle
from ..runtime.errors import ExportError, ToleranceError
from ..runtime.manifest import Manifest, Part, Tolerances
from ..runtime.values import Array, OnnxGraph, Packet
from ..targets.machine import machine, packages
from . import fused
from .calibrate import Calibration, Feeds, PartFeeds, Sample, feeds_of, parts_in_order, prepare, subsets
from .drawing_feeds import captured
from .measure import Difference, compare, same_choice, timed, worst
from .pace import pace, seconds_of
from .report import FusedReport, PartReport, Refused, Report, VariantReport
from .sessions import HALVED, Runner, run_all, runnable
from .settings import PRECISIONS, Settings

if TYPE_CHECKING:
    import torch

    from .assembly import Assembly, PartSource

__all__ = [
    "Progress", "check_feeds", "default_fusion", "failures", "fused_accuracy", "prepare_samples", "torch_outputs",
    "verify",
]  # fmt: skip

Progress = Callable[[str, float], object]
"""Told what is being done and which fraction of the whole is done."""
Variants = Mapping[str, Mapping[str, OnnxGraph]]
"""Part → precision → graph."""
_ROUNDS = 30
_NO_HALVES = "FP16 was not verified: that needs the package onnx (pip install 'chiasm[export]')"


def prepare_samples(
    manifest: Manifest, read: Callable[[str], bytes], samples: Sequence[Sample]
) -> list[dict[str, Feeds]]:
    """Every packet of every sample through the runtime's preprocessing."""
    names = [each.name for each in manifest.modalities]
    for index, sample in enumerate(samples):
        if sorted(sample.packets) != sorted(names):
            raise ExportError(
                f"Verification sample {index} does not have every modality",
                found=", ".join(sample.packets), expected=", ".join(names),
            )  # fmt: skip
    by_name = {name: prepare(manifest, read, [sample.packets[name] for sample in samples]) for name in names}
    return [{name: by_name[name][index] for name in names} for index in range(len(samples))]


def check_feeds(manifest: Manifest, read: Callable[[str], bytes], calibration: Calibration, count: int) -> PartFeeds:
    """Feeds on which variants are compared: from the held-out samples; without any, from the calibration sets."""
    captures: dict[str, list[Packet]] = {}
    for each in captured(manifest.modalities, manifest.decoder):
        held = [sample.packets[each.name] for sample in calibration.samples if each.name in sample.packets]
        captures[each.name] = (held or list(calibration.sets.get(each.name, ())))[:count]
    return feeds_of(manifest, read, captures, count, seed=1)


def torch_outputs(
    source: PartSource, feeds: Sequence[Mapping[str, Array]], module: torch.nn.Module | None = None
) -> list[dict[str, Array]]:
    """The module's own answers on every feed; it is loaded unless it is given."""
    from .to_onnx import run_torch

    loaded = source.load() if module is None else module
    return [run_torch(loaded, source.interface, dict(each)) for each in feeds]


def fused_accuracy(
    manifest: Manifest,
    variants: Variants,
    precisions: Iterable[str],
    samples: fused.Prepared,
    labels: Sequence[Mapping[str, str]],
    progress: Progress,
) -> dict[str, dict[str, fused.Accuracy]]:
    """Accuracy by fusion kind and precision: the default kind in every precision, the other kinds in FP32.

    A part that lacks a precision runs in FP32.
    """
    default = manifest.fused.default
    runs = [(default, each) for each in precisions] + [
        (kind, "fp32") for kind in manifest.fused.kinds if kind != default
    ]
    found: dict[str, dict[str, fused.Accuracy]] = {}
    tokens: dict[str, list[Feeds]] = {}
    total, done = len(runs) * len(samples) * len(subsets(manifest.fused.order)), 0

    for kind, precision in runs:

        def advance(count: int, kind: str = kind, precision: str = precision) -> None:
            nonlocal done
            done += count
            progress(f"fused accuracy: {kind} {precision}", done / total)

        graphs = {
            part: _graph(each, precision)
            for part, each in variants.items()
            if part not in manifest.fused.kinds.values()
        }
        part = manifest.fused.kinds[kind]
        graphs[part] = _graph(variants[part], precision)
        if precision not in tokens:
            progress(f"encoding {len(samples)} samples: {precision}", done / total)
            tokens[precision] = fused.encode(manifest, graphs, samples)
        made = fused.accuracy(manifest, graphs, kind, tokens[precision], labels, advance)
        found.setdefault(kind, {})[precision] = made
    return found


def _graph(variants: Mapping[str, OnnxGraph], precision: str) -> OnnxGraph:
    return runnable(variants[precision], precision) if precision in variants else variants["fp32"]


def failures(report: Report, default: str | None) -> list[Refused]:
    """Every variant of a report that is outside its tolerance. `default`: kind of fusion, where there is one."""
    limits = report.tolerances
    found = []
    for part, each in report.parts.items():
        for precision, variant in each.variants.items():
            tensor, figure, limit = judge(variant.outputs, precision, limits, exact=report.reference == "torch")
            if (figure > limit) if precision == "fp32" else (figure < limit):
                found.append(Refused(part=part, precision=precision, tensor=tensor, figure=figure, limit=limit))
    accuracy = report.fused.accuracy.get(default, {}) if report.fused and default else {}
    for precision, shares in accuracy.items():
        drop, present, head = fused.largest_drop(accuracy["fp32"], shares)
        if drop > limits.accuracy_drop + 1e-9:
            tensor = f"{head} with {present}"
            limit = limits.accuracy_drop
            found.append(
                Refused(part=f"fused ({default})", precision=precision, tensor=tensor, figure=drop, limit=limit)
            )
    return found


def default_fusion(manifest: Manifest) -> str | None:
    """The kind of fusion that decides; None where nothing does."""
    return None if manifest.fusion is None else manifest.fusion.default


def judge(
    outputs: Mapping[str, Difference], precision: str, limits: Tolerances, *, exact: bool = True
) -> tuple[str, float, float]:
    """The worst tensor of a variant, its figure, and the limit: a relative error for FP32, a cosine for the others."""
    if precision == "fp32":
        return (*worst(outputs, by="error"), limits.fp32_max_relative_error if exact else np.inf)
    return (*worst(outputs, by="cosine"), limits.fp16_cosine if precision == "fp16" else limits.int8_cosine)


def raise_failures(found: Sequence[Refused]) -> None:
    """`ToleranceError` for the first failure, saying how many more there are."""
    if not found:
        return
    first = found[0]
    less = first.precision == "fp32" or first.part.startswith("fused")
    more = f" {len(found) - 1} more variants fail; see the table." if len(found) > 1 else ""
    raise ToleranceError(
        f"{first.part} {first.precision} is outside its tolerance at {first.tensor!r}",
        found=f"{first.figure:.6g}",
        expected=f"{'at most' if less else 'at least'} {first.limit:g}",
        fix="Export again, with more calibration captures or without this precision." + more,
    )


def verify(
    bundle: Bundle,
    calibration: Calibration,
    *,
    assembly: Assembly | None = None,
    progress: Progress = lambda *_: None,
) -> Report:
    """Measure a bundle that is already packed. The caller decides what a failed report means (`raise_failures`).

    On a device ONNX Runtime is enough: without torch there is no checkpoint, without onnx FP16 is left out and noted.
    """
    manifest = bundle.manifest
    halves = find_spec("onnx") is not None
    variants: dict[str, dict[str, OnnxGraph]] = {
        part: {
            each.precision: bundle.graph(part, each.precision)
            for each in spec.variants
            if halves or each.precision not in HALVED
        }
        for part, spec in manifest.parts.items()
    }
    if not all("fp32" in each for each in variants.values()):
        raise ExportError("Only a bundle whose parts all have an FP32 variant can be verified")
    progress("preparing captures", 0.02)
    feeds = check_feeds(manifest, bundle.read, calibration, Settings().checks)
    parts = _parts(manifest, variants, feeds, assembly, lambda words, share: progress(words, 0.05 + 0.25 * share))
    report = None
    if calibration.samples:
        samples = prepare_samples(manifest, bundle.read, calibration.samples)
        labels = [sample.labels for sample in calibration.samples]
        present = [each for each in PRECISIONS if any(each in own for own in variants.values())]
        made = fused_accuracy(
            manifest, variants, present, samples, labels, lambda words, share: progress(words, 0.3 + 0.7 * share)
        )
        report = FusedReport(samples=len(samples), accuracy=made)
    notes = calibration.notes + (() if halves else (_NO_HALVES,))
    whole = Report(
        passed=True, reference="torch" if assembly else "fp32 graph", tolerances=manifest.tolerances, parts=parts,
        fused=report, machine=machine().to_dict(), packages=packages(), notes=notes,
    )  # fmt: skip
    return msgspec.structs.replace(whole, passed=not failures(whole, default_fusion(manifest)))


def _parts(
    manifest: Manifest, variants: Variants, source: PartFeeds, assembly: Assembly | None, progress: Progress
) -> dict[str, PartReport]:
    found = {}
    for index, part in enumerate(parts_in_order(manifest)):
        progress(f"comparing {part}", index / len(manifest.parts))
        spec, runner = manifest.parts[part], Runner(variants[part]["fp32"])
        allowed = pace(Settings(rounds=_ROUNDS), seconds_of(runner, spec.inputs))
        feeds = source.take(part, runner, allowed.checks, allowed.trajectories)
        if assembly is None:
            reference = [runner(each) for each in feeds]
        else:
            reference = torch_outputs(_source(assembly, part), feeds)
        del runner
        made, same = {}, {}
        for precision in (each.precision for each in spec.variants if each.precision in variants[part]):
            outputs = run_all(runnable(variants[part][precision], precision), feeds)
            made[precision], same[precision] = compare(reference, outputs), same_choice(reference, outputs)
        mine = [name for name in made if name != "int8-trt"]
        times = dict(zip(mine, timed([variants[part][name] for name in mine], feeds, allowed.rounds), strict=True))
        found[part] = PartReport(
            preferred=spec.preferred, feeds=len(feeds), rounds=allowed.rounds,
            variants={
                name: VariantReport(
                    outputs=each, bytes=_size(spec, name), milliseconds=1e3 * times[name] if name in times else None,
                    same_token=same[name],
                )
                for name, each in made.items()
            },
        )  # fmt: skip
    return {part: found[part] for part in manifest.parts if part in found}


def _size(part: Part, precision: str) -> int:
    """Bytes of a variant with its weights."""
    variant = next(each for each in part.variants if each.precision == precision)
    return variant.nbytes


def _source(assembly: Assembly, part: str) -> PartSource:
    if part not in assembly.parts:
        raise ExportError(
            f"The checkpoint has no part {part!r}", fix="Give the checkpoint that the bundle was made from."
        )
    return assembly.parts[part]
