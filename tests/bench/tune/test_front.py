"""The picture of accuracy against latency."""

from __future__ import annotations

from chiasm.bench.tune.front import front


def test_the_front_has_only_what_nobody_beats() -> None:
    assert front([(1.0, 0.0), (0.5, 0.01), (0.7, 0.02), (0.6, 0.005)]) == [(0.5, 0.01), (0.6, 0.005), (1.0, 0.0)]
