"""The stages of a tuning before whole decisions, within the budget: feeds, judging, races of one part after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...export.calibrate import Calibration, Feeds, parts_in_order
from ...export.verify import check_feeds
from ...runtime.bundle import Bundle
from ...runtime.errors import ExportError
from ...runtime.manifest import Manifest
from ...runtime.tuned import Choice
from ...runtime.values import Array
from . import whole
from .field import Field
from .opener import FP32, Kind, kind_name
from .state import PartResult, Progress, Row, save

__all__ = ["collect", "judge_parts", "race_parts", "wanted_parts"]

_FEEDS = 8
_PREPARING, _JUDGING = 0.5, 0.6
"""Shares of the budget after which no more parts are fed, and no more kinds judged."""
_ENCODING = 0.25
"""Share of the budget that running encoders on the captures to judge may take; fewer captures are taken if need be."""
_LEAST_WHOLE, _MOST_WHOLE = 0.15, 0.3
"""Shares of the budget that are kept for whole decisions."""
_SMALL = 0.02
"""Share of the budget up to which a part gets all that it needs."""

Advance = Callable[[str, float], object]


def wanted_parts(manifest: Manifest) -> list[str]:
    """The parts that are tuned: those of decisions and of the decoder, of fusion only the default kind."""
    kinds = {} if manifest.fusion is None else manifest.fusion.kinds
    other = {part for kind, part in kinds.items() if manifest.fusion is not None and kind != manifest.fusion.default}
    return [part for part in parts_in_order(manifest) if part not in other]


def collect(
    field: Field, bundle: Bundle, calibration: Calibration, state: Progress, progress: Advance
) -> tuple[dict[str, list[Feeds]], list[str]]:
    """(part → what it is fed with, by running FP32; what could not be tuned, and why). The state gets all parts."""
    found: dict[str, list[Feeds]] = {}
    notes: list[str] = []
    source = check_feeds(bundle.manifest, bundle.read, calibration, _FEEDS)
    wanted = wanted_parts(bundle.manifest)
    for index, part in enumerate(wanted):
        progress(f"feeding {part}", 0.1 * index / len(wanted))
        if part not in field.judge.parts and field.budget.wall() > field.budget.end(_PREPARING):
            field.budget.cut("not tuned", part)
            notes.append(f"{part} is not tuned: no time was left")
            continue
        try:
            found[part] = source.take(part, _runner(field, part), _FEEDS)
        except ExportError as error:
            notes.append(f"{part} is not tuned: {error}")
            continue
        state.parts.setdefault(part, PartResult([]))
    return found, notes


def _runner(field: Field, part: str) -> Callable[[Feeds], dict[str, Array]]:
    """The part in FP32, as a function that is opened when it is first called."""
    opener = field.opener

    def run(feeds: Feeds) -> dict[str, Array]:
        (session,) = opener.judged((part, FP32))
        before = opener.wall()
        made = session.run({each.name: feeds[each.name] for each in session.inputs})
        seconds = opener.wall() - before
        opener.running[part, FP32] = min(seconds, opener.running.get((part, FP32), seconds))
        return {name: value.copy() for name, value in made.items()}

    return run


def judge_parts(
    field: Field, feeds: Mapping[str, Sequence[Feeds]], state: Progress, out: Path, progress: Advance
) -> None:
    """Judge every kind of every part alone, the likeliest of all parts first; what there is no time for is said."""
    queues = {part: list(field.opener.kinds(part)) for part in feeds}
    order = [(part, queue[at]) for at in range(max(map(len, queues.values()), default=0))
             for part, queue in queues.items() if at < len(queue)]  # fmt: skip
    order.sort(key=lambda each: each[1] != FP32)
    _limit(field, order)  # of a run that is gone on with, too: its plan is judged as a whole
    order = [each for each in order if not _known(state.parts[each[0]], each[1])]
    took: dict[str, float] = {}
    missing = 0.0
    for index, (part, kind) in enumerate(order):
        progress(f"judging {part}", 0.1 + 0.25 * index / len(order))
        start = field.budget.wall()
        if kind != FP32 and not _affordable(field, state, kind, took.get(part, 0.0)):
            missing += took.get(part, 0.0)
            field.budget.cut("not judged", f"{part} {kind_name(kind)}")
            row = Row(Choice(kind[1], kind[0]), verdict="untried", why="not judged: no time was left")
            state.parts[part].rows.append(row)
            continue
        field.judged(part, kind, feeds[part], state.parts[part])
        took[part] = field.budget.wall() - start
        save(state, out)
    field.opener.release()
    field.budget.needs("judging", field.budget.spent + missing)
    field.budget.needs("racing what was not judged", missing)


def _affordable(field: Field, state: Progress, kind: Kind, seconds: float) -> bool:
    """Whether there is time to judge one more kind; on another backend than FP32's only if those that were judged can
    still be raced to the end."""
    if field.budget.wall() + seconds > field.budget.end(_JUDGING):
        return False
    if kind[0] == FP32[0]:
        return True
    races = sum(sum(field.needs(part, result)) for part, result in state.parts.items() if not result.raced)
    last = 0.0 if field.wish.objective == "memory" else _kept(field, state)[1]
    return field.budget.left - seconds >= races + last


def _kept(field: Field, state: Progress) -> tuple[float, float]:
    """Seconds that the runs of whole decisions need, and those that are kept for them."""
    seconds = whole.need(state.parts, field.judge, field.rules)
    return seconds, field.budget.seconds * min(max(seconds / field.budget.seconds, _LEAST_WHOLE), _MOST_WHOLE)


def _known(result: PartResult, kind: Kind) -> bool:
    """Whether an earlier run judged that; what it had no time for is judged now."""
    result.rows = [row for row in result.rows if result.raced or row.verdict != "untried"]
    refused = any((row.choice.backend, row.choice.precision) == kind and row.cost is None for row in result.rows)
    return result.raced or refused or kind_name(kind) in result.lost


def _limit(field: Field, order: Sequence[tuple[str, Kind]]) -> None:
    """Judge on fewer captures where encoders are too slow for all of them."""
    judge, running = field.judge, field.opener.running
    encoders = {each.part for each in judge.manifest.modalities}
    each = sum(running.get((part, FP32), 0.0) for part, _ in order if part in encoders)
    if judge.limit(int(_ENCODING * field.budget.seconds / max(each, 1e-9))):
        field.budget.needs("judging", each * judge.given)
        field.budget.cut("fewer captures", f"judged on {judge.count} of {judge.given}")


def race_parts(
    field: Field, feeds: Mapping[str, Sequence[Feeds]], state: Progress, out: Path, progress: Advance
) -> None:
    """Race every part that was not raced yet, each with a share of the time as large as its need.

    What the runs of whole decisions need is left to them.
    """
    budget, memory = field.budget, field.wish.objective == "memory"
    last, kept = (0.0, 0.0) if memory else _kept(field, state)
    end = budget.end(1.0) - kept
    waiting = {part: sum(field.needs(part, state.parts[part])) for part in feeds if not state.parts[part].raced}
    budget.needs("racing parts", sum(waiting.values()))
    if not memory:
        budget.needs("whole decisions", last)
    parts = sorted(waiting, key=lambda part: waiting[part])  # what is left over goes to the large ones
    for index, part in enumerate(parts):
        now = budget.wall()
        least = {each: field.least(each, state.parts[each]) for each in waiting}
        spare = max(0.0, end - now - sum(least.values()))
        share = spare * waiting[part] / max(sum(waiting.values()), 1e-9)
        until = min(end, now + max(least[part] + share, min(waiting[part], _SMALL * budget.seconds)))
        waiting.pop(part)

        def advance(share: float, part: str = part, index: int = index) -> None:
            progress(f"measuring {part}", 0.35 + 0.45 * (index + share) / len(parts))

        advance(0.0)
        field.measure(part, feeds[part], state.parts[part], until, advance)
        save(state, out)
