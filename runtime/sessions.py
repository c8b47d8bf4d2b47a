"""Parts of a bundle as open sessions, each opened on first use, in the precision chosen for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from .backends import Backend, Session, SessionOptions, open_backend
from .bundle import Bundle
from .errors import EngineError, InputError, PrecisionError
from .manifest import Part

__all__ = ["Sessions", "choose_precisions", "open_sessions"]

_SHORT = {"int8": ("int8-cpu", "int8-trt")}


class Sessions:
    """Opens parts lazily and keeps them; `precisions` maps every part to its chosen precision.

    Where an engine is missing or not for this device, the backend that `fallback` opens runs the part's graph, and
    `notes` says why. Without a `fallback` that is an error.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        precision: str | Mapping[str, str],
        fallback: Callable[[], Backend] | None = None,
    ) -> None:
        self.bundle = bundle
        self.backend = backend
        self.precisions = choose_precisions(bundle.manifest.parts, backend, precision)
        self.notes: dict[str, str] = {}
        self._fallback = fallback
        self._second: Backend | None = None
        self._open: dict[str, Session] = {}

    def get(self, part: str) -> Session:
        """The session of a part; opened (file read, hash checked) the first time."""
        session = self._open.get(part)
        if session is None:
            spec = self.bundle.manifest.parts[part]
            graph = self.bundle.graph(part, self.precisions[part])
            try:
                session = self._open[part] = self.backend.open(graph, spec.inputs, spec.outputs)
            except EngineError as error:
                session = self._open[part] = self._stand_in(part, spec, error)
        return session

    def _stand_in(self, part: str, spec: Part, error: EngineError) -> Session:
        """The same part on the second backend, with a note why."""
        if self._fallback is None:
            raise error
        self._second = self._second or self._fallback()
        precision = choose_precisions({part: spec}, self._second, "auto")[part]
        session = self._second.open(self.bundle.graph(part, precision), spec.inputs, spec.outputs)
        self.precisions[part] = precision
        self.notes[part] = f"runs in {precision} on {self._second.name}: {error}"
        return session

    @property
    def opened(self) -> tuple[str, ...]:
        """Parts that are open now, in the order of opening."""
        return tuple(self._open)

    def close(self) -> None:
        """Close every session, then the backend; a second call does nothing."""
        while self._open:
            self._open.popitem()[1].close()
        if self._second is not None:
            self._second.close()
            self._second = None
        self.backend.close()


def open_sessions(
    bundle: Bundle, backend: str, precision: str | Mapping[str, str], options: SessionOptions, *, strict: bool = False
) -> Sessions:
    """The sessions of a bundle on the backend of that name; none is open yet, unless missing engines are to be built.

    `strict`: a part that the backend cannot open is an error, instead of running on ONNX Runtime.
    """
    engine = open_backend(backend, options)
    try:
        made = Sessions(bundle, engine, precision, None if strict else partial(open_backend, "ort", options))
        if options.build == "missing":
            for part in bundle.manifest.parts:
                made.get(part)
        return made
    except BaseException:
        engine.close()
        raise


def choose_precisions(parts: Mapping[str, Part], backend: Backend, asked: str | Mapping[str, str]) -> dict[str, str]:
    """part → precision. `asked`: "auto", one precision ("int8": the backend's own kind), or some parts → precision.

    "auto" is the part's preferred precision, or the best one that the backend runs. One precision for all: a part that
    has it not (nothing in it can be quantised, say) runs in FP32, as long as any part has it. PrecisionError lists what
    there is.
    """
    if not isinstance(asked, str):
        unknown = [name for name in asked if name not in parts]
        if unknown:
            raise InputError("No such part", found=", ".join(unknown), expected=f"some of {', '.join(parts)}")
        return {name: _choose(name, part, backend, asked.get(name, "auto")) for name, part in parts.items()}
    having = {name for name, part in parts.items() if _has(part, backend, asked)}
    others = asked if asked == "auto" or not having else "fp32"
    return {name: _choose(name, part, backend, asked if name in having else others) for name, part in parts.items()}


def _has(part: Part, backend: Backend, asked: str) -> bool:
    """Whether a part has a variant of that precision which the backend runs."""
    wanted, runs = _SHORT.get(asked, (asked,)), backend.precisions()
    return any(each.precision in wanted and each.precision in runs for each in part.variants)


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
