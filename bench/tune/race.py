"""Interleaved runs with early stopping: who is slower is known long before everybody has run to the end.

Candidates take turns in rounds, each round in another order; every figure is a ratio of two times of one round, so what
the machine does from minute to minute falls on both. Clear losers leave (successive elimination: Even-Dar, Mannor and
Mansour 2006, with intervals that assume no distribution): the median of log(time / best's time) lies above the lower
bound that order statistics give (Hahn and Meeker 1991, section 5.2: P(fewer than l of n values below a quantile q) is
binomial). The error is shared out over all looks and candidates (Bonferroni), so that the fastest is dropped with a
probability of at most `error`, if rounds are independent.

Where the time does not allow the rounds that this takes, the slower half leaves after two rounds, four, eight
(sequential halving: Karnin, Koren and Somekh 2013); that promises nothing, and the lane says so (`hurried`).

For p99 the times are divided by the reference's median around their round, and quantiles compared, not pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from ...runtime.values import Array

__all__ = ["Lane", "Rules", "beside", "race", "rank_below"]

_NEAR = 4
"""Rounds to each side whose median of the reference stands for the machine's speed, for p99."""
_WARM, _LEAST = 2, 2
"""Rounds that are not counted; rounds that are run whatever time they take."""


@dataclass(frozen=True)
class Rules:
    """How long a race goes on. `error`: the chance that the fastest is dropped; `level`: of the intervals shown.

    `rounds`: at most; `fewest`: before anybody is surely slower; `growth`: of the rounds from one look to the next;
    `seconds`: at most, warm-up included, beyond two rounds; `quantile` 0.5 or 0.99. The reference, candidate 0, runs to
    the end.
    """

    rounds: int = 200
    fewest: int = 14
    growth: float = 1.4
    seconds: float = math.inf
    error: float = 0.01
    level: float = 0.99
    quantile: float = 0.5

    @property
    def looks(self) -> list[int]:
        """After how many rounds it is asked who is surely slower."""
        found = [self.fewest]
        while found[-1] * self.growth <= self.rounds:
            found.append(math.ceil(found[-1] * self.growth))
        return found


@dataclass
class Lane:
    """One candidate's race. `ratio` to the reference with the interval `low` to `high`; `seconds`: the quantile of its
    own times; `beaten`: by whom, in how many rounds; None: it ran to the end. `hurried`: it left because time ran
    short, while it looked slower."""

    times: list[float] = field(default_factory=list)
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seconds: float = math.nan
    beaten: tuple[int, int] | None = None
    hurried: bool = False

    @property
    def rounds(self) -> int:
        """In how many it ran."""
        return len(self.times)


def race(
    runs: Sequence[Callable[[int], object]],
    rules: Rules,
    clock: Callable[[], float],
    wall: Callable[[], float],
    advance: Callable[[float], object] = lambda share: None,
) -> list[Lane]:
    """Race `runs`, each called with the round's number; the first is the reference. `clock` times them (seconds),
    `wall` ends the race. Two warm-up rounds are not counted, but take of its time."""
    lanes, start, looks = [Lane() for _ in runs], wall(), rules.looks
    for warm in range(_WARM):
        for run in runs:
            run(warm)
    for index in range(rules.rounds):
        before = wall()
        _round(runs, lanes, index, clock)
        done, spent = index + 1, wall() - start
        if done in looks:
            _eliminate(lanes, rules, rules.error / (len(looks) * max(1, len(lanes) - 1)))
        elif _LEAST <= done < rules.fewest and done & (done - 1) == 0:
            _hurry(lanes, rules, (rules.seconds - spent) / ((rules.fewest - done) * max(wall() - before, 1e-9)))
        advance(max(done / rules.rounds, min(1.0, spent / rules.seconds)))
        if all(lane.beaten for lane in lanes[1:]) or (spent > rules.seconds and done >= _LEAST):
            break
    for lane in lanes:
        _summarise(lane, lanes[0], rules)
    return lanes


def _round(
    runs: Sequence[Callable[[int], object]], lanes: Sequence[Lane], index: int, clock: Callable[[], float]
) -> None:
    """Everybody still in the race once, from another one on than in the round before."""
    running = [which for which, lane in enumerate(lanes) if lane.beaten is None or which == 0]
    for place in range(len(running)):
        which = running[(place + index) % len(running)]
        before = clock()
        runs[which](index)
        lanes[which].times.append(max(clock() - before, 1e-9))


