"""Every error that chiasm raises on purpose.

    ChiasmError
    ├── BundleError              the bundle cannot be used
    │   ├── ManifestError        manifest.json: not JSON, unknown field, wrong type, a broken promise between fields
    │   ├── SchemaVersionError   written by another generation of chiasm
    │   ├── HashError            a file's bytes are not the ones that were exported
    │   └── UnsafePathError      a path that leaves the bundle
    ├── InputError               what was handed in cannot be used (shape, dtype, sample rate, NaN, empty)
    │   └── NoModalityError      nothing was present
    ├── SourceError              a camera, file, microphone or stream cannot be read
    ├── SinkError                a result cannot be written
    ├── BackendError             an inference backend failed or is not there
    │   ├── PrecisionError       no variant of that precision, or the backend cannot run it
    │   └── EngineError          an engine cannot be built or kept, or is not the one that is needed
    ├── MissingExtraError        an optional package is not installed
    ├── CheckpointError          a checkpoint folder cannot be read
    └── ExportError              an export step failed
        └── ToleranceError       a variant is outside its tolerance

A message says what was found, what was expected and what to do next; the command line prints it as one line.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BundleError",
    "CheckpointError",
    "ChiasmError",
    "EngineError",
    "ExportError",
    "HashError",
    "InputError",
    "ManifestError",
    "MissingExtraError",
    "NoModalityError",
    "PrecisionError",
    "SchemaVersionError",
    "SinkError",
    "SourceError",
    "ToleranceError",
    "UnsafePathError",
]


class ChiasmError(Exception):
    """Root of the tree. `what` is the complaint; `found`, `expected` and `fix` complete the sentence."""

    def __init__(self, what: str, *, found: object = None, expected: object = None, fix: str | None = None) -> None:
        self.what = what
        self.found = found
        self.expected = expected
        self.fix = fix
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        found = repr(self.found) if self.found == "" else self.found
        clauses = [f"found {found}"] if found is not None else []
        if self.expected is not None:
            clauses.append(f"expected {self.expected}")
        sentence = self.what + (": " + ", ".join(clauses) if clauses else "")
        return " ".join((sentence + (f". {self.fix}" if self.fix else "")).split())


class BundleError(ChiasmError):
    """The bundle cannot be used."""


class ManifestError(BundleError):
    """manifest.json is not what the schema says."""


class SchemaVersionError(BundleError):
    """The manifest's schema version is not one this chiasm reads."""


class HashError(BundleError):
    """A file's SHA-256 is not the one in the manifest."""


class UnsafePathError(BundleError):
    """A path in the bundle points outside it."""


class InputError(ChiasmError):
    """What was handed in cannot be used."""


class NoModalityError(InputError):
    """No modality was present."""


class SourceError(ChiasmError):
    """A source cannot be opened or read."""


class SinkError(ChiasmError):
    """A sink cannot be opened or written."""


class BackendError(ChiasmError):
    """An inference backend failed or is not available."""


class PrecisionError(BackendError):
    """No variant of the asked precision, or one that the backend cannot run."""


class EngineError(BackendError):
    """An engine cannot be built or kept, or is not the one that is needed."""


class CheckpointError(ChiasmError):
    """A checkpoint folder cannot be read."""


class ExportError(ChiasmError):
    """An export step failed."""


class ToleranceError(ExportError):
    """A variant is outside its tolerance."""


class MissingExtraError(ChiasmError):
    """An optional package is not installed; the message says which `pip install` brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed",
            fix=f"Run: pip install 'chiasm[{extra}]'",
        )
