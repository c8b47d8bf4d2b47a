"""The candidates of one part: which there are, what each costs in accuracy, who is fastest of those that may run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from msgspec.structs import asdict

from ...export.calibrate import Feeds
from ...runtime.backends import Session, SessionOptions, candidates
from ...runtime.backends.ort import threads_for, usable_threads
from ...runtime.errors import BackendError
from ...runtime.tuned import Choice
from .budget import Budget
from .footprint import footprint
from .judge import Judge
from .opener import FP32, Kind, Opener, kind_name, kind_of
from .race import Lane, Rules, race
from .ranking import rank
from .state import PartResult, Row, Wish

__all__ = ["Field", "clock_of"]

_ON = 2
"""How many of the first heat get their settings varied."""
_CHANGES = 3
"""Changes to each of those, for planning."""
_FEW = 7
"""Rounds, warm-up included, that each candidate of a race takes when half of them leave after two, four and eight."""
_FIRST = 0.8
"""Share of its time that the first heat of a part takes if it needs it."""
_TOGETHER = 12
"""Sessions that are raced at the same time, if there is memory for them."""
_BRIEF = 0.25
"""Seconds that a race may take in any case: many rounds of small graphs, two of others."""
_FOOTPRINT_S = 2.0


def clock_of(objective: str) -> Callable[[], float]:
    """What is counted: the wall's time, or for throughput the processor time of all threads."""
    return time.process_time if objective == "throughput" else time.perf_counter


