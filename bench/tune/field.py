"""The candidates of one part: which there are, what each costs in accuracy, who is fastest of those that may run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from msgspec.structs import asdict

from ...export.calibrate import Feeds
from ...runtime.backends import Backend, Session, SessionOptions, available, candidates, open_backend
from ...runtime.backends.ort import threads_for, usable_threads
from ...runtime.bundle import Bundle
from ...runtime.errors import BackendError
from ...runtime.tuned import Choice
from .footprint import footprint
from .judge import FP32, Judge, Kind, kind_name
from .race import Lane, Rules, race
from .state import PartResult, Row, Wish

__all__ = ["Field", "Opener", "clock_of", "rank", "words"]

_TOGETHER = 3 * 2**29
"""Bytes of graphs that are open at the same time."""
_ON, _NEAR = 2, 1.01
"""How many of the first heat get their settings varied; how much slower a plainer candidate may be and still lead."""
_PLAIN = ("fp32", "fp16", "int8-cpu", "int8-trt")


class Opener:
    """Sessions of a bundle's parts in any choice; backends are kept, sessions are the caller's."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.absent = {name: why for name, why in available().items() if why is not None}
        self._backends: dict[tuple[str, SessionOptions], Backend] = {}
        self._kept: dict[tuple[str, Kind], Session] = {}

    def backend(self, name: str, options: SessionOptions) -> Backend:
        """Opened once for each set of options."""
        if (name, options) not in self._backends:
            self._backends[name, options] = open_backend(name, options)
        return self._backends[name, options]

    def open(self, part: str, choice: Choice) -> Session:
        """A new session. Raises BackendError."""
        spec = self.bundle.manifest.parts[part]
        backend = self.backend(choice.backend, choice.options)
        return backend.open(self.bundle.graph(part, choice.precision), spec.inputs, spec.outputs)

    def judged(self, part: str, kind: Kind) -> Session:
        """A session on one thread that is kept until `release`, to judge answers with."""
        if (part, kind) not in self._kept:
            self._kept[part, kind] = self.open(part, Choice(kind[1], kind[0], threads=1))
        return self._kept[part, kind]

    def release(self) -> None:
        """Close what was kept."""
        while self._kept:
            self._kept.popitem()[1].close()

    def close(self) -> None:
        """Close sessions that were kept, then backends."""
        self.release()
        while self._backends:
            self._backends.popitem()[1].close()

    def kinds(self, part: str) -> Iterator[Kind]:
        """Every variant on every backend that is here, may be chosen by measurement, and says that it runs it."""
        there = [each.precision for each in self.bundle.manifest.parts[part].variants]
        for name in candidates(usable_threads()):
            if name not in self.absent:
                runs = self.backend(name, SessionOptions()).precisions()
                yield from ((name, precision) for precision in _PLAIN if precision in runs and precision in there)

    def unrun(self, part: str) -> list[str]:
        """Variants that no backend here runs."""
        run = {precision for _, precision in self.kinds(part)}
        return [v.precision for v in self.bundle.manifest.parts[part].variants if v.precision not in run]


def clock_of(objective: str) -> Callable[[], float]:
    """What is counted: the wall's time, or for throughput the processor time of all threads."""
    return time.process_time if objective == "throughput" else time.perf_counter


def words(choice: Choice) -> str:
    """A choice in a few words."""
    threads = "" if choice.threads is None else f", {choice.threads} thread" + ("s" if choice.threads > 1 else "")
    more = ", spinning" * choice.spinning + ", no arena" * (not choice.arena)
    return f"{choice.precision} on {choice.backend}{threads}{more}" + (
        f", level {choice.level}" if choice.level != "all" else ""
    )


