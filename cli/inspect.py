"""`chiasm inspect`: what is in a bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .common import BundleArgument, JsonOption, bundle_path, emit_json, stdout

if TYPE_CHECKING:
    from ..runtime.bundle import Bundle
    from ..runtime.manifest import Captioner, Decoder, Manifest, Part


def command(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Show what is in a bundle: modalities, parts and their precisions, fusion, heads, decoder, captions."""
    from ..runtime.bundle import open_bundle

    opened = open_bundle(bundle_path(bundle))
    if as_json:
        emit_json(_facts(opened))
    else:
        _print(opened)


def _facts(bundle: Bundle) -> dict[str, Any]:
    """The manifest as plain types, with the sizes and the verification summed up."""
    import msgspec

    manifest = bundle.manifest
    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    facts["path"] = str(bundle.path)
    variants = [variant for part in manifest.parts.values() for variant in part.variants]
    outside = {file.file: file.bytes for variant in variants for file in variant.external}
    facts["bytes"] = sum(variant.bytes for variant in variants) + sum(outside.values())
    facts["verify"] = _verification(bundle)
    return facts


def _verification(bundle: Bundle) -> dict[str, Any] | None:
    """verify.json when the bundle has one that can be read."""
    path = bundle.path / "verify.json"
    try:
        report = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def _print(bundle: Bundle) -> None:
    manifest = bundle.manifest
    model = manifest.model
    out = stdout()
    out.print(f"[bold]{model.name}[/] {model.version}, {model.licence}: {model.description}")
    out.print(
        f"{bundle.path}, schema {manifest.schema}, made by chiasm {manifest.chiasm or 'unknown'}\n", soft_wrap=True
    )
    if manifest.modalities:
        out.print(_modalities(manifest))
    out.print(_parts(manifest))
    out.print(_answers(manifest))
    report = _verification(bundle)
    missing = f"not in this bundle; run: chiasm verify {bundle.path}"
    out.print(f"verification: {_summary(report) if report else missing}", soft_wrap=True)


def _summary(report: dict[str, Any]) -> str:
    """One line of verify.json; `chiasm verify` shows the rest."""
    passed = report.get("passed")
    words = [{True: "passed", False: "FAILED"}.get(passed, "recorded") if isinstance(passed, bool) else "recorded"]
    parts, fused, refused = report.get("parts"), report.get("fused"), report.get("refused")
    if isinstance(parts, dict):
        words.append(f"{len(parts)} parts against {report.get('reference', 'an unnamed reference')}")
    if isinstance(fused, dict):
        words.append(f"fused answers on {fused.get('samples', '?')} samples")
    if isinstance(refused, list) and refused:
        left = (f"{each.get('part')} {each.get('precision')}" for each in refused if isinstance(each, dict))
        words.append(f"left out: {', '.join(left)}")
    return "; ".join(words)


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column, justify="right" if column in ("KiB", "rate Hz", "max age s", "error", "cosine") else "left"
        )
    return table


def _modalities(manifest: Manifest) -> Any:
    table = _table("modalities", "name", "kind", "rate Hz", "max age s", "takes")
    for modality in manifest.modalities:
        kind = str(modality.__struct_config__.tag)
        age = "never" if modality.max_age_s is None else f"{modality.max_age_s:g}"
        takes = "; ".join(
            f"{spec.name} {spec.dtype} {_shape(spec.shape)}" for spec in manifest.parts[modality.part].inputs
        )
        table.add_row(modality.name, kind, f"{modality.rate_hz:g}", age, takes)
    return table


def _parts(manifest: Manifest) -> Any:
    table = _table("parts", "name", "precision", "KiB", "error", "cosine", "gives")
    for name, part in manifest.parts.items():
        for index, variant in enumerate(part.variants):
            star = " *" if variant.precision == part.preferred else ""
            size = f"{variant.nbytes / 1024:,.0f}"
            error, cosine = f"{variant.max_relative_error:.1e}", f"{variant.cosine:.5f}"
            gives = _gives(part) if index == 0 else ""
            table.add_row("" if index else name, variant.precision + star, size, error, cosine, gives)
    table.caption = "* preferred on a CPU; error (largest relative) and cosine are against the trained model in FP32"
    table.caption_justify = "left"
    return table


def _gives(part: Part) -> str:
    return ", ".join(f"{spec.name} {_shape(spec.shape)}" for spec in part.outputs)


def _answers(manifest: Manifest) -> Any:
    table = _table("answers", "what", "how")
    if manifest.fusion is not None:
        default = manifest.fusion.default
        kinds = ", ".join(f"{kind} (default)" if kind == default else kind for kind in manifest.fusion.kinds)
        table.add_row("fusion", kinds)
    for name, head in manifest.heads.items():
        table.add_row(name, ", ".join(head.labels) or head.kind)
    table.add_row("pictures", "none" if manifest.decoder is None else _drawing(manifest.decoder))
    table.add_row("captions", "none" if manifest.captioner is None else _telling(manifest.captioner))
    return table


def _telling(captioner: Captioner) -> str:
    how = f"by {captioner.beams} beams" if captioner.beams > 1 else "the likeliest token each time"
    start = f", beginning with {captioner.prompt!r}" if captioner.prompt else ""
    return f"of {captioner.modality}, {how}{start}, at most {captioner.max_tokens} tokens of {captioner.vocabulary:,}"


def _drawing(decoder: Decoder) -> str:
    from ..runtime.manifest import OnePassDecoder

    size = f"{decoder.picture[1]}x{decoder.picture[0]}"
    if isinstance(decoder, OnePassDecoder):
        return f"{size} in one pass from a picture of {decoder.source.width}x{decoder.source.height}"
    low, high = decoder.guidance_range
    source = f"from text ({', '.join(decoder.prompts)})" if decoder.prompts else "from what the senses perceive"
    start = ", or started from a picture" if decoder.encoder is not None else ""
    steps = ", ".join(map(str, decoder.steps))
    how = f"{decoder.schedule.kind} in {steps} steps, guidance {low:g} to {high:g}"
    return f"{size} {source}{start}; {how}; decoders {', '.join(decoder.pictures)}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
