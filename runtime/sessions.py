"""Parts of a bundle as open sessions, each opened on first use, in the precision chosen for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import get_args

from .backends import Backend, Session, SessionOptions, open_backend, usable_threads
from .bundle import Bundle
from .errors import BackendError, ChiasmError, EngineError, InputError, PrecisionError
from .hints import did_you_mean
from .manifest import Part
from .schema import Precision
from .tuned import Choice, look_up

__all__ = ["Sessions", "check_threads", "choose_precisions", "open_sessions"]

_PRECISIONS = ("auto", "int8", *get_args(Precision))
_SHORT = {"int8": ("int8-cpu", "int8-trt")}


class Sessions:
    """Opens parts lazily and keeps them; `precisions` and `backends` say how each runs, and on what.

    `choices`: parts that run otherwise than on `backend` (see tuned.py). Where an engine is missing or not for this
    device, the backend named by `fallback` runs the part's graph; where a choice cannot be opened, `backend` does.
    `notes` says why. Without a `fallback` a missing engine is an error.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        precision: str | Mapping[str, str],
        fallback: tuple[str, SessionOptions] | None = None,
        choices: Mapping[str, Choice] | None = None,
    ) -> None:
        self.bundle = bundle
        self.backend = backend
        self.precisions = choose_precisions(bundle.manifest.parts, backend, precision)
        self.backends = dict.fromkeys(bundle.manifest.parts, backend.name)
        self.notes: dict[str, str] = {}
        self._choices = dict(choices or {})
        for part, choice in self._choices.items():
            self.precisions[part], self.backends[part] = choice.precision, choice.backend
        self._fallback = fallback
        self._others: dict[tuple[str, SessionOptions], Backend] = {}
        self._opening = threading.Lock()
        self._open: dict[tuple[str, int], Session] = {}

    def get(self, part: str, use: int = 0) -> Session:
        """The session of a part; opened (file read, hash checked) the first time. Who needs a part for something else
        beside its first use, whose results have to stay, counts the uses."""
        session = self._open.get((part, use))
        if session is None:
            session = self._open[part, use] = self._made(part)
        return session

    def open(self, parts: Iterable[str]) -> None:
        """Open parts as `get` does, over the cores where their backends can. Raises what `get` would of the first part
        that cannot be opened.

        Weights are hashed beside the opening: nobody gets a session before all weights of these parts were checked.
        """
        waiting = [part for part in dict.fromkeys(parts) if (part, 0) not in self._open]
        together = sorted((part for part in waiting if self._together(part)), key=self._bytes)
        made: dict[str, Session | Exception] = {}

        def make(part: str) -> None:
            try:
                made[part] = self._made(part, check=False)
            except Exception as error:  # raised below, in the order of the parts
                made[part] = error

        files = dict.fromkeys(file for part in together for file in self._outside(part))
        jobs: list[Callable[[], None]] = [partial(make, part) for part in together]
        _work([*jobs, *(partial(self._check, file) for file in files)])
        opened = {part: one for part, one in made.items() if not isinstance(one, Exception)}
        try:
            for file in (file for part in opened for file in self._outside(part)):
                self.bundle.check(file)  # takes no time where that was done above
        except BaseException:
            for session in opened.values():
                session.close()
            raise
        self._open |= {(part, 0): opened[part] for part in waiting if part in opened}
        for part in waiting:
            if isinstance(error := made.get(part), Exception):
                raise error
            self.get(part)

    def _outside(self, part: str) -> tuple[str, ...]:
        """Files of weights of a part that stay outside its graph."""
        return self.bundle.outside(part, self.precisions[part])

    def _check(self, file: str) -> None:
        with suppress(ChiasmError):  # `open` asks again
            self.bundle.check(file)

    def _together(self, part: str) -> bool:
        """Whether the backend of a part opens graphs in several threads."""
        choice = self._choices.get(part)
        try:
            return (self.backend if choice is None else self._other(choice.backend, choice.options)).together
        except BackendError:  # `_chosen` makes a note of it
            return False

    def _bytes(self, part: str) -> int:
        """Size of the variant that was chosen for a part, with its weights."""
        variant = self.bundle.variant(part, self.precisions[part])
        return variant.bytes + sum(item.bytes for item in variant.external)

    def _made(self, part: str, *, check: bool = True) -> Session:
        """A new session. Without `check` nobody may have it before the part's weights were checked."""
        return self._chosen(part, check) or self._usual(part, check)

    def _chosen(self, part: str, check: bool) -> Session | None:
        """The session that was chosen for a part; None, with a note why, where it cannot be opened."""
        choice = self._choices.get(part)
        if choice is None:
            return None
        try:
            return self._start(part, self._other(choice.backend, choice.options), choice.precision, check)
        except BackendError as error:
            self.precisions[part] = self._best(part, self.backend)
            self.notes[part] = f"runs in {self.precisions[part]} on {self.backend.name}, not as tuned: {error}"
            return None

    def _usual(self, part: str, check: bool) -> Session:
        try:
            return self._start(part, self.backend, self.precisions[part], check)
        except EngineError as error:
            if self._fallback is None:
                raise
            second = self._other(*self._fallback)
            precision = self._best(part, second)
            session = self._start(part, second, precision, check)
            self.notes[part] = f"runs in {precision} on {second.name}: {error}"
            return session

    def _best(self, part: str, backend: Backend) -> str:
        return choose_precisions({part: self.bundle.manifest.parts[part]}, backend, "auto")[part]

    def _start(self, part: str, backend: Backend, precision: str, check: bool) -> Session:
        spec = self.bundle.manifest.parts[part]
        session = backend.open(self.bundle.graph(part, precision, check=check), spec.inputs, spec.outputs)
        self.precisions[part], self.backends[part] = precision, backend.name
        if session.note is not None:
            self.notes[part] = session.note
        return session

    def _other(self, name: str, options: SessionOptions) -> Backend:
        """A backend beside the first one, opened once for each set of options."""
        with self._opening:
            if (name, options) not in self._others:
                self._others[name, options] = open_backend(name, options)
            return self._others[name, options]

    @property
    def opened(self) -> tuple[str, ...]:
        """Parts that are open now, in the order of opening."""
        return tuple(dict.fromkeys(part for part, _ in self._open))

    def close(self) -> None:
        """Close every session, then the backends; a second call does nothing."""
        while self._open:
            self._open.popitem()[1].close()
        while self._others:
            self._others.popitem()[1].close()
        self.backend.close()


