"""Parts of a bundle as open sessions, each opened on first use, in the precision chosen for it."""

from __future__ import annotations

from collections.abc import Mapping

from .backends import Backend, Session
from .bundle import Bundle
from .errors import InputError, PrecisionError
from .manifest import Part

__all__ = ["Sessions", "choose_precisions"]

_SHORT = {"int8": ("int8-cpu", "int8-trt")}


class Sessions:
    """Opens parts lazily and keeps them; `precisions` maps every part to its chosen precision."""

    def __init__(self, bundle: Bundle, backend: Backend, precision: str | Mapping[str, str]) -> None:
        self.bundle = bundle
        self.backend = backend
        self.precisions = choose_precisions(bundle.manifest.parts, backend, precision)
        self._open: dict[str, Session] = {}

    def get(self, part: str) -> Session:
        """The session of a part; opened (file read, hash checked) the first time."""
        session = self._open.get(part)
        if session is None:
            spec = self.bundle.manifest.parts[part]
            graph = self.bundle.graph(part, self.precisions[part])
            session = self._open[part] = self.backend.open(graph, spec.inputs, spec.outputs)
        return session

    @property
    def opened(self) -> tuple[str, ...]:
        """Parts that are open now, in the order of opening."""
        return tuple(self._open)

    def close(self) -> None:
        """Close every session, then the backend; a second call does nothing."""
        while self._open:
            self._open.popitem()[1].close()
        self.backend.close()


def choose_precisions(parts: Mapping[str, Part], backend: Backend, asked: str | Mapping[str, str]) -> dict[str, str]:
    """part → precision. `asked`: "auto", one precision ("int8": the backend's own kind), or some parts → precision.

    "auto" is the part's preferred precision, or the best one that the backend runs. PrecisionError lists what there is.
    """
    if not isinstance(asked, str):
        unknown = [name for name in asked if name not in parts]
        if unknown:
            raise InputError("No such part", found=", ".join(unknown), expected=f"some of {', '.join(parts)}")
        return {name: _choose(name, part, backend, asked.get(name, "auto")) for name, part in parts.items()}
    return {name: _choose(name, part, backend, asked) for name, part in parts.items()}


def _choose(name: str, part: Part, backend: Backend, asked: str) -> str:
    there: list[str] = [variant.precision for variant in part.variants]
    runs = [precision for precision in backend.precisions() if precision in there]
    if asked == "auto":
        wanted: tuple[str, ...] = (part.preferred, *runs)
    else:
        wanted = _SHORT.get(asked, (asked,))
    for precision in wanted:
        if precision in runs:
            return precision
    raise PrecisionError(
        f"Part {name} cannot run in precision {asked} on the backend {backend.name}",
        found=f"variants {', '.join(there)}; the backend runs {', '.join(backend.precisions())}",
        expected=f"one of auto, {', '.join(runs)}" if runs else "a variant that the backend runs",
        fix=None if runs else "Export the bundle with a precision that this backend runs",
    )
