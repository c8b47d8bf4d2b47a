"""Elimination is quick where it is clear, and never drops the fastest more often than it says. Times are pretended."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from chiasm.bench.tune.race import Lane, Rules, race, rank_below
from hypothesis import given, settings
from hypothesis import strategies as st


class Pretence:
    """Candidates that take `speeds` seconds, times noise, times a machine that gets slower and faster."""

    def __init__(self, speeds: Sequence[float], seed: int, noise: float = 0.1, drift: float = 0.0) -> None:
        self.now, self.noise, self.drift = 0.0, noise, drift
        self.random = np.random.default_rng(seed)
        self.runs: list[Callable[[int], object]] = [self._run(speed) for speed in speeds]

    def _run(self, speed: float) -> Callable[[int], object]:
        def run(index: int) -> None:
            machine = 1.0 + self.drift * math.sin(index / 7)
            self.now += speed * machine * float(self.random.lognormal(0.0, self.noise))

        return run

    def clock(self) -> float:
        return self.now

    def race(self, rules: Rules) -> list[Lane]:
        return race(self.runs, rules, self.clock, self.clock)


def test_a_clear_loser_leaves_early_and_the_figures_are_right() -> None:
    lanes = Pretence([1.0, 0.5, 2.0], seed=1).race(Rules(rounds=100))
    assert lanes[2].beaten is not None
    assert lanes[2].rounds <= 30
    assert lanes[1].beaten is None
    assert lanes[1].ratio == pytest.approx(0.5, rel=0.05)
    assert lanes[1].low < 0.5 < lanes[1].high
    assert lanes[0].ratio == 1.0


def test_a_machine_that_gets_three_times_slower_moves_no_ratio() -> None:
    lanes = Pretence([1.0, 0.9], seed=2, noise=0.02, drift=0.7).race(Rules(rounds=120))
    assert lanes[1].ratio == pytest.approx(0.9, rel=0.02)
    assert max(lanes[1].times) > 3 * min(lanes[1].times)


def test_equals_stay_and_the_race_ends_by_rounds() -> None:
    lanes = Pretence([1.0, 1.0, 1.0], seed=3).race(Rules(rounds=60))
    assert [lane.beaten for lane in lanes] == [None, None, None]
    assert [lane.rounds for lane in lanes] == [60, 60, 60]


def test_the_race_ends_by_time_warm_up_included() -> None:
    assert Pretence([1.0, 1.0], seed=4).race(Rules(seconds=0.1, fewest=20))[0].rounds == 2
    assert Pretence([1.0, 1.0], seed=4).race(Rules(seconds=80.0, fewest=20))[0].rounds == pytest.approx(38, abs=3)


def test_when_time_is_short_the_slower_half_leaves_and_says_so() -> None:
    """Eight candidates of 1.0 to 1.7 seconds and 60 seconds: fourteen rounds of all would take 150."""
    pretence = Pretence([1.0 + 0.1 * index for index in range(8)], seed=7, noise=0.01)
    lanes = pretence.race(Rules(seconds=60.0))
    assert pretence.now < 60 + sum(1.0 + 0.1 * index for index in range(8))
    assert [lane.hurried for lane in lanes] == [False, False, False, *[True] * 5]
    assert lanes[7].rounds == 2
    assert lanes[1].rounds > lanes[3].rounds > 2
    assert lanes[1].beaten is None


def test_nobody_is_hurried_where_there_is_time() -> None:
    lanes = Pretence([1.0, 1.05, 1.1, 1.0], seed=8).race(Rules(seconds=500.0, rounds=40))
    assert not any(lane.hurried for lane in lanes)


def test_looks_are_ever_further_apart() -> None:
    assert Rules().looks == [14, 20, 28, 40, 56, 79, 111, 156]
    assert Rules(rounds=1000, fewest=100).looks == [100, 140, 196, 275, 385, 539, 755]


def test_it_ends_when_only_the_reference_is_left() -> None:
    lanes = Pretence([1.0, 3.0], seed=5).race(Rules(rounds=500))
    assert lanes[0].rounds < 40


def test_a_slow_tail_loses_at_p99_though_its_median_wins() -> None:
    """Each tenth run of the second takes ten times as long."""
    plain = Pretence([1.0, 0.8], seed=6, noise=0.05)
    steady = plain.runs[1]

    def jumpy(index: int) -> None:
        before = plain.now
        steady(index)
        plain.now += 9 * (plain.now - before) * (index % 10 == 0)

    plain.runs[1] = jumpy
    lanes = plain.race(Rules(rounds=600, quantile=0.99, error=0.05))
    assert lanes[1].ratio > 4
    assert np.median(lanes[1].times) < np.median(lanes[0].times)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    gap=st.floats(1.0, 1.2),
    others=st.integers(1, 6),
    noise=st.floats(0.001, 0.6),
    drift=st.floats(0.0, 0.8),
)
def test_the_fastest_is_not_dropped(seed: int, gap: float, others: int, noise: float, drift: float) -> None:
    """With an error of one in a million for each race, none of forty may drop the one that is truly fastest."""
    pretence = Pretence([1.0 * gap, *[gap] * others, 1.0], seed, noise, drift)
    lanes = pretence.race(Rules(rounds=80, error=1e-6))
    assert lanes[-1].beaten is None


def test_the_fastest_is_dropped_no_more_often_than_promised() -> None:
    """The hardest case, five that are equal: any that leaves was dropped wrongly. 200 races at 5 %."""
    dropped = 0
    for seed in range(200):
        lanes = Pretence([1.0] * 5, seed, noise=0.3).race(Rules(rounds=60, error=0.05))
        dropped += any(lane.beaten for lane in lanes)
    assert dropped <= 20  # 5 % of 200 is 10; 20 or more has a chance of 1 in 300


@given(count=st.integers(1, 300), quantile=st.sampled_from([0.5, 0.99, 0.01]), error=st.floats(1e-6, 0.2))
def test_ranks_are_those_of_the_binomial(count: int, quantile: float, error: float) -> None:
    """Against sums of exact integers and powers."""
    found = rank_below(count, quantile, error)

    def chance(most: int) -> float:
        return sum(math.comb(count, k) * quantile**k * (1 - quantile) ** (count - k) for k in range(most + 1))

    if found is None:
        assert chance(0) > error * (1 - 1e-9)
    else:
        assert chance(found) <= error * (1 + 1e-9)
        assert found == count - 1 or chance(found + 1) > error * (1 - 1e-9)
