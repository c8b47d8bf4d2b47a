from __future__ import annotations

import numpy as np
import pytest
from chiasm.bench.percentiles import spread
from hypothesis import given
from hypothesis import strategies as st


def test_a_percentile_is_an_observed_value() -> None:
    found = spread([float(value) for value in range(1, 1001)])
    assert found == {"mean": 500.5, "p50": 500.0, "p90": 900.0, "p99": 990.0, "p99.9": 999.0, "max": 1000.0}


@pytest.mark.parametrize(("count", "known"), [(1, ["p50"]), (9, ["p50"]), (10, ["p50", "p90"]), (99, ["p50", "p90"]),
                                              (100, ["p50", "p90", "p99"]), (999, ["p50", "p90", "p99"]),
                                              (1000, ["p50", "p90", "p99", "p99.9"])])  # fmt: skip
def test_a_percentile_beyond_the_samples_is_not_claimed(count: int, known: list[str]) -> None:
    found = spread(list(range(count)))
    assert [name for name in ("p50", "p90", "p99", "p99.9") if found[name] is not None] == known


def test_no_values_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_order_and_membership(values: list[float]) -> None:
    found = spread(values)
    known = [found[name] for name in ("p50", "p90", "p99", "p99.9", "max") if found[name] is not None]
    assert known == sorted(known)  # type: ignore[type-var]
    assert set(known) <= set(map(float, values))
    half = sum(value <= found["p50"] for value in values)  # type: ignore[operator]
    assert half >= len(values) / 2
    assert found["mean"] == pytest.approx(float(np.mean(values)))