@dataclass
class Field:
    """Measures one part. `wall` and `clock` in seconds; tests hand in their own."""

    opener: Opener
    judge: Judge
    wish: Wish
    rules: Rules
    wall: Callable[[], float] = time.perf_counter
    clock: Callable[[], float] | None = None

    def measure(self, part: str, feeds: Sequence[Feeds], advance: Callable[[float], object]) -> PartResult:
        """Judge every variant, race those that are inside the drop, and rank them."""
        result = PartResult([])
        fit = [kind for kind in self.opener.kinds(part) if self._judged(part, kind, feeds, result)]
        advance(0.3)
        self.opener.release()
        settings = candidates(usable_threads())
        nbytes = self.opener.bundle.graph(part, "fp32").nbytes
        reference = Choice("fp32", "ort", threads=threads_for(nbytes, None))
        first = [_choice(kind, options) for kind in fit for options in settings[kind[0]][0]]
        lanes = self._heat(part, nbytes, reference, first, feeds, lambda share: advance(0.3 + 0.4 * share))
        best = sorted((each for each in lanes if not lanes[each].beaten), key=lambda each: lanes[each].ratio)[:_ON]
        more = [_changed(each, change) for each in best for change in settings[each.backend][1]]
        if more:
            final = self._heat(part, nbytes, reference, [*best, *more], feeds, lambda s: advance(0.7 + 0.3 * s))
            lanes |= final
        rows = [_row(choice, lane, lanes, result) for choice, lane in lanes.items()]
        result.rows = rank(rows, reference) + result.rows
        return result

    def _judged(self, part: str, kind: Kind, feeds: Sequence[Feeds], result: PartResult) -> bool:
        """Whether a variant on a backend opens and is inside the drop; what it costs goes into the result."""
        plain = Row(Choice(kind[1], kind[0]), verdict="refused")
        try:
            cost = self.judge.alone(part, kind, feeds)
        except BackendError as error:
            plain.why = str(error)
            result.rows.append(plain)
            return False
        result.lost[kind_name(kind)] = {"": cost.drop, **cost.lost}
        result.shift[kind_name(kind)] = cost.shift
        if kind == FP32 or cost.drop <= self.wish.max_drop + 1e-9:
            return True
        plain.drop, plain.where = cost.drop, cost.where
        plain.why = f"outside the drop: loses {cost.drop:.3g} ({cost.where}), allowed {self.wish.max_drop:g}"
        result.rows.append(plain)
        return False

    def _heat(
        self, part: str, nbytes: int, reference: Choice, choices: Sequence[Choice], feeds: Sequence[Feeds],
        advance: Callable[[float], object],
    ) -> dict[Choice, Lane]:  # fmt: skip
        """Race choices against the reference, so many at a time as memory allows."""
        rivals = [each for each in dict.fromkeys(choices) if each != reference]
        if self.wish.objective == "memory":
            return footprint(self.opener.bundle.path, part, [reference, *rivals], advance)
        size = max(1, _TOGETHER // max(nbytes, 1) - 1)
        batches = [rivals[at : at + size] for at in range(0, len(rivals), size)] or [[]]
        found: dict[Choice, Lane] = {}
        for index, batch in enumerate(batches):
            rules = replace(self.rules, seconds=self.rules.seconds / len(batches))
            done = lambda share, index=index: advance((index + share) / len(batches))  # noqa: E731
            found |= self._batch(part, [reference, *batch], feeds, rules, done)
        return found

    def _batch(
        self, part: str, choices: Sequence[Choice], feeds: Sequence[Feeds], rules: Rules,
        advance: Callable[[float], object],
    ) -> dict[Choice, Lane]:  # fmt: skip
        sessions = [self.opener.open(part, each) for each in choices]
        try:
            runs = [partial(_run, session, feeds) for session in sessions]
            lanes = race(runs, rules, self.clock or clock_of(self.wish.objective), self.wall, advance)
        finally:
            for session in sessions:
                session.close()
        return dict(zip(choices, lanes, strict=True))


def _run(session: Session, feeds: Sequence[Feeds], index: int) -> None:
    session.run(feeds[index % len(feeds)])


def _choice(kind: Kind, options: SessionOptions) -> Choice:
    return Choice(kind[1], kind[0], options.threads, options.spinning, options.arena, options.level)


def _changed(choice: Choice, change: Mapping[str, object]) -> Choice:
    return Choice(**{**asdict(choice), **change})


def _row(choice: Choice, lane: Lane, lanes: Mapping[Choice, Lane], result: PartResult) -> Row:
    drop = result.lost.get(kind_name((choice.backend, choice.precision)), {}).get("")
    row = Row(choice, lane.ratio, lane.low, lane.high, 1e3 * lane.seconds, lane.rounds, drop)
    if lane.beaten is not None:
        row.verdict = "slower"
    return row


def rank(rows: Sequence[Row], reference: Choice) -> list[Row]:
    """The fit first, who is to be taken at their top; a row that is not surely faster than the reference is not fit.

    Of those within 1 % of the fastest the plainest leads: the higher precision, the usual backend and settings.
    """
    for row in rows:
        assert row.ratio is not None
        assert row.high is not None
        if row.choice == reference:
            row.verdict, row.why = "fit", "the reference"
        elif row.low is not None and row.low > 1.0:
            row.verdict, row.why = "slower", f"slower than FP32: {row.ratio:.2f} times [{row.low:.2f}, {row.high:.2f}]"
        elif row.high >= 1.0:
            row.verdict, row.why = "slower", f"not surely faster than FP32: {row.low:.2f} to {row.high:.2f} times"
        elif row.verdict == "slower":
            row.why = f"slower than others, after {row.rounds} rounds"
    fit = sorted((row for row in rows if row.verdict == "fit"), key=lambda row: row.ratio or 0.0)
    near = [row for row in fit if (row.ratio or 0.0) <= (fit[0].ratio or 0.0) * _NEAR]
    first = min(near, key=lambda row: _plainness(row.choice))
    rest = sorted((row for row in rows if row.verdict != "fit"), key=lambda row: row.ratio or 0.0)
    return [first, *(row for row in fit if row is not first), *rest]


def _plainness(choice: Choice) -> tuple[object, ...]:
    usual = candidates(1)  # in the order in which backends are tried by themselves, ORT's first
    backend = (
        0 if choice.backend == FP32[0] else 1 + list(usual).index(choice.backend) if choice.backend in usual else 9
    )
    return (
        _PLAIN.index(choice.precision),
        backend,
        choice.threads or 0,
        choice.spinning,
        not choice.arena,
        choice.level,
    )
