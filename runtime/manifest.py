"""The manifest, the only bridge between export and runtime: `parse` bytes, `check` its promises, `encode`.

`parse` refuses what is not UTF-8 JSON, another schema version, unknown fields and wrong types; `check` (called by
`parse`) refuses a manifest whose fields do not fit each other, so that no later stage needs to ask again.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from .errors import ManifestError, SchemaVersionError
from .rules import check
from .schema import (
    SCHEMA,
    AudioModality,
    Captioner,
    Decoder,
    DiffusionDecoder,
    ExternalFile,
    Fusion,
    Head,
    ImageModality,
    Manifest,
    Mel,
    Modality,
    Model,
    OnePassDecoder,
    Part,
    PictureInput,
    Precision,
    Prompt,
    SeriesModality,
    Space,
    TextModality,
    Tolerances,
    Variant,
)

__all__ = [
    "MAX_BYTES",
    "SCHEMA",
    "AudioModality",
    "Captioner",
    "Decoder",
    "DiffusionDecoder",
    "ExternalFile",
    "Fusion",
    "Head",
    "ImageModality",
    "Manifest",
    "Mel",
    "Modality",
    "Model",
    "OnePassDecoder",
    "Part",
    "PictureInput",
    "Precision",
    "Prompt",
    "SeriesModality",
    "Space",
    "TextModality",
    "Tolerances",
    "Variant",
    "check",
    "encode",
    "parse",
]

MAX_BYTES = 16 * 2**20
"""A manifest larger than this is refused unread."""

_T = TypeVar("_T")
_AGAIN = "Export the bundle again, or copy it again from where it came"


class _Version(msgspec.Struct):
    schema: int


def parse(data: bytes) -> Manifest:
    """Manifest from the bytes of manifest.json.

    Raises SchemaVersionError for another version, ManifestError or UnsafePathError for everything else that is wrong.
    """
    if len(data) > MAX_BYTES:
        raise ManifestError("manifest.json is too large", found=f"{len(data)} bytes", expected=f"at most {MAX_BYTES}")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(
            "manifest.json is not UTF-8", found=f"byte {data[error.start]:#04x} at {error.start}", fix=_AGAIN
        ) from None
    version = _decode(data, _Version).schema
    if version != SCHEMA:
        raise SchemaVersionError(
            "This bundle was written in another schema version",
            found=_short(version),
            expected=SCHEMA,
            fix="Export it again with this chiasm, or install the chiasm that wrote it",
        )
    manifest = _decode(data, Manifest)
    check(manifest)
    return manifest


def encode(manifest: Manifest) -> bytes:
    """Checked, readable JSON (two spaces, a newline at the end); `parse` gives the same manifest back."""
    check(manifest)
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def _decode(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind, strict=True)
    except msgspec.ValidationError as error:
        raise ManifestError(f"manifest.json does not follow schema {SCHEMA}", found=_short(error), fix=_AGAIN) from None
    except msgspec.DecodeError as error:
        raise ManifestError("manifest.json is not valid JSON", found=_short(error), fix=_AGAIN) from None
    except RecursionError:
        raise ManifestError("manifest.json is nested too deeply", fix=_AGAIN) from None


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "…"