def _work(jobs: list[Callable[[], None]]) -> None:
    """Do what is in the list, the last first, in as many threads as there are CPUs; this one is one of them."""

    def work() -> None:
        while True:
            try:
                job = jobs.pop()
            except IndexError:
                return
            job()

    helpers = [threading.Thread(target=work) for _ in range(min(usable_threads(), len(jobs)) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()


def open_sessions(
    bundle: Bundle, backend: str, precision: str | Mapping[str, str], options: SessionOptions, *, strict: bool = False
) -> Sessions:
    """The sessions of a bundle on the backend of that name; none is open yet, unless missing engines are to be built.

    Where nothing is asked for ("auto", "auto", no threads), a choice that was measured on this host is followed; one
    that holds no more is named in `notes["tuned"]`. `strict`: a part that the backend cannot open is an error, instead
    of running on ONNX Runtime.
    """
    if options.build not in ("never", "missing"):
        raise InputError("Not a way to build engines", found=options.build, expected="never or missing")
    free = backend == precision == "auto" and options.threads is None
    tuned, stale = look_up(bundle) if free else (None, None)
    engine = open_backend(backend, options)
    try:
        fallback = None if strict else ("ort", options)
        made = Sessions(bundle, engine, precision, fallback, None if tuned is None else tuned.choices)
    except BaseException:
        engine.close()
        raise
    if stale is not None:
        made.notes["tuned"] = f"not used: {stale}"
    try:
        if options.build == "missing":
            for part in bundle.manifest.parts:
                made.get(part)
        return made
    except BaseException:
        made.close()
        raise


def check_threads(threads: object) -> None:
    """Raise InputError for what is no number of threads; None leaves it to the backend."""
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= 256):
        raise InputError(
            "Not a number of threads", found=repr(threads), expected="a whole number from 1 to 256, or None"
        )


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
    if asked not in _PRECISIONS:
        raise PrecisionError("No such precision", found=asked, expected=f"one of {', '.join(_PRECISIONS)}",
                             fix=did_you_mean(asked, _PRECISIONS))  # fmt: skip
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
