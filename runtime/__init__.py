"""Run bundles: `load` one, give it what the senses saw, get a decision, a stream of decisions, or a picture.

Needs NumPy and one inference backend (`pip install 'chiasm[cpu]'`). Heavy packages are imported when first used.
"""

from __future__ import annotations

import importlib
import typing

from .backends import available as available_backends
from .bundle import Bundle, open_bundle, resolve_bundle
from .errors import (
    BackendError,
    BundleError,
    CheckpointError,
    ChiasmError,
    EngineError,
    ExportError,
    HashError,
    InputError,
    ManifestError,
    MissingExtraError,
    NoModalityError,
    PrecisionError,
    SchemaVersionError,
    SinkError,
    SourceError,
    ToleranceError,
    UnsafePathError,
)
from .frame import VideoFrame
from .manifest import Manifest
from .pipeline import Pipeline, load
from .stream import Stream
from .values import Caption, Generation, Packet, Result, Snapshot, TensorSpec

if typing.TYPE_CHECKING:
    from .index import Index, index_folder
    from .sinks import open_sink
    from .sources import Outage, Source, open_source
    from .zero_shot import Classification, ZeroShot

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "Caption",
    "CheckpointError",
    "ChiasmError",
    "Classification",
    "EngineError",
    "ExportError",
    "Generation",
    "HashError",
    "Index",
    "InputError",
    "Manifest",
    "ManifestError",
    "MissingExtraError",
    "NoModalityError",
    "Outage",
    "Packet",
    "Pipeline",
    "PrecisionError",
    "Result",
    "SchemaVersionError",
    "SinkError",
    "Snapshot",
    "Source",
    "SourceError",
    "Stream",
    "TensorSpec",
    "ToleranceError",
    "UnsafePathError",
    "VideoFrame",
    "ZeroShot",
    "available_backends",
    "index_folder",
    "load",
    "open_bundle",
    "open_sink",
    "open_source",
    "resolve_bundle",
]

_LATER = {
    "Classification": ".zero_shot",
    "Index": ".index",
    "Outage": ".sources",
    "Source": ".sources",
    "ZeroShot": ".zero_shot",
    "index_folder": ".index",
    "open_sink": ".sinks",
    "open_source": ".sources",
}
"""What a decision does without is imported when it is asked for; that saves a program a fifth of its start."""


def __getattr__(name: str) -> typing.Any:
    """PEP 562."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