def _eliminate(lanes: Sequence[Lane], rules: Rules, error: float) -> None:
    """Mark who is surely slower than the one that looks fastest now."""
    running = [which for which, lane in enumerate(lanes) if lane.beaten is None]
    values = {which: _relative(lanes[which], lanes[0], rules) for which in running}
    best = min(running, key=lambda which: float(np.quantile(values[which], rules.quantile)))
    for which in running:
        if which != best and _surely_slower(values[which], values[best], rules.quantile, error):
            lanes[which].beaten = best, lanes[which].rounds


def _hurry(lanes: Sequence[Lane], rules: Rules, share: float) -> None:
    """Let the slower half of the others go when rounds as long as the last one fit into what is left only `share` times
    as often as they should."""
    rivals = [which for which, lane in enumerate(lanes) if which > 0 and lane.beaten is None]
    if share >= 1.0 or len(rivals) < 2:
        return
    by_speed = sorted(rivals, key=lambda which: float(np.median(_relative(lanes[which], lanes[0], rules))))
    for which in by_speed[(len(rivals) + 1) // 2 :]:
        lanes[which].beaten, lanes[which].hurried = (by_speed[0], lanes[which].rounds), True


def _surely_slower(values: Array, best: Array, quantile: float, error: float) -> bool:
    if quantile == 0.5:
        low = rank_below(len(values), 0.5, error)
        return low is not None and bool(np.sort(values - best)[low] > 0)
    low, high = rank_below(len(values), quantile, error / 2), rank_below(len(best), 1 - quantile, error / 2)
    if low is None or high is None:
        return False
    return bool(np.sort(values)[low] > np.sort(best)[len(best) - 1 - high])


def _relative(lane: Lane, reference: Lane, rules: Rules) -> Array:
    """log(time / the reference's): of the same round, or for tails of the rounds around."""
    own, theirs = np.log(lane.times), np.log(reference.times[: len(lane.times)])
    if rules.quantile != 0.5:
        wide = np.pad(theirs, _NEAR, mode="edge")
        theirs = np.median(np.lib.stride_tricks.sliding_window_view(wide, 2 * _NEAR + 1), axis=1)
    relative: Array = own - theirs
    return relative


def _summarise(lane: Lane, reference: Lane, rules: Rules) -> None:
    """Ratio to the reference, and the race's quantile of its own times."""
    lane.ratio, lane.low, lane.high = beside(lane, reference, rules)
    lane.seconds = float(np.quantile(lane.times, rules.quantile))


def beside(lane: Lane, other: Lane, rules: Rules) -> tuple[float, float, float]:
    """(ratio to `other` over the rounds that both ran in, at the race's quantile; the interval of order statistics)."""
    count = min(lane.rounds, other.rounds)
    one, two = Lane(lane.times[:count]), Lane(other.times[:count])
    values = np.sort(_relative(one, two, rules))
    base = 0.0 if rules.quantile == 0.5 else float(np.quantile(_relative(two, two, rules), rules.quantile))
    error = (1 - rules.level) / 2
    low, high = rank_below(count, rules.quantile, error), rank_below(count, 1 - rules.quantile, error)
    return (
        math.exp(float(np.quantile(values, rules.quantile)) - base),
        math.exp(float(values[0 if low is None else low]) - base),
        math.exp(float(values[count - 1 if high is None else count - 1 - high]) - base),
    )


@cache
def rank_below(count: int, quantile: float, error: float) -> int | None:
    """The largest index into `count` sorted values that lies above the quantile with a probability of at most `error`.

    Value number i (from 0) lies above the quantile when at most i of them lie below it. None: not even the smallest
    value is sure enough.
    """
    share, index = 0.0, -1
    for below in range(count):
        share += math.exp(
            math.lgamma(count + 1) - math.lgamma(below + 1) - math.lgamma(count - below + 1)
            + below * math.log(quantile) + (count - below) * math.log1p(-quantile)
        )  # fmt: skip
        if share > error:
            break
        index = below
    return None if index < 0 else index
