"""Time is counted on the clock that is given, and what there was no time for is said with what would do."""

from __future__ import annotations

from chiasm.bench.tune.budget import Budget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left() -> None:
    clock = Clock()
    budget = Budget(60.0, clock, spent=5.0)
    clock.now += 10
    assert (budget.spent, budget.left) == (15.0, 45.0)
    assert budget.end(0.5) == clock.now + 15
    clock.now += 50
    assert budget.left == -5.0


def test_nothing_is_said_where_nothing_was_left_out() -> None:
    budget = Budget(60.0, Clock())
    budget.needs("judging", 1e6)
    assert budget.verdict() is None


def test_what_was_left_out_is_said_in_one_sentence_with_what_would_do() -> None:
    budget = Budget(90.0, Clock())
    budget.needs("judging", 30.0)
    budget.needs("judging", 42.0)
    budget.needs("racing parts", 180.0)
    for part in ("image 9 of 16", "text 3 of 16", "text 3 of 16"):
        budget.cut("not raced", part)
    budget.cut("fewer than 14 rounds", "audio")
    assert budget.verdict() == (
        "1.5 minutes were too short (not raced: image 9 of 16, text 3 of 16; fewer than 14 rounds: audio). What is "
        "chosen is the best that is known. All of it takes about 3.7 minutes (judging 0.7, racing parts 3.0): give "
        "--budget 4.5."
    )
