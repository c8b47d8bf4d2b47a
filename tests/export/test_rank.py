"""Ranking operators: alone, in groups, or by estimate, never more often than is affordable."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from chiasm.export.rank import rank
from hypothesis import given
from hypothesis import strategies as st

COSTS = {"a": 0.1, "b": 0.4, "c": 0.0, "d": 0.3, "e": 0.2}
EVEN = dict.fromkeys(COSTS, 1.0)


def _loss(group: Sequence[str]) -> float:
    return sum(COSTS[name] for name in group)


def test_each_alone_where_that_is_affordable() -> None:
    found = rank(list(COSTS), EVEN, _loss, 5)
    assert found.order == ("b", "d", "e", "a", "c")
    assert found.scores == COSTS
    assert found.how == "each measured alone"


def test_groups_share_their_loss_by_the_estimates() -> None:
    estimates = {"a": 1.0, "b": 3.0, "c": 1.0, "d": 1.0, "e": 0.0}
    found = rank(list(COSTS), estimates, _loss, 3)
    assert found.how == "measured in groups of 2"
    assert found.scores == pytest.approx({"a": 0.125, "b": 0.375, "c": 0.15, "d": 0.15, "e": 0.2})
    assert found.order[0] == "b"


def test_without_time_the_estimate_decides() -> None:
    estimates = {"a": 1.0, "b": 2.0, "c": 9.0, "d": 0.5, "e": 0.1}
    found = rank(list(COSTS), estimates, lambda group: pytest.fail("measured"), 1)
    assert found.order == ("c", "b", "a", "d", "e")
    assert "estimated" in found.how


def test_as_many_go_back_as_the_tolerance_needs() -> None:
    found = rank(list(COSTS), EVEN, _loss, 5)
    assert found.removed(list(COSTS), 1, 1.0) == ["b"]
    assert found.removed(list(COSTS), 1, 0.3) == ["b", "d"]
    assert found.removed(["a", "c", "e"], 1, 0.4) == ["e"]
    assert found.removed(list(COSTS), 2, 0.0) == ["b", "d", "e", "a"]


@given(st.integers(1, 60), st.integers(0, 20))
def test_the_budget_is_kept_and_every_node_ranked_once(count: int, affordable: int) -> None:
    nodes = [f"n{index}" for index in range(count)]
    asked: list[int] = []
    found = rank(nodes, dict.fromkeys(nodes, 0.0), lambda group: float(asked.append(len(group)) or 0.1), affordable)
    assert sorted(found.order) == sorted(nodes)
    assert len(asked) <= affordable
    assert sum(asked) == (count if affordable > 1 else 0)
