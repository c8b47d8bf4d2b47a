"""Open every part of a bundle once and run it on ones: does it work on this machine at all?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..runtime.backends import open_backend
from ..runtime.backends.base import SessionOptions
from ..runtime.bundle import open_bundle
from ..runtime.errors import ChiasmError, PrecisionError
from ..runtime.sessions import Sessions

__all__ = ["try_parts"]


def try_parts(path: str | Path, backend: str = "auto", precision: str = "auto") -> dict[str, str | ChiasmError]:
    """Per part: the precision that it ran in, or the error that stopped it.

    Raises `ChiasmError` when the bundle or the backend as a whole cannot be opened, or has not that precision.
    """
    bundle = open_bundle(path)
    bundle.check_files()
    sessions = Sessions(bundle, open_backend(backend, SessionOptions()), precision)
    try:
        return {name: _outcome(sessions, name) for name in bundle.manifest.parts}
    finally:
        sessions.close()


def _outcome(sessions: Sessions, name: str) -> str | ChiasmError:
    """Run once; a graph that gives NaN or infinity is broken. Ones, since a mask or presence of zeros has no answer."""
    try:
        session = sessions.get(name)
        outputs = session.run({spec.name: np.ones(spec.shape, spec.dtype) for spec in session.inputs})
    except ChiasmError as error:
        return error
    wild = [output for output, value in outputs.items() if not np.isfinite(value).all()]
    if wild:
        return PrecisionError(
            f"part {name} gives numbers that are not finite",
            found=f"in {', '.join(wild)}",
            expected="finite numbers on ones",
            fix="Try another --precision.",
        )
    return f"runs in {sessions.precisions[name]} on {sessions.backend.name}"
