from __future__ import annotations

import numpy as np
import pytest
from chiasm.bench.memory import growth_mib


def test_a_leak_shows_as_growth_over_the_later_half() -> None:
    times = np.linspace(0, 30, 120)
    leak = 100 + 2.0 * times
    assert growth_mib(times, leak) == pytest.approx(30, rel=0.05)


def test_growth_while_starting_does_not_count() -> None:
    times = np.linspace(0, 30, 120)
    settled = 100 + np.minimum(times, 10) * 5
    assert growth_mib(times, settled) == pytest.approx(0, abs=1e-6)


def test_too_few_samples_say_nothing() -> None:
    assert growth_mib([0, 1, 2], [1, 2, 3]) is None