@dataclass
class Field:
    """Measures parts within `budget`. `clock` in seconds is what is compared; tests hand in their own. `pace`: how many
    times what judging took the last race took, where other processes or sessions stand in the way."""

    opener: Opener
    judge: Judge
    wish: Wish
    rules: Rules
    budget: Budget
    clock: Callable[[], float] | None = None
    pace: float = 1.0

    def judged(self, part: str, kind: Kind, feeds: Sequence[Feeds], result: PartResult) -> None:
        """Judge one kind alone; what it costs goes into the result, a refusal among its rows."""
        plain = Row(Choice(kind[1], kind[0]), verdict="refused")
        try:
            cost = self.judge.alone(part, kind, feeds)
            self._probe(part, kind, feeds)
        except BackendError as error:
            if kind == FP32:
                raise
            plain.why = str(error)
            result.rows.append(plain)
            return
        name = kind_name(kind)
        result.lost[name], result.shift[name] = {"": cost.drop, **cost.lost}, cost.shift
        result.seconds[name] = self.opener.opening[part, kind], self.opener.running[part, kind]
        if kind != FP32 and cost.drop > self.wish.max_drop + 1e-9:
            plain.drop, plain.where = cost.drop, cost.where
            plain.why = f"outside the drop: loses {cost.drop:.3g} ({cost.where}), allowed {self.wish.max_drop:g}"
            result.rows.append(plain)

    def _probe(self, part: str, kind: Kind, feeds: Sequence[Feeds]) -> None:
        """Time one run where judging did not."""
        if (part, kind) not in self.opener.running:
            (session,) = self.opener.judged((part, kind))
            before = self.budget.wall()
            session.run(feeds[0])
            self.opener.running[part, kind] = self.budget.wall() - before

    def needs(self, part: str, result: PartResult) -> tuple[float, float]:
        """Seconds of racing a part: of the first heat, of the second with its two fastest."""
        if self.wish.objective == "memory":
            return _FOOTPRINT_S * len(self._first(part, result)), _FOOTPRINT_S * _ON * _CHANGES
        first = self._first(part, result)
        varied = [kind for kind in self._fit(part, result) if candidates(usable_threads())[kind[0]][1]]
        reference = self.opener.reference(part)
        quick = min(varied, key=lambda kind: result.seconds[kind_name(kind)][1], default=None)
        second = [] if quick is None else [Choice(quick[1], quick[0])] * _ON * (1 + _CHANGES)
        enough = self.rules.fewest + 2
        one, two = (self._cost(part, result, [reference, *each], enough) for each in (first, second))
        return one, two

    def least(self, part: str, result: PartResult) -> float:
        """Seconds without which nothing can be said of a part: of its likeliest candidate beside the reference."""
        reference = self.opener.reference(part)
        rivals = [each for each in self._first(part, result) if each != reference]
        likeliest = sorted(rivals, key=lambda each: self._run(part, result, each))[:1]
        return _FOOTPRINT_S if self.wish.objective == "memory" else self._cost(part, result, [reference, *likeliest], 8)

    def measure(
        self, part: str, feeds: Sequence[Feeds], result: PartResult, end: float, advance: Callable[[float], object]
    ) -> None:
        """Race what is inside the drop until `end`, on the budget's clock, and rank it into the result."""
        reference = self.opener.reference(part)
        heats = self.needs(part, result)
        now = self.budget.wall()
        half = now + max((end - now) * heats[0] / max(sum(heats), 1e-9), min(heats[0], _FIRST * (end - now)))
        first = self._first(part, result)
        lanes = self._heat(part, result, reference, first, feeds, half, lambda share: advance(0.6 * share))
        settings = candidates(usable_threads())
        best = sorted((each for each in lanes if not lanes[each].beaten), key=lambda each: lanes[each].ratio)[:_ON]
        more = [_changed(each, change) for each in best for change in settings[each.backend][1]]
        if more:
            final = self._heat(part, result, reference, [*best, *more], feeds, end, lambda s: advance(0.6 + 0.4 * s))
            lanes |= {each: lane for each, lane in final.items() if lane.rounds >= lanes.get(each, lane).rounds}
        result.rows = self._rows(part, reference, [*first, *more], lanes, result)
        result.raced = True

    def _rows(
        self, part: str, reference: Choice, choices: Sequence[Choice], lanes: Mapping[Choice, Lane], result: PartResult
    ) -> list[Row]:
        """All candidates ranked; after them those that there was no time for, then those that were refused."""
        rows = [_row(choice, lane, result) for choice, lane in lanes.items()]
        if reference not in lanes:
            seconds = result.seconds[kind_name(FP32)][1]
            rows.append(Row(reference, 1.0, 1.0, 1.0, 1e3 * seconds, 0, 0.0))
        untried = [each for each in dict.fromkeys(choices) if each not in lanes and each != reference]
        if untried:
            count = len(dict.fromkeys([reference, *choices]))
            self.budget.cut("not raced", f"{part} {len(untried)} of {count}")
        raced = [] if self.wish.objective == "memory" or len(lanes) == 1 else lanes.values()
        if any(lane.hurried or lane.rounds < self.rules.fewest for lane in raced):
            self.budget.cut(f"fewer than {self.rules.fewest} rounds", part)
        late = [Row(each, verdict="untried", why="not raced: no time was left") for each in untried]
        return [*rank(rows, reference), *late, *result.rows]

    def _fit(self, part: str, result: PartResult) -> list[Kind]:
        """Kinds that were judged and not refused."""
        refused = {kind_of(row.choice) for row in result.rows}
        return [each for each in self.opener.kinds(part) if kind_name(each) in result.lost and each not in refused]

    def _first(self, part: str, result: PartResult) -> list[Choice]:
        settings = candidates(usable_threads())
        return [_choice(kind, options) for kind in self._fit(part, result) for options in settings[kind[0]][0]]

    def _cost(self, part: str, result: PartResult, choices: Sequence[Choice], rounds: int) -> float:
        """Seconds that opening and so many rounds take, by what judging took; more rounds where that is quick."""
        whole = 0.0
        for each in choices:
            run = self.pace * self._run(part, result, each)
            whole += self.pace * result.seconds[kind_name(kind_of(each))][0] + max(
                rounds * run, min(self.rules.rounds * run, 0.1)
            )
        return whole

    def _run(self, part: str, result: PartResult, choice: Choice) -> float:
        """Seconds of one run as far as judging can tell; with fewer threads than it had then, as much longer."""
        usual = threads_for(self.opener.size(part, choice.precision), None)
        return result.seconds[kind_name(kind_of(choice))][1] * max(1.0, usual / (choice.threads or usual))

    def _heat(
        self, part: str, result: PartResult, reference: Choice, choices: Sequence[Choice], feeds: Sequence[Feeds],
        end: float, advance: Callable[[float], object],
    ) -> dict[Choice, Lane]:  # fmt: skip
        """Race choices against the reference, as many at a time as memory has room for, the likeliest first.

        The fastest of one batch runs in the next, so that losers leave early there too.
        """
        rivals = [each for each in dict.fromkeys(choices) if each != reference]
        rivals.sort(key=lambda each: self._run(part, result, each))
        if self.wish.objective == "memory":

            def late() -> bool:
                return self.budget.wall() > end

            return footprint(self.opener.bundle.path, part, [reference, *rivals], advance, late)
        found: dict[Choice, Lane] = {}
        leader: list[Choice] = []
        while rivals or not found:
            batch = self._batch(part, result, [reference, *leader], rivals, end)
            if len(batch) == 1 + len(leader) and (found or rivals):
                break
            rivals = [each for each in rivals if each not in batch]
            done, share = len(found), len(batch) / (len(batch) + len(rivals))
            now = self.budget.wall()

            def one(now_done: float, done: int = done, batch: int = len(batch), later: int = len(rivals)) -> None:
                advance((done + now_done * batch) / (done + batch + later))

            for choice, lane in self._race(part, result, batch, feeds, now + (end - now) * share, one).items():
                if choice not in found or lane.beaten or lane.rounds > found[choice].rounds:
                    found[choice] = lane
            ahead = [each for each, lane in found.items() if not lane.beaten and each != reference and lane.ratio < 1.0]
            leader = sorted(ahead, key=lambda each: found[each].ratio)[:1]
        return found

    def _batch(
        self, part: str, result: PartResult, always: Sequence[Choice], rivals: Sequence[Choice], end: float
    ) -> list[Choice]:
        """Those who always run, and the first of the rivals, as far as memory and time go; one fits in any case."""
        batch = list(always)
        for each in rivals:
            sizes = sum(self.opener.size(part, one.precision) for one in (*batch, each))
            crowded = sizes > self.opener.room or len(batch) >= _TOGETHER
            if crowded and len(batch) > len(always):
                break
            if self.budget.wall() + self._cost(part, result, [*batch, each], _FEW) > end:
                break
            batch.append(each)
        return batch

    def _race(
        self, part: str, result: PartResult, choices: Sequence[Choice], feeds: Sequence[Feeds], end: float,
        advance: Callable[[float], object],
    ) -> dict[Choice, Lane]:  # fmt: skip
        sessions: list[Session] = []
        try:
            sessions.extend(self.opener.open(part, each) for each in choices)
            runs = [partial(_run, session, feeds) for session in sessions]
            start = self.budget.wall()
            rules = replace(self.rules, seconds=max(end - start, _BRIEF))
            lanes = race(runs, rules, self.clock or clock_of(self.wish.objective), self.budget.wall, advance)
            thought = sum(
                (2 + lane.rounds) * self._run(part, result, each) for each, lane in zip(choices, lanes, strict=True)
            )
            if thought > _BRIEF:
                self.pace = max(1.0, (self.budget.wall() - start) / thought)
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


def _row(choice: Choice, lane: Lane, result: PartResult) -> Row:
    drop = result.lost.get(kind_name(kind_of(choice)), {}).get("")
    row = Row(choice, lane.ratio, lane.low, lane.high, 1e3 * lane.seconds, lane.rounds, drop)
    if lane.beaten is not None:
        row.verdict = "slower"
        row.why = f"looked slower, {lane.rounds} rounds: time ran short" if lane.hurried else ""
    return row
