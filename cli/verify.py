"""`chiasm verify`: what every variant of a bundle costs in accuracy."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .calibration import CalibrationOption, SamplesOption, find
from .common import BundleArgument, JsonOption, bundle_path, emit_json, progress, stderr

if TYPE_CHECKING:
    from ..export.assembly import Assembly
    from ..export.report import Report


def command(
    bundle: BundleArgument,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", metavar="SOURCE", help="Recipe or folder it was made from; 'reference': the shipped one."
        ),
    ] = None,
    calibration: CalibrationOption = None,
    samples: SamplesOption = 600,
    write: Annotated[
        bool | None,
        typer.Option(
            "--write/--no-write", help="Write verify.json into the bundle; default: yes, but not for 'reference'."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare torch, the FP32 graphs and every variant: per part, and fused for every set of present modalities.

    Ends with an error that names the worst tensor when a variant is outside its tolerance.
    """
    from ..export.drawing_feeds import captured
    from ..export.report import FILE, decode, encode
    from ..export.verify import default_fusion, failures, raise_failures, verify
    from ..runtime.bundle import open_bundle
    from ..runtime.sinks import write_file
    from .verify_tables import print_report

    opened = open_bundle(bundle_path(bundle))
    manifest = opened.manifest
    if checkpoint is None and bundle == "reference" and find_spec("torch") is not None:
        checkpoint = "reference"
    with progress("verify", quiet=as_json) as advance:
        loaded = _load(checkpoint)
        labels = {name: head.labels for name, head in manifest.heads.items()}
        captures = find(
            captured(manifest.modalities, manifest.decoder), labels, calibration, ranges=128, samples=samples,
            progress=lambda words, share: advance(words, 0.1 * share),
        )  # fmt: skip
        report = verify(
            opened, captures, assembly=loaded, progress=lambda words, share: advance(words, 0.1 + 0.9 * share)
        )
    report = _carry(opened.path / FILE, report)
    raw = encode(report)
    if as_json:
        emit_json(report)
    else:
        print_report(decode(raw), default_fusion(manifest))
    if write or (write is None and bundle != "reference"):
        write_file(opened.path / FILE, raw)
        stderr().print(f"Written: {opened.path / FILE}", soft_wrap=True)
    raise_failures(failures(report, default_fusion(manifest)))


def _load(checkpoint: str | None) -> Assembly | None:
    """The checkpoint's torch modules, if one is named."""
    if checkpoint is None:
        return None
    from ..export.assemble import open_assembly
    from ..reference import CHECKPOINT

    return open_assembly(CHECKPOINT if checkpoint == "reference" else Path(checkpoint))[0]


def _carry(path: Path, report: Report) -> Report:
    """The report with what the bundle's own says about how it was exported, if that can be read."""
    import msgspec

    from ..export.report import carry, decode

    try:
        return carry(decode(path.read_bytes()), report)
    except (OSError, msgspec.MsgspecError):
        return report
