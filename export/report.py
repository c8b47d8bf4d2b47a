"""verify.json: what every variant costs, per part, per fused task and per set of present modalities; and on what
machine.

The file lies in the bundle beside the manifest. Nothing in it is used to run the bundle, so its hash is not in the
manifest and `chiasm verify` may write it again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..runtime.manifest import Tolerances
from .measure import Difference

__all__ = ["FILE", "FusedReport", "PartReport", "Refused", "Report", "VariantReport", "carry", "decode", "encode"]

FILE = "verify.json"


class VariantReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`outputs` against torch in FP32 (or, where `reference` says so, against the FP32 graph).

    `bytes`: of the graph with its weights, also those that other graphs share. `milliseconds`: median of one run on one
    thread, all variants of the part taking turns (large graphs one after another); None when not measured. `method` and
    `kept`: how an FP16 or INT8 graph was made, and which operators stayed FP32 beyond those that always do; `ranking`:
    how these were found. `same_token`: of a captioner's step, the share of feeds on which the same token is likeliest.
    """

    outputs: dict[str, Difference]
    bytes: int
    milliseconds: float | None = None
    method: str | None = None
    kept: tuple[str, ...] = ()
    ranking: str | None = None
    same_token: float | None = None


class PartReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All variants of one part; `feeds`: how many captures, states or latents they were compared on; `samples`: how
    many set the INT8 ranges; `rounds` of timing. A part that is slow to run gets fewer of each.

    `seconds` and `peak_mib`: what making the part took, and the largest resident memory meanwhile, mapped weights
    included; only an export knows them.
    """

    preferred: str
    feeds: int
    variants: dict[str, VariantReport]
    samples: int | None = None
    rounds: int | None = None
    seconds: float | None = None
    peak_mib: float | None = None


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A variant that is not in the bundle: its worst tensor (or set of modalities and head) and that figure."""

    part: str
    precision: str
    tensor: str
    figure: float
    limit: float


class FusedReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Accuracy by fusion kind, then variant, then set of present modalities, then head; over `samples` scenes."""

    samples: int
    accuracy: dict[str, dict[str, dict[str, dict[str, float]]]]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`reference`: "torch" or "fp32 graph", what the variants were compared with. `passed`: all tolerances are met.

    `seconds` and `peak_mib`: of the whole export. `notes`: what was not verified, and why.
    """

    passed: bool
    reference: str
    tolerances: Tolerances
    parts: dict[str, PartReport]
    refused: tuple[Refused, ...] = ()
    fused: FusedReport | None = None
    machine: dict[str, Any] = {}
    packages: dict[str, str] = {}
    seconds: float | None = None
    peak_mib: float | None = None
    notes: tuple[str, ...] = ()


def encode(report: Report) -> bytes:
    """Readable JSON; numbers rounded to what they mean."""
    plain = _rounded(msgspec.to_builtins(report))
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def decode(raw: bytes) -> Report:
    """Raises `msgspec.MsgspecError` when it is not a report."""
    return msgspec.json.decode(raw, type=Report)


def carry(old: Report, new: Report) -> Report:
    """`new` with what only an export knows, from `old`: how variants of equal size were made, what that took, and the
    refused ones."""
    parts = {}
    for part, each in new.parts.items():
        before = old.parts.get(part)
        known = before.variants if before is not None else {}
        variants = {
            name: msgspec.structs.replace(
                made, method=known[name].method, kept=known[name].kept, ranking=known[name].ranking
            )
            if name in known and known[name].bytes == made.bytes
            else made
            for name, made in each.variants.items()
        }
        facts = {} if before is None else {
            "samples": before.samples, "seconds": before.seconds, "peak_mib": before.peak_mib,
        }  # fmt: skip
        parts[part] = msgspec.structs.replace(each, variants=variants, **facts)
    return msgspec.structs.replace(new, parts=parts, refused=old.refused, seconds=old.seconds, peak_mib=old.peak_mib)
