"""Run bundles: `load` one, give it what the senses saw, get a decision, a stream of decisions, or a picture.

Needs NumPy and one inference backend (`pip install 'chiasm[cpu]'`). Heavy packages are imported when first used.
"""

from __future__ import annotations

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
from .index import Index, index_folder
from .manifest import Manifest
from .pipeline import Pipeline, load
from .sinks import open_sink
from .sources import Outage, Source, open_source
from .stream import Stream
from .values import Caption, Generation, Packet, Result, Snapshot, TensorSpec
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
    "ZeroShot",
    "available_backends",
    "index_folder",
    "load",
    "open_bundle",
    "open_sink",
    "open_source",
    "resolve_bundle",
]
