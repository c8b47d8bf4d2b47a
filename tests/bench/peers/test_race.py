"""Who answers wrong is not timed; ratios are taken round by round."""

from __future__ import annotations

import numpy as np
import pytest
from chiasm.bench.peers.race import Pace, agreement, race, ratio
from chiasm.bench.peers.racer import Racer

CAPTURES = [{"image": np.eye(4)[index]} for index in range(4)]


def racer(name: str, turn: float = 0.0, precision: str = "fp32") -> Racer:
    """Gives its capture back, turned towards its neighbour by an angle."""

    def run(vector: np.ndarray) -> np.ndarray:
        return (np.cos(turn) * vector + np.sin(turn) * np.roll(vector, 1)).astype(np.float32)

    return Racer(name, precision, lambda capture: capture["image"], run)


def test_a_wrong_answer_is_refused_by_the_limit_of_its_precision() -> None:
    truth, slightly, more = racer("truth"), racer("a", 0.1, "int8"), racer("b", 0.1)
    found = agreement([truth, slightly, more, racer("c", 0.2, "int8")], CAPTURES, truth)
    assert found["truth"]["cosine"] == pytest.approx(1.0)
    assert [found[name]["agrees"] for name in ("truth", "a", "b", "c")] == [True, True, False, False]
    assert found["a"]["cosine"] == pytest.approx(np.cos(0.1))
    assert found["a"]["alike"] == pytest.approx(0.0)


def test_everyone_runs_equally_often() -> None:
    seen: dict[str, int] = {"a": 0, "b": 0}

    def counting(name: str) -> Racer:
        def run(vector: np.ndarray) -> np.ndarray:
            seen[name] += 1
            return vector

        return Racer(name, "fp32", lambda capture: capture["image"], run)

    pace = Pace(seconds=60.0, samples=9, turn=4, warm_up=2)
    found = race([counting("a"), counting("b")], CAPTURES, pace)
    assert {name: each["samples"] for name, each in found.items()} == {"a": 9, "b": 9}
    assert seen == {"a": 14, "b": 14}  # two to warm up, three turns of four, the first of each uncounted
    assert all(len(each["turns_ms"]) == 3 for each in found.values())


def test_of_a_network_alone_preparing_is_not_timed() -> None:
    import time

    def prepare(capture: dict) -> np.ndarray:
        time.sleep(0.02)
        return capture["image"]

    slow = Racer("slow", "fp32", prepare, lambda vector: vector)
    pace = Pace(seconds=60.0, samples=3, turn=2, warm_up=0)
    alone, whole = (race([slow], CAPTURES, pace, network=network)["slow"] for network in (True, False))
    assert alone["latency_ms"]["p50"] < 20.0 <= whole["latency_ms"]["p50"]


def test_a_ratio_is_taken_within_each_round() -> None:
    assert ratio([20.0, 200.0, 2.0], [10.0, 100.0, 1.0]) == {"median": 2.0, "p10": 2.0, "p90": 2.0}
